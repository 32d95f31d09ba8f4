/** Figures of the whole service. */

import type { Stats } from "@we-upload/client";
import { useEffect, useState } from "preact/hooks";
import { BarChart } from "./bar-chart";
import { api } from "../core/api";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { SkeletonRows } from "../files/file-table";
import { ErrorNote } from "../ui/controls";

export function Overview() {
  const [stats, setStats] = useState<Stats | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [isTable, setTable] = useState(false);
  const load = () => {
    setError(null);
    api.admin.stats().then(setStats, setError);
  };
  useEffect(load, []);
  if (error !== null) return <ErrorNote error={error} onRetry={load} />;
  if (stats === null) return <SkeletonRows count={4} />;
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
        <table class="table inset">
          <caption class="sr">{s.admin.filesByState}</caption>
          <thead>
            <tr>
              <th class="name" scope="col">
                {s.links.state}
              </th>
              <th class="num" scope="col">
                {t.nav.files}
              </th>
              <th class="num" scope="col">
                {t.files.size}
              </th>
            </tr>
          </thead>
          <tbody>
            {stats.files.map((row) => (
              <tr key={row.status}>
                <td class="name">{(t.files.statuses as Partial<Record<string, string>>)[row.status] ?? row.status}</td>
                <td class="num">{fmt.number(row.files)}</td>
                <td class="num">{fmt.bytes(row.bytes)}</td>
              </tr>
            ))}
          </tbody>
        </table>
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
    <table class="table">
      <caption class="sr">{s.admin.uploadsEachDay}</caption>
      <thead>
        <tr>
          <th scope="col">{s.admin.day}</th>
          <th class="num" scope="col">
            {s.admin.uploads}
          </th>
        </tr>
      </thead>
      <tbody>
        {stats.uploads_by_day.map((day) => (
          <tr key={day.day}>
            <td>{fmt.day(new Date(`${day.day}T00:00`))}</td>
            <td class="num">{fmt.number(day.uploads)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
