import { describe, expect, it } from "vitest";
import { knownOf, lastDays, niceCeiling, sparkPoints, sumOf } from "../src/admin/bar-chart";
import { fitMiddle } from "../src/core/fit-middle";
import { isNearEnd, listWindow, tabStopOf } from "../src/core/list-window";
import { columnsFor } from "../src/files/grid-columns";
import { fileFilters, hasFilters, readFileQuery } from "../src/files/file-query";

describe("the window of a long list", () => {
  const view = { rowCount: 100_000, rowHeight: 56, viewHeight: 900, overscan: 8 };

  it("always has the height of all rows", () => {
    for (let scrolled = -500; scrolled < 100_000 * 56 + 500; scrolled += 7919) {
      const { start, end, before, after } = listWindow({ ...view, scrolled });
      expect(before + after + (end - start) * 56).toBe(5_600_000);
    }
  });

  it("covers what is in view, and draws few rows", () => {
    for (let scrolled = 0; scrolled < 5_599_100; scrolled += 104_729) {
      const { start, end } = listWindow({ ...view, scrolled });
      expect(start * 56).toBeLessThanOrEqual(scrolled);
      expect(end * 56).toBeGreaterThanOrEqual(Math.min(scrolled + 900, 5_600_000));
      expect(end - start).toBeLessThanOrEqual(48);
    }
  });

  it("has a tab stop while the active row is not drawn", () => {
    const drawn = [{ id: "b" }, { id: "c" }];
    expect(tabStopOf(drawn, "c")).toBe("c");
    expect(tabStopOf(drawn, "a")).toBe("b");
    expect(tabStopOf(drawn, null)).toBe("b");
    expect(tabStopOf([], "a")).toBeUndefined();
  });

  it("draws nothing of an empty list, and all of a short one", () => {
    expect(listWindow({ ...view, rowCount: 0, scrolled: 0 })).toEqual({ start: 0, end: 0, before: 0, after: 0 });
    expect(listWindow({ ...view, rowCount: 5, scrolled: 0 })).toEqual({ start: 0, end: 5, before: 0, after: 0 });
  });

  it("stays the same while one row is scrolled", () => {
    expect(listWindow({ ...view, scrolled: 8 * 56 * 4 })).toEqual(listWindow({ ...view, scrolled: 8 * 56 * 4 + 20 }));
  });

  it("is near its end two views before it", () => {
    expect(isNearEnd({ rowCount: 100, rowHeight: 56, scrolled: 0, viewHeight: 900 })).toBe(false);
    expect(isNearEnd({ rowCount: 100, rowHeight: 56, scrolled: 3000, viewHeight: 900 })).toBe(true);
  });
});

describe("the window of a grid", () => {
  it("draws few of 100,000 files, and covers what is in view", () => {
    const view = { rowCount: 25_000, rowHeight: 236, viewHeight: 900, overscan: 2 };
    for (let scrolled = 0; scrolled < 25_000 * 236 - 900; scrolled += 104_729) {
      const { start, end } = listWindow({ ...view, scrolled });
      expect(start * 236).toBeLessThanOrEqual(scrolled);
      expect(end * 236).toBeGreaterThanOrEqual(scrolled + 900);
      expect(end - start).toBeLessThanOrEqual(12);
    }
  });

  it("has one column on a small phone, two on a larger one, and more where tiles keep their width", () => {
    expect([304, 374, 728, 992, 1152].map(columnsFor)).toEqual([1, 2, 3, 4, 4]);
  });
});

describe("a shortened name", () => {
  const measure = (text: string) => Array.from(text).length;

  it("stays whole where it fits", () => {
    expect(fitMiddle("plan.pdf", 8, measure)).toBe("plan.pdf");
  });

  it("keeps its last letters and its ending", () => {
    expect(fitMiddle("Harbour-house_final-plans_rev-C.pdf", 20, measure)).toBe("Harbour-hou…ev-C.pdf");
    expect(fitMiddle("Harbour-house_final-plans_rev-C.pdf", 20, measure)).toHaveLength(20);
  });

  it("does not cut a letter of two code units", () => {
    expect(fitMiddle("🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉.txt", 10, measure)).toBe("🎉…🎉🎉🎉🎉.txt");
  });

  it("does not take a long last word for an ending", () => {
    expect(fitMiddle("minutes.of the meeting in Bergen", 12, measure)).toBe("minutes…rgen");
  });
});

describe("the filters in an address", () => {
  it("are what is asked of the API", () => {
    const query = readFileQuery(new URLSearchParams("q= plan &type=image&age=7&size=huge&sort=name&shared=by_me"));
    expect(fileFilters(query, new Date("2026-11-27T12:00:00Z"))).toEqual({
      q: "plan",
      content_type: "image/",
      created_after: "2026-11-20T12:00:00.000Z",
      size_min: 1_000_000_000,
      sort: "name",
      shared: "by_me",
    });
    expect(hasFilters(query)).toBe(true);
  });

  it("are left out where they are not known", () => {
    const query = readFileQuery(new URLSearchParams("type=toString&age=3&sort=evil&shared=all"));
    expect(fileFilters(query, new Date())).toEqual({});
    expect(hasFilters(query)).toBe(false);
  });
});

describe("the chart of days", () => {
  it("has every day up to today", () => {
    expect(lastDays(3, new Date("2026-11-27T01:00:00Z"))).toEqual(["2026-11-25", "2026-11-26", "2026-11-27"]);
  });

  it("has no sum where a value is not known", () => {
    expect(sumOf([1, 0, 2])).toBe(3);
    expect(sumOf([1, null, 2])).toBeNull();
    expect(sumOf([null, 0])).toBeNull();
    expect(knownOf([1, null, 0])).toEqual([1, 0]);
  });

  it("draws a curve from edge to edge, with the largest value at the top", () => {
    expect(sparkPoints([0, 5, 10])).toEqual(["0.0 38.0", "60.0 21.0", "120.0 4.0"]);
    expect(sparkPoints([0, 0])).toEqual(["0.0 38.0", "120.0 38.0"]);
  });

  it.each([
    [0, 1],
    [1, 1],
    [3, 4],
    [5, 6],
    [11, 20],
    [95, 100],
    [201, 400],
  ])("with at most %d uploads ends at %d", (highest, ceiling) => {
    expect(niceCeiling(highest)).toBe(ceiling);
  });
});
