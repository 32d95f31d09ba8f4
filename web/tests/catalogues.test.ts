import { describe, expect, it } from "vitest";
import { screens as deScreens } from "../src/locales/de/screens";
import { start as deStart } from "../src/locales/de/start";
import { uploads as deUploads } from "../src/locales/de/uploads";
import { screens as enScreens } from "../src/locales/en/screens";
import { start as enStart } from "../src/locales/en/start";
import { uploads as enUploads } from "../src/locales/en/uploads";

const CATALOGUES = [
  ["start", enStart, deStart],
  ["screens", enScreens, deScreens],
  ["uploads", enUploads, deUploads],
] as const;

/** Return each text with its path. */
function texts(value: unknown, path = ""): [string, unknown][] {
  if (Array.isArray(value)) return value.flatMap((item, index) => texts(item, `${path}.${index}`));
  if (typeof value === "object" && value !== null) return Object.entries(value).flatMap(([key, item]) => texts(item, `${path}.${key}`));
  return [[path, value]];
}

describe.each(CATALOGUES)("the catalogue %s", (_, en, de) => {
  it("has the same keys in both languages", () => {
    expect(texts(de).map(([path]) => path)).toEqual(texts(en).map(([path]) => path));
  });

  it("has no empty text", () => {
    for (const [path, text] of [...texts(en), ...texts(de)]) expect(text, path).not.toBe("");
  });

  it("makes whole sentences from what is put in", () => {
    for (const [path, text] of [...texts(en), ...texts(de)]) {
      if (typeof text !== "function" || path === ".share.sentence") continue;
      const made: unknown = text(...Array.from({ length: text.length }, () => "7"));
      expect(typeof made, path).toBe("string");
      expect(made, path).not.toMatch(/undefined|NaN|\[object/);
    }
  });
});
