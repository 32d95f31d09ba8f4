/** Numbers, sizes, dates and durations as text. */

import type { StartTexts } from "../locales/en/start";

const UNITS = ["B", "KB", "MB", "GB", "TB", "PB"] as const;
const DAY_MS = 86_400_000;

export type Formats = ReturnType<typeof createFormats>;

/** Return an exponent of 1000 for a number of bytes, so that the figure has at most three digits. */
function unitIndex(bytes: number): number {
  let index = 0;
  // 999.5 of a unit would round up to four digits.
  while (index < UNITS.length - 1 && bytes / 1000 ** index >= 999.5) index += 1;
  return index;
}

/** Bytes have no decimals, KB none, MB one, larger units two, and none has more than three digits. */
function decimals(value: number, index: number): number {
  const wanted = index <= 1 ? 0 : index === 2 ? 1 : 2;
  return Math.min(wanted, value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2);
}

function startOfDay(date: Date): number {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}

/** Return how many calendar days `date` is after `now`. */
function daysBetween(now: Date, date: Date): number {
  return Math.round((startOfDay(date) - startOfDay(now)) / DAY_MS);
}

export function createFormats(language: string, t: Pick<StartTexts, "format">, now: () => Date = () => new Date()) {
  // British order of day and month; both languages use the 24-hour clock.
  const locale = language === "en" ? "en-GB" : language;
  const dateFormat = (options: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat(locale, options);
  const time = dateFormat({ hour: "2-digit", minute: "2-digit" });
  const day = dateFormat({ day: "numeric", month: "short", year: "numeric" });
  const shortDay = dateFormat({ day: "numeric", month: "short" });
  const exact = dateFormat({ weekday: "short", day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });
  const spoken = dateFormat({ weekday: "long", day: "numeric", month: "long" });
  const spokenYear = dateFormat({ weekday: "long", day: "numeric", month: "long", year: "numeric" });
  const numbers = new Intl.NumberFormat(language);
  const figures = [0, 1, 2].map((digits) => new Intl.NumberFormat(language, { minimumFractionDigits: 0, maximumFractionDigits: digits }));

  function figure(bytes: number, index: number): string {
    const value = bytes / 1000 ** index;
    return figures[decimals(value, index)]?.format(value) ?? String(value);
  }

  const formats = {
    number: (value: number) => numbers.format(value),
    /** "24.8 MB". */
    bytes(bytes: number): string {
      const index = unitIndex(bytes);
      return `${figure(bytes, index)} ${UNITS[index]}`;
    },
    /** "1.21 of 3.26 GB", or "640 MB of 1.84 GB". */
    bytesOf(part: number, whole: number): string {
      const unit = unitIndex(whole);
      const left = unitIndex(part) === unit || part === 0 ? figure(part, unit) : formats.bytes(part);
      return t.format.of(left, formats.bytes(whole));
    },
    /** "62 %". */
    percent: (part: number, whole: number) => `${numbers.format(whole > 0 ? Math.floor((part / whole) * 100) : 0)} %`,
    time: (date: Date) => time.format(date),
    /** "24 Nov 2026". */
    day: (date: Date) => day.format(date),
    /** "24 Nov". */
    shortDay: (date: Date) => shortDay.format(date),
    /** "Fri 27 Nov 2026, 11:05". */
    exact: (date: Date) => exact.format(date),
    /** "Today, 14:32", "Yesterday, 18:47", then "24 Nov 2026". */
    moment(date: Date): string {
      const days = daysBetween(now(), date);
      if (days === 0) return t.format.today(time.format(date));
      if (days === -1) return t.format.yesterday(time.format(date));
      if (days === 1) return t.format.tomorrow(time.format(date));
      return day.format(date);
    },
    /** "Friday 11 December, 18:00", with the year if it is another one. */
    until(date: Date): string {
      const format = date.getFullYear() === now().getFullYear() ? spoken : spokenYear;
      return t.format.dateAndTime(format.format(date).replace(/^(\p{L}+), /u, t.format.weekdayComma ? "$1, " : "$1 "), time.format(date));
    },
    /** "today, 20:00", then "in 14 days". For times to come. */
    inDays(date: Date): string {
      const days = daysBetween(now(), date);
      if (days <= 0) return t.format.closesToday(time.format(date));
      return days === 1 ? t.format.closesTomorrow(time.format(date)) : t.format.inDays(days);
    },
    /** "3 min left": rounded up, so that it does not promise too much. */
    timeLeft(seconds: number): string {
      if (seconds < 10) return t.format.fewSecondsLeft;
      if (seconds <= 50) return t.format.secondsLeft(Math.ceil(seconds / 10) * 10);
      if (seconds < 5400) return t.format.minutesLeft(Math.ceil(seconds / 60));
      if (seconds < 172_800) return t.format.hoursLeft(Math.ceil(seconds / 3600));
      return t.format.daysLeft(Math.ceil(seconds / 86_400));
    },
    /** "18.4 MB/s". */
    speed: (bytesPerSecond: number) => `${formats.bytes(bytesPerSecond)}/s`,
  };
  return formats;
}
