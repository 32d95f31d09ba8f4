import { describe, expect, it } from "vitest";
import { CATALOGUES, differences, textsOf as texts } from "../catalogue-check";

describe("the check of the build", () => {
  it("finds a text that only one language has", () => {
    expect(differences({ a: { b: "x" }, c: "y" }, { a: { b: "x", d: "z" } })).toEqual([".c", ".a.d"]);
  });
});

describe.each(CATALOGUES)("the catalogue %s", (_, en, de) => {
  it("has the same keys in both languages", () => {
    expect(differences(en, de)).toEqual([]);
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
