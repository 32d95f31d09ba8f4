import { describe, expect, it } from "vitest";
import { describeBrowser } from "../src/core/browser-name";
import { extensionOf, fileKind } from "../src/core/file-kind";
import { keyName } from "../src/core/keys";
import { chooseLanguage } from "../src/core/language";
import { linkState } from "../src/links/link-state";

describe("the language", () => {
  it("is the kept one, then the first preferred one that there is, then English", () => {
    expect(chooseLanguage("de", ["en-US"])).toBe("de");
    expect(chooseLanguage(null, ["fr-FR", "de-AT", "en"])).toBe("de");
    expect(chooseLanguage(null, ["fr"])).toBe("en");
    expect(chooseLanguage("toString", ["constructor"])).toBe("en");
  });
});

describe("keys", () => {
  const event = (key: string, held: Partial<KeyboardEvent> = {}) => ({ key, ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, ...held });

  it("have one name on all keyboards", () => {
    expect(keyName(event("X", { shiftKey: true }))).toBe("x");
    expect(keyName(event("?", { shiftKey: true }))).toBe("?");
    expect(keyName(event("a", { metaKey: true }))).toBe("Ctrl+a");
    expect(keyName(event("ArrowDown", { shiftKey: true }))).toBe("Shift+ArrowDown");
  });
});

describe("kinds of files", () => {
  it("follow the content type, then the ending", () => {
    expect(fileKind("image/heic", "x")).toBe("image");
    expect(fileKind("application/octet-stream", "Site.MOV")).toBe("video");
    expect(fileKind("application/octet-stream", "budget.xlsx")).toBe("sheet");
    expect(fileKind("application/octet-stream", "a.unknown")).toBe("other");
    expect(fileKind("text/plain", "README")).toBe("document");
  });

  it("take no dot at the start for an ending", () => {
    expect(extensionOf(".bashrc")).toBe("");
    expect(extensionOf("archive.tar.gz")).toBe("gz");
    expect(extensionOf("no ending.")).toBe("");
  });
});

describe("browsers", () => {
  it("are distinguished from similar ones", () => {
    expect(describeBrowser("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Edg/140.0")).toEqual({
      name: "Edge",
      system: "Windows",
      isPhone: false,
    });
    expect(describeBrowser("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile/15E148 Safari/604.1")).toEqual({
      name: "Safari",
      system: "iPhone",
      isPhone: true,
    });
    expect(describeBrowser("")).toEqual({ name: "", system: "", isPhone: false });
  });
});

describe("the state of a link", () => {
  const now = Date.parse("2026-11-27T12:00:00Z");
  const link = { revoked_at: null, expires_at: null, max_downloads: null, download_count: 0 };

  it("is the first that closes it", () => {
    expect(linkState(link, now)).toBe("open");
    expect(linkState({ ...link, expires_at: "2026-11-28T11:00:00Z" }, now)).toBe("closes-soon");
    expect(linkState({ ...link, expires_at: "2026-11-27T12:00:00Z" }, now)).toBe("expired");
    expect(linkState({ ...link, max_downloads: 2, download_count: 2 }, now)).toBe("limit-reached");
    expect(linkState({ ...link, revoked_at: "2026-11-01T00:00:00Z", expires_at: "2026-11-02T00:00:00Z" }, now)).toBe("revoked");
  });
});
