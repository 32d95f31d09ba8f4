/** Uploads of each day as bars, in inline SVG. */

import { fmt } from "../core/language";
import { s } from "../core/screen-texts";

interface Day {
  readonly day: string;
  readonly uploads: number;
}

const WIDTH = 600;
const BASE = 140;
const TOP = 25;
const LEFT = 40;

/** Return the smallest of 1, 2, 5, 10, 20, … that is not below a value. */
export function niceCeiling(value: number): number {
  if (value <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10) * power;
}

/** Return every day from the first to the last, those without uploads too. */
export function fillDays(days: readonly Day[]): readonly Day[] {
  const sorted = [...days].sort((a, b) => a.day.localeCompare(b.day));
  const [first] = sorted;
  const last = sorted.at(-1);
  if (first === undefined || last === undefined) return [];
  const counts = new Map(sorted.map(({ day, uploads }) => [day, uploads]));
  const filled: Day[] = [];
  for (let time = Date.parse(first.day); time <= Date.parse(last.day); time += 86_400_000) {
    const day = new Date(time).toISOString().slice(0, 10);
    filled.push({ day, uploads: counts.get(day) ?? 0 });
  }
  return filled;
}

function isWeekend(day: string): boolean {
  const weekday = new Date(day).getUTCDay();
  return weekday === 0 || weekday === 6;
}

export function BarChart({ days }: { readonly days: readonly Day[] }) {
  const filled = fillDays(days);
  const highest = niceCeiling(Math.max(...filled.map((day) => day.uploads)));
  const step = (WIDTH - LEFT) / Math.max(filled.length, 14);
  const label = (day: Day | undefined) => (day === undefined ? "" : fmt.shortDay(new Date(`${day.day}T00:00`)));
  const first = filled[0];
  const last = filled.at(-1);
  const counts = filled.map((day) => day.uploads);
  return (
    <svg
      class="chart"
      viewBox={`0 0 ${WIDTH} 166`}
      role="img"
      aria-label={s.admin.chartLabel(label(first), label(last), fmt.number(Math.min(...counts)), fmt.number(Math.max(...counts)))}
    >
      {[0, 0.5, 1].map((share) => {
        const y = BASE - share * (BASE - TOP) + 0.5;
        return (
          <g key={share}>
            <line x1={LEFT} x2={WIDTH} y1={y} y2={y} />
            {(share !== 0.5 || highest > 1) && (
              <text x="0" y={y + 4}>
                {fmt.number(highest * share)}
              </text>
            )}
          </g>
        );
      })}
      {filled.map((day, index) => {
        const height = (day.uploads / highest) * (BASE - TOP);
        return (
          <rect
            key={day.day}
            class={isWeekend(day.day) ? "b" : ""}
            x={LEFT + index * step + step * 0.18}
            y={BASE - height}
            width={step * 0.64}
            height={height}
            rx="2"
          >
            <title>{`${label(day)}: ${fmt.number(day.uploads)}`}</title>
          </rect>
        );
      })}
      <text x={LEFT} y="160">
        {label(first)}
      </text>
      {filled.length > 1 && (
        <text x={Math.min(WIDTH, LEFT + filled.length * step)} y="160" text-anchor="end">
          {label(last)}
        </text>
      )}
    </svg>
  );
}
