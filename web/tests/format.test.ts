import { describe, expect, it } from "vitest";
import { createFormats } from "../src/core/format";
import { start as de } from "../src/locales/de/start";
import { start as en } from "../src/locales/en/start";

const now = () => new Date(2026, 10, 27, 15, 0);
const english = createFormats("en", en, now);
const german = createFormats("de", de, now);

describe("sizes", () => {
  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1 KB"],
    [86_400, "86 KB"],
    [999_600, "1 MB"],
    [8_240_000, "8.2 MB"],
    [24_810_000, "24.8 MB"],
    [412_600_000, "413 MB"],
    [1_844_000_000, "1.84 GB"],
    [62_400_000_000, "62.4 GB"],
    [4_820_000_000_000, "4.82 TB"],
  ])("%d bytes are %s", (bytes, text) => {
    expect(english.bytes(bytes)).toBe(text);
  });

  it("never have more than three digits", () => {
    for (let power = 0; power < 15; power += 1) {
      for (const factor of [1, 9.994, 9.996, 99.94, 99.96, 999.4, 999.6]) {
        const text = english.bytes(Math.round(factor * 10 ** power));
        expect(text.replace(/\D/g, "").length, text).toBeLessThanOrEqual(3);
      }
    }
  });

  it("have a decimal comma in German", () => {
    expect(german.bytes(24_810_000)).toBe("24,8 MB");
  });

  it("share the unit of the whole where they can", () => {
    expect(english.bytesOf(1_210_000_000, 3_260_000_000)).toBe("1.21 of 3.26 GB");
    expect(english.bytesOf(640_000_000, 1_840_000_000)).toBe("640 MB of 1.84 GB");
    expect(english.bytesOf(0, 107_000_000_000)).toBe("0 of 107 GB");
    expect(german.bytesOf(640_000_000, 1_840_000_000)).toBe("640 MB von 1,84 GB");
  });
});

describe("percent", () => {
  it("is rounded down and safe for an empty whole", () => {
    expect(english.percent(999, 1000)).toBe("99 %");
    expect(english.percent(0, 0)).toBe("0 %");
  });
});

describe("moments", () => {
  it("name today and yesterday, then the day", () => {
    expect(english.moment(new Date(2026, 10, 27, 14, 32))).toBe("Today, 14:32");
    expect(english.moment(new Date(2026, 10, 26, 23, 59))).toBe("Yesterday, 23:59");
    expect(english.moment(new Date(2026, 10, 24, 9, 0))).toBe("24 Nov 2026");
  });

  it("count calendar days, also over a change of the clock", () => {
    expect(english.inDays(new Date(2026, 10, 27, 20, 0))).toBe("today, 20:00");
    expect(english.inDays(new Date(2026, 10, 28, 0, 5))).toBe("tomorrow, 00:05");
    expect(english.inDays(new Date(2026, 11, 11, 18, 0))).toBe("in 14 days");
  });

  it("are spoken with weekday and month", () => {
    expect(english.until(new Date(2026, 11, 11, 18, 0))).toBe("Friday 11 December, 18:00");
    expect(english.until(new Date(2027, 0, 1, 18, 0))).toBe("Friday 1 January 2027, 18:00");
    expect(german.until(new Date(2026, 11, 11, 18, 0))).toBe("Freitag, 11. Dezember, 18:00 Uhr");
  });
});

describe("time left", () => {
  it.each([
    [4, "a few seconds left"],
    [41, "50 s left"],
    [51, "1 min left"],
    [121, "3 min left"],
    [5399, "90 min left"],
    [7201, "3 h left"],
    [200_000, "3 days left"],
  ])("%d s is %s", (seconds, text) => {
    expect(english.timeLeft(seconds)).toBe(text);
  });
});
