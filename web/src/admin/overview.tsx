/** Figures of the whole service. */

import type { Stats } from "@we-upload/client";
import { useState } from "preact/hooks";
import { BarChart } from "./bar-chart";
import { accounts } from "../core/account-services";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { DataTable, Loaded, useLoaded } from "../ui/data-table";

export function Overview() {
  const { value, error, load } = useLoaded(() => accounts.admin.stats());
  return (
    <Loaded value={value} error={error} onRetry={load} skeletonCount={4}>
      {(stats) => <Figures stats={stats} />}
    </Loaded>
  );
}

function Figures({ stats }: { readonly stats: Stats }) {
  const [isTable, setTable] = useState(false);
  const of = (status: string) => stats.files.find((row) => row.status === status) ?? { files: 0, bytes: 0 };
  const stored = stats.files.reduce((sum, row) => sum + row.bytes, 0);
  const started = stats.uploads_by_day.reduce((sum, day) => sum + day.uploads, 0);
  const [figure = "", unit = ""] = fmt.bytes(stored).split(" ");
  return (
    <div class="stack">
      <div class="stats">
        <Figure label={s.admin.stored} value={figure} unit={unit} text={s.admin.inTrash(fmt.bytes(of("trashed").bytes))} />
        <Figure label={t.nav.files} value={fmt.number(of("available").files)} text={s.admin.underWay(of("pending").files)} />
        <Figure label={s.admin.uploads} value={fmt.number(started)} text={s.admin.lastDays(stats.uploads_by_day.length)} />
        <Figure label={s.admin.accounts} value={fmt.number(stats.users.total)} text={s.admin.activeAndSuper(stats.users.active, stats.users.superusers)} />
      </div>
      <section class="card pad stack">
        <div class="row between wrap">
          <h2>{s.admin.uploadsEachDay}</h2>
          <button type="button" class="link" aria-pressed={isTable} onClick={() => setTable(!isTable)}>
            {isTable ? s.admin.asChart : s.admin.asTable}
          </button>
        </div>
        {stats.uploads_by_day.length === 0 ? <p class="soft">{s.admin.noUploads}</p> : isTable ? <DayTable stats={stats} /> : <BarChart days={stats.uploads_by_day} />}
      </section>
      <section class="card">
        <h2 class="pad tight">{s.admin.filesByState}</h2>
        <DataTable
          caption={s.admin.filesByState}
          columns={[
            { head: s.links.state, class: "name", cell: ({ status }) => (t.files.statuses as Partial<Record<string, string>>)[status] ?? status },
            { head: t.nav.files, class: "num", cell: ({ files }) => fmt.number(files) },
            { head: t.files.size, class: "num", cell: ({ bytes }) => fmt.bytes(bytes) },
          ]}
          rows={stats.files}
          keyOf={({ status }) => status}
        />
      </section>
    </div>
  );
}

interface FigureProps {
  readonly label: string;
  readonly value: string;
  readonly unit?: string;
  readonly text: string;
}

function Figure({ label, value, unit, text }: FigureProps) {
  return (
    <section class="card pad stat">
      <h2 class="muted sm regular">{label}</h2>
      <span class="v">
        {value} {unit && <small>{unit}</small>}
      </span>
      <span class="soft sm">{text}</span>
    </section>
  );
}

function DayTable({ stats }: { readonly stats: Stats }) {
  return (
    <DataTable
      caption={s.admin.uploadsEachDay}
      class=""
      columns={[
        { head: s.admin.day, cell: ({ day }) => fmt.day(new Date(`${day}T00:00`)) },
        { head: s.admin.uploads, class: "num", cell: ({ uploads }) => fmt.number(uploads) },
      ]}
      rows={stats.uploads_by_day}
      keyOf={({ day }) => day}
    />
  );
}
