/** What happened on each day: as bars and as a small curve, in inline SVG. */

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { fmt } from "../core/language";

export interface DayValue {
  /** In ISO 8601. */
  readonly day: string;
  /** Null where it is not known. Such a day has no bar. */
  readonly value: number | null;
}

const BASE = 140;
const TOP = 25;
const LEFT = 48;
/** A chart that is narrower has no date in the middle. */
const MIDDLE_MIN_PIXELS = 400;

/** Return the smallest of 1, 2, 4, 6, 10, 20, 40, … that is not below a value: from 2, also its half is a whole number. */
export function niceCeiling(value: number): number {
  if (value <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 4, 6, 10].find((step) => step * power >= value) ?? 10) * power;
}

/** Return the last days up to today (UTC) in ISO 8601, oldest first. */
export function lastDays(count: number, today: Date): readonly string[] {
  return Array.from({ length: count }, (_, index) => new Date(today.getTime() - (count - 1 - index) * 86_400_000).toISOString().slice(0, 10));
}

export const knownOf = (values: readonly (number | null)[]) => values.filter((value) => value !== null);

/** Return the sum; null where a value is not known. */
export function sumOf(values: readonly (number | null)[]): number | null {
  return values.reduce((total, value) => (total === null || value === null ? null : total + value), 0);
}

/** Return the date as it is written on an axis. */
export const dayLabel = (day: string) => fmt.shortDay(new Date(`${day}T00:00`));

function isWeekend(day: string): boolean {
  const weekday = new Date(day).getUTCDay();
  return weekday === 0 || weekday === 6;
}

interface BarChartProps {
  readonly days: readonly DayValue[];
  readonly format: (value: number | null) => string;
  /** What the chart shows, for those who do not see it. */
  readonly label: string;
}

export function BarChart({ days, format, label }: BarChartProps) {
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
  const highest = niceCeiling(Math.max(...days.map((day) => day.value ?? 0)));
  const step = (width - LEFT) / days.length;
  const middle = Math.floor(days.length / 2);
  const dates = [
    { day: days[0], x: LEFT, anchor: "start" },
    { day: width < MIDDLE_MIN_PIXELS ? undefined : days[middle], x: LEFT + (middle + 0.5) * step, anchor: "middle" },
    { day: days.at(-1), x: width, anchor: "end" },
  ] as const;
  return (
    <svg
      ref={element}
      class="chart"
      viewBox={`0 0 ${width} 166`}
      role="img"
      aria-label={label}
    >
      {[0, 0.5, 1].map((share) => {
        const y = BASE - share * (BASE - TOP) + 0.5;
        return (
          <g key={share}>
            <line x1={LEFT} x2={width} y1={y} y2={y} />
            {(share !== 0.5 || highest > 1) && (
              <text x="0" y={y + 4}>
                {format(highest * share)}
              </text>
            )}
          </g>
        );
      })}
      {days.map((day, index) => {
        const height = ((day.value ?? 0) / highest) * (BASE - TOP);
        return (
          <rect
            key={day.day}
            class={isWeekend(day.day) ? "b" : ""}
            x={LEFT + index * step + step * 0.18}
            y={BASE - height}
            width={step * 0.64}
            height={height}
            rx={Math.min(2, step / 4)}
          >
            <title>{`${dayLabel(day.day)}: ${format(day.value)}`}</title>
          </rect>
        );
      })}
      {dates.map(
        ({ day, x, anchor }) =>
          day && (
            <text key={anchor} x={x} y="160" text-anchor={anchor}>
              {dayLabel(day.day)}
            </text>
          ),
      )}
    </svg>
  );
}

const SPARK_WIDTH = 120;
const SPARK_HEIGHT = 40;

/** Return the points of a curve, from the left edge to the right one; the largest value is at the top. */
export function sparkPoints(values: readonly number[]): readonly string[] {
  const highest = Math.max(1, ...values);
  const step = SPARK_WIDTH / Math.max(1, values.length - 1);
  return values.map((value, index) => `${(index * step).toFixed(1)} ${(SPARK_HEIGHT - 2 - (value / highest) * (SPARK_HEIGHT - 6)).toFixed(1)}`);
}

/** A curve without axes, below the sum or the last of its values. */
export function Spark({ values }: { readonly values: readonly number[] }) {
  if (values.length < 2) return null;
  const line = `M${sparkPoints(values).join(" L")}`;
  return (
    <svg class="spark" viewBox={`0 0 ${SPARK_WIDTH} ${SPARK_HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
      <path class="ar" d={`${line} L${SPARK_WIDTH} ${SPARK_HEIGHT} L0 ${SPARK_HEIGHT}Z`} />
      <path class="ln" d={line} />
    </svg>
  );
}
