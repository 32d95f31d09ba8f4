/** The content of a receipt, for people. A receipt is verified by `we-upload verify`, not here. */

import type { Receipt } from "@we-upload/client";

export interface ReceiptSummary {
  readonly action: string;
  readonly at: Date;
  /** Of the file; null if the receipt does not have the event of its arrival. */
  readonly filename: string | null;
  readonly sizeBytes: number | null;
  readonly sha256: string | null;
  readonly isZip: boolean;
  /** Events in the log at the signed checkpoint. */
  readonly logSize: number;
}

/** Return the opened field of an event; "" if it is closed. */
function opened(event: Receipt["events"][number] | undefined, name: string): string {
  return event?.fields.find((field) => field.name === name)?.value ?? "";
}

function detailsOf(event: Receipt["events"][number] | undefined): Readonly<Record<string, unknown>> {
  try {
    const details: unknown = JSON.parse(opened(event, "details"));
    return typeof details === "object" && details !== null ? { ...details } : {};
  } catch {
    return {};
  }
}

/** The first event of a receipt is what it proves; the last one is the arrival of the file. */
export function summarize(receipt: Receipt): ReceiptSummary {
  const [first] = receipt.events;
  const file = detailsOf(receipt.events.at(-1));
  const { filename, size_bytes: sizeBytes, sha256 } = file;
  return {
    action: opened(first, "action"),
    at: new Date(opened(first, "at")),
    filename: typeof filename === "string" ? filename : null,
    sizeBytes: typeof sizeBytes === "number" ? sizeBytes : null,
    sha256: typeof sha256 === "string" ? sha256 : null,
    isZip: "archive_id" in detailsOf(first),
    logSize: Number(first?.checkpoint.split("\n")[1] ?? 0),
  };
}

/** Return the bytes that the server sent: compact JSON with the members in their order. Another spelling would not verify. */
export function receiptText(receipt: Receipt): string {
  return JSON.stringify(receipt);
}

export function receiptName(filename: string | null): string {
  return `${filename ?? "download"}.receipt.json`;
}
