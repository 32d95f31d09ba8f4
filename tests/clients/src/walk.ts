/** What each generated client does. The test compares the results of all clients. */

export interface Report {
  readonly userEmail: string;
  readonly status: string;
  readonly listed: readonly string[];
  readonly nextCursor: string | null;
  readonly shared: readonly string[];
  readonly missing: string;
  readonly tooLarge: { readonly code: string; readonly maxBytes: number };
  readonly invalid: { readonly code: string; readonly field: string };
  readonly refused: string;
}

export const CONTENT = new TextEncoder().encode("written by a generated client");
export const ABSENT_ID = "0b8f7d3e-6a52-4c0d-9a5e-2f6f4b1c7a10";
export const TOO_LARGE_BYTES = 6 * 1024 ** 4;
export const API_URL = process.env["WE_UPLOAD_URL"] ?? "";
export const EMAIL = process.env["WE_UPLOAD_EMAIL"] ?? "";
export const PASSWORD = process.env["WE_UPLOAD_PASSWORD"] ?? "";

/** Send the content to the presigned URL. The HTTP stack sets Content-Length itself. */
export async function sendContent(upload: { upload_url: string; method: string; headers: Record<string, string> }): Promise<void> {
  const headers = Object.fromEntries(Object.entries(upload.headers).filter(([name]) => name.toLowerCase() !== "content-length"));
  const response = await fetch(upload.upload_url, { method: upload.method, headers, body: CONTENT });
  if (!response.ok) throw new Error(`The store answered ${response.status}: ${await response.text()}`);
}

export function present<T>(value: T | undefined | null, what: string): T {
  if (value === undefined || value === null) throw new Error(`${what} is absent`);
  return value;
}

export function lastSegment(url: string): string {
  return present(url.split("/").pop(), "the last segment");
}
