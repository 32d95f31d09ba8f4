/** Browser and system of a user agent, for the list of sessions. */

export interface BrowserName {
  readonly name: string;
  readonly system: string;
  readonly isPhone: boolean;
}

// The first match counts: most browsers also name those that they resemble.
const BROWSERS: readonly (readonly [RegExp, string])[] = [
  [/Edg(e|A|iOS)?\//, "Edge"],
  [/OPR\/|Opera/, "Opera"],
  [/SamsungBrowser\//, "Samsung Internet"],
  [/Firefox\/|FxiOS\//, "Firefox"],
  [/HeadlessChrome\/|Chrome\/|CriOS\//, "Chrome"],
  [/Safari\//, "Safari"],
  [/curl\//, "curl"],
  [/we-upload/i, "we-upload"],
  [/python|httpx|urllib/i, "Python"],
];

const SYSTEMS: readonly (readonly [RegExp, string])[] = [
  [/iPhone/, "iPhone"],
  [/iPad/, "iPad"],
  [/Android/, "Android"],
  [/Windows/, "Windows"],
  [/CrOS/, "ChromeOS"],
  [/Mac OS X|Macintosh/, "macOS"],
  [/Linux/, "Linux"],
];

/** Return "" for what is not known. */
export function describeBrowser(userAgent: string): BrowserName {
  const find = (known: typeof BROWSERS) => known.find(([pattern]) => pattern.test(userAgent))?.[1] ?? "";
  return { name: find(BROWSERS), system: find(SYSTEMS), isPhone: /iPhone|Android.*Mobile/.test(userAgent) };
}
