import { describe, expect, it } from "vitest";
import { screens as de } from "../src/locales/de/screens";
import { screens as en } from "../src/locales/en/screens";
import { linkName } from "../src/links/link-name";
import { closesIn, newLinkRules, readAddresses, ruleSentence, shareBody, shareChanges, strongParts, suggestPassword, type LinkRules } from "../src/sharing/link-rules";

const now = new Date("2026-11-27T17:00:30Z");
const until = () => "Friday 11 December, 18:00";
const rules = (changes: Partial<LinkRules> = {}): LinkRules => ({ ...newLinkRules(now), ...changes });

describe("the sentence of a link's rules", () => {
  it("names audience, permission, end and number of downloads", () => {
    expect(ruleSentence(rules({ hasPassword: true, maxDownloads: 20 }), 3, en, until)).toBe(
      "**Anyone with the link and the password** can download these files **until Friday 11 December, 18:00**, **20 downloads** in all.",
    );
  });

  it("is translated into German", () => {
    expect(ruleSentence(rules({ hasPassword: true, maxDownloads: 20 }), 3, de, () => "Freitag, 11. Dezember, 18:00 Uhr")).toBe(
      "**Wer den Link und das Passwort hat**, kann diese Dateien **bis Freitag, 11. Dezember, 18:00 Uhr** herunterladen, **insgesamt 20-mal**.",
    );
  });

  it("names no limit where nothing can be downloaded", () => {
    expect(ruleSentence(rules({ allowsDownload: false, maxDownloads: 5, closesAt: null }), 1, en, until)).toBe(
      "**Anyone with the link** can see the name and size of this file with **no end date**.",
    );
  });

  it("counts the people who are named", () => {
    expect(ruleSentence(rules({ audience: "named", recipients: ["a@example.com"] }), 1, en, until)).toContain("**Only the person you name**");
    expect(ruleSentence(rules({ audience: "named", recipients: ["a@example.com", "b@example.com"] }), 1, en, until)).toContain("**Only the 2 people you name**");
  });

  it("has pairs of marks for every combination of rules, in both languages", () => {
    for (const texts of [en, de]) {
      for (const audience of ["anyone", "signed_in", "named"] as const) {
        for (const hasPassword of [true, false]) {
          for (const allowsDownload of [true, false]) {
            for (const maxDownloads of [null, 1, 20]) {
              for (const closesAt of [null, now]) {
                const sentence = ruleSentence(rules({ audience, hasPassword, allowsDownload, maxDownloads, closesAt }), 2, texts, until);
                expect(sentence.split("**").length % 2, sentence).toBe(1);
                expect(sentence, sentence).toMatch(/^\*\*.*\.$/);
                expect(sentence).not.toMatch(/ {2}|undefined|null/);
              }
            }
          }
        }
      }
    }
  });
});

describe("strong parts", () => {
  it("are what stands between marks", () => {
    expect(strongParts("**a** b **c**")).toEqual([
      { text: "a", isStrong: true },
      { text: " b ", isStrong: false },
      { text: "c", isStrong: true },
    ]);
  });
});

describe("what the API is asked for", () => {
  it("leaves out recipients of another audience and empty notes", () => {
    expect(shareBody(rules({ recipients: ["a@example.com"], note: "  " }), ["1"])).toEqual({
      file_ids: ["1"],
      audience: "anyone",
      recipients: [],
      expires_at: "2026-12-11T17:00:00.000Z",
      password: null,
      max_downloads: null,
      allows_download: true,
      title: null,
      note: null,
    });
  });

  it("is only what has changed", () => {
    expect(shareChanges(rules(), rules())).toEqual({});
    expect(shareChanges(rules(), rules({ maxDownloads: 3 }))).toEqual({ max_downloads: 3 });
    expect(shareChanges(rules({ notifies: false }), rules({ notifies: true }))).toEqual({ notify_on_download: true });
    expect(shareBody(rules({ notifies: false }), ["1"]).notify_on_download).toBe(false);
    expect(shareBody(rules(), ["1"])).not.toHaveProperty("notify_on_download");
    expect(shareChanges(rules({ note: "old" }), rules({ note: "" }))).toEqual({ note: null });
    expect(shareChanges(rules(), rules({ title: " Plans " }))).toEqual({ title: "Plans" });
  });

  it("keeps a password unless another is typed, and takes it away when it is switched off", () => {
    const before = rules({ hasPassword: true });
    expect(shareChanges(before, rules({ hasPassword: true }))).toEqual({});
    expect(shareChanges(before, rules({ hasPassword: true, password: "new one" }))).toEqual({ password: "new one" });
    expect(shareChanges(before, rules())).toEqual({ password: null });
  });
});

describe("the name of a link", () => {
  const link = { title: "Plans", slug: "plans", first_filenames: ["a.pdf"] };

  it("is its title, else its own address, else its first file", () => {
    expect(linkName(link)).toBe("Plans");
    expect(linkName({ ...link, title: null })).toBe("plans");
    expect(linkName({ ...link, title: null, slug: null })).toBe("a.pdf");
  });
});

describe("expiry", () => {
  it("is at the full minute", () => {
    expect(closesIn(14, now).toISOString()).toBe("2026-12-11T17:00:00.000Z");
  });
});

describe("addresses", () => {
  it("are read from commas, semicolons, spaces and lines, each once", () => {
    expect(readAddresses("a@example.com, b@example.com;\nc@example.com  a@example.com ")).toEqual(["a@example.com", "b@example.com", "c@example.com"]);
  });
});

describe("a suggested password", () => {
  it("has three words and a number", () => {
    expect(suggestPassword()).toMatch(/^[a-z]+-[a-z]+-[a-z]+-\d\d$/);
    expect(suggestPassword(() => 0)).toBe("amber-amber-amber-10");
  });
});
