import type { Receipt } from "@we-upload/client";
import { describe, expect, it } from "vitest";
import { receiptText, summarize } from "../src/receipts/receipt";

function event(action: string, details: object) {
  const opened = { seq: "7", at: "2026-11-27T10:05:00.000000Z", action, subject: "file:1", details: JSON.stringify(details) };
  const fields = Object.entries(opened).map(([name, value]) => ({ name, salt: "c2FsdA==", value }));
  return { fields: [...fields, { name: "actor_id", hash: "aGFzaA==" }], index: 3, proof: [], checkpoint: "origin\n42\nroot\n\n— key\n" };
}

const arrival = event("file.available", { filename: "plan.pdf", size_bytes: 1200, sha256: "ab" });

describe("receipts", () => {
  it("say what a file was when it arrived", () => {
    expect(summarize({ type: "we-upload receipt v1", events: [arrival] })).toEqual({
      action: "file.available",
      at: new Date("2026-11-27T10:05:00Z"),
      filename: "plan.pdf",
      sizeBytes: 1200,
      sha256: "ab",
      isZip: false,
      logSize: 42,
    });
  });

  it("of a download name the file", () => {
    const summary = summarize({ type: "we-upload receipt v1", events: [event("share.downloaded", { file_id: "1" }), arrival] });
    expect([summary.action, summary.filename]).toEqual(["share.downloaded", "plan.pdf"]);
  });

  it("of a zip, and of a file without a receipt of its arrival, have no name", () => {
    const zip = summarize({ type: "we-upload receipt v1", events: [event("share.downloaded", { archive_id: "1" })] });
    expect([zip.isZip, zip.filename, zip.sizeBytes]).toEqual([true, null, null]);
  });

  it("keep the bytes of the server", () => {
    const sent = '{"type":"we-upload receipt v1","events":[{"fields":[{"name":"details","salt":"cw==","value":"{\\"filename\\": \\"ä \\u2028🔑\\\\n\\"}"}],"index":0,"proof":[],"checkpoint":"o\\n1\\n"}]}'.replace("\\u2028", "\u2028");
    expect(receiptText(JSON.parse(sent) as Receipt)).toBe(sent);
  });
});
