/** Uploads of each day as bars, in inline SVG. */

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { fmt } from "../core/language";
import { s } from "../core/screen-texts";

interface Day {
  readonly day: string;
  readonly uploads: number;
}

/** Days that are shown, today among them. */
const DAYS = 30;
const BASE = 140;
const TOP = 25;
const LEFT = 40;

/** Return the smallest of 1, 2, 4, 6, 10, 20, 40, … that is not below a value: from 2, also its half is a whole number. */
export function niceCeiling(value: number): number {
  if (value <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 4, 6, 10].find((step) => step * power >= value) ?? 10) * power;
}

/** Return the last days up to today (UTC), those without uploads too. */
export function lastDays(days: readonly Day[], count: number, today: Date): readonly Day[] {
  const counts = new Map(days.map(({ day, uploads }) => [day, uploads]));
  return Array.from({ length: count }, (_, index) => {
    const day = new Date(today.getTime() - (count - 1 - index) * 86_400_000).toISOString().slice(0, 10);
    return { day, uploads: counts.get(day) ?? 0 };
  });
}

function isWeekend(day: string): boolean {
  const weekday = new Date(day).getUTCDay();
  return weekday === 0 || weekday === 6;
}

export function BarChart({ days }: { readonly days: readonly Day[] }) {
  const element = useRef<SVGSVGElement>(null);
  const [width, setWidth] = useState(600);
  useLayoutEffect(() => {
    const node = element.current;
    if (node === null) return;
    // One unit is one pixel, so that the text keeps its size.
    const observer = new ResizeObserver(() => setWidth(Math.max(240, node.clientWidth)));
    observer.observe(node);
    return () => observer.disconnect();
  }, []);
  const filled = lastDays(days, DAYS, new Date());
  const highest = niceCeiling(Math.max(...filled.map((day) => day.uploads)));
  const step = (width - LEFT) / filled.length;
  const label = (day: Day | undefined) => (day === undefined ? "" : fmt.shortDay(new Date(`${day.day}T00:00`)));
  const first = filled[0];
  const last = filled.at(-1);
  const counts = filled.map((day) => day.uploads);
  return (
    <svg
      ref={element}
      class="chart"
      viewBox={`0 0 ${width} 166`}
      role="img"
      aria-label={s.admin.chartLabel(label(first), label(last), fmt.number(Math.min(...counts)), fmt.number(Math.max(...counts)))}
    >
      {[0, 0.5, 1].map((share) => {
        const y = BASE - share * (BASE - TOP) + 0.5;
        return (
          <g key={share}>
            <line x1={LEFT} x2={width} y1={y} y2={y} />
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
      <text x={width} y="160" text-anchor="end">
        {label(last)}
      </text>
    </svg>
  );
}
