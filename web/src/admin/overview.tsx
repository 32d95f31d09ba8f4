/** Figures of the whole service. */

import type { Stats } from "@we-upload/client";
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { BarChart, dayLabel, knownOf, lastDays, Spark, sumOf } from "./bar-chart";
import { accounts } from "../core/account-services";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { DataTable, Loaded, useLoaded } from "../ui/data-table";

const PERIODS = [7, 30, 90] as const;
type Period = (typeof PERIODS)[number];

export function Overview() {
  const [days, setDays] = useState<Period>(30);
  const { value, error, load } = useLoaded(async () => ({ days, stats: await accounts.admin.stats({ days }) }), [days]);
  return (
    <>
      <div class="seg period" role="group" aria-label={s.admin.period}>
        {PERIODS.map((period) => (
          <button type="button" key={period} aria-pressed={period === days} onClick={() => setDays(period)}>
            {s.admin.days(period)}
          </button>
        ))}
      </div>
      <Loaded value={value} error={error} onRetry={load} skeletonCount={4}>
        {(loaded) => <Figures {...loaded} />}
      </Loaded>
    </>
  );
}

const NO_TRAFFIC = { uploads: 0, uploaded_bytes: 0, downloads: 0, stored_bytes: null };
const UNKNOWN = "–";
const numberText = (value: number | null) => (value === null ? UNKNOWN : fmt.number(value));
const bytesText = (value: number | null) => (value === null ? UNKNOWN : fmt.bytes(value));

function Figures({ days, stats }: { readonly days: Period; readonly stats: Stats }) {
  const [isTable, setTable] = useState(false);
  const of = (status: string) => stats.files.find((row) => row.status === status) ?? { files: 0, bytes: 0 };
  const stored = of("available").bytes + of("pending").bytes + of("trashed").bytes;
  const known = new Map(stats.traffic_by_day.map((day) => [day.day, day]));
  const traffic: readonly Traffic[] = lastDays(days, new Date()).map((day) => ({ ...NO_TRAFFIC, ...known.get(day), day }));
  const recorded = traffic.filter((day) => day.stored_bytes !== null);
  const uploads = traffic.map((day) => day.uploads);
  const sizes = traffic.map((day) => day.uploaded_bytes);
  const downloads = traffic.map((day) => day.downloads);
  const hasUploads = uploads.some((count) => count > 0);
  const [figure = "", unit = ""] = fmt.bytes(stored).split(" ");
  return (
    <div class="stack">
      <div class="stats">
        <Figure label={s.admin.stored} value={figure} unit={unit} text={changeText(stored, recorded[0]) ?? s.admin.inTrash(fmt.bytes(of("trashed").bytes))}>
          <Spark values={[...recorded.map((day) => day.stored_bytes ?? 0), stored]} />
        </Figure>
        <Figure label={s.admin.downloads} value={numberText(sumOf(downloads))} text={s.admin.lastDays(days)}>
          <Spark values={knownOf(downloads)} />
        </Figure>
        <Figure label={s.admin.uploads} value={numberText(sumOf(uploads))} text={s.admin.inDays(bytesText(sumOf(sizes)), days)}>
          <Spark values={uploads} />
        </Figure>
        <Figure label={s.admin.accounts} value={fmt.number(stats.users.total)} text={s.admin.activeAndSuper(stats.users.active, stats.users.superusers)} />
      </div>
      <section class="card pad stack">
        <div class="row between wrap">
          <h2>{s.admin.uploadsEachDay}</h2>
          <button type="button" class="link" onClick={() => setTable(!isTable)}>
            {isTable ? s.admin.asChart : s.admin.asTable}
          </button>
        </div>
        {isTable ? (
          <DayTable traffic={traffic} />
        ) : hasUploads ? (
          <BarChart days={traffic.map(({ day, uploaded_bytes }) => ({ day, value: uploaded_bytes }))} format={bytesText} label={chartLabel(traffic)} />
        ) : (
          <p class="soft">{s.admin.noUploads}</p>
        )}
        <p class="hint">
          {s.admin.inUtc} {!isTable && hasUploads && s.admin.weekends}
        </p>
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

type Traffic = Stats["traffic_by_day"][number];

function chartLabel(traffic: readonly Traffic[]): string {
  const sizes = knownOf(traffic.map((day) => day.uploaded_bytes)).sort((one, other) => one - other);
  return s.admin.chartLabel(dayLabel(traffic[0]?.day ?? ""), dayLabel(traffic.at(-1)?.day ?? ""), bytesText(sizes[0] ?? null), bytesText(sizes.at(-1) ?? null));
}

/** Return how much more or less is stored than on the first day that is known; null where nothing is known or nothing changed. */
function changeText(stored: number, first: Traffic | undefined): string | null {
  const change = stored - (first?.stored_bytes ?? stored);
  if (first === undefined || change === 0) return null;
  return s.admin.changedSince(`${change > 0 ? "+" : "−"}${fmt.bytes(Math.abs(change))}`, dayLabel(first.day));
}

interface FigureProps {
  readonly label: string;
  readonly value: string;
  readonly unit?: string;
  readonly text: string;
  readonly children?: ComponentChildren;
}

function Figure({ label, value, unit, text, children }: FigureProps) {
  return (
    <section class="card pad stat">
      <h2 class="muted sm regular">{label}</h2>
      <span class="v">
        {value} {unit && <small>{unit}</small>}
      </span>
      <span class="soft sm">{text}</span>
      {children}
    </section>
  );
}

function DayTable({ traffic }: { readonly traffic: readonly Traffic[] }) {
  return (
    <DataTable
      caption={s.admin.uploadsEachDay}
      class="days"
      columns={[
        { head: s.admin.day, cell: ({ day }) => dayLabel(day) },
        { head: s.admin.uploads, class: "num", cell: ({ uploads }) => fmt.number(uploads) },
        { head: t.files.size, class: "num", cell: ({ uploaded_bytes }) => bytesText(uploaded_bytes) },
        { head: s.admin.downloads, class: "num", cell: ({ downloads }) => numberText(downloads) },
        { head: s.admin.stored, class: "num wide", cell: ({ stored_bytes }) => bytesText(stored_bytes) },
      ]}
      rows={traffic}
      keyOf={({ day }) => day}
    />
  );
}
