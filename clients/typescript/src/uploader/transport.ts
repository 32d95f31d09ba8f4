/** Sends bytes to the store: by XMLHttpRequest in browsers, for its upload progress; by fetch elsewhere. */

import { ConnectionError } from "../errors.js";
import type { PutRequest, PutResponse, Transport } from "./types.js";

/** Set by the browser itself; a page that sets them gets a console error (Fetch Standard, forbidden request headers). */
const FORBIDDEN_HEADERS: ReadonlySet<string> = new Set(["content-length", "host", "connection", "expect", "transfer-encoding"]);

export function defaultTransport(): Transport {
  return typeof XMLHttpRequest === "undefined" ? fetchTransport() : xhrTransport();
}

export function sendableHeaders(headers: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(headers).filter(([name]) => !FORBIDDEN_HEADERS.has(name.toLowerCase()));
}

/** Fails a request whose progress has stopped for this long: a dead connection reports nothing by itself. */
const STALLED_MS = 120_000;

export function xhrTransport(): Transport {
  return (request) =>
    new Promise<PutResponse>((resolve, reject) => {
      if (request.signal.aborted) return reject(request.signal.reason);
      const xhr = new XMLHttpRequest();
      const abort = () => xhr.abort();
      // Not before the first progress: the request may wait in the browser's queue of connections.
      let watchdog: ReturnType<typeof setTimeout> | undefined;
      const finish = (settle: () => void) => () => {
        clearTimeout(watchdog);
        request.signal.removeEventListener("abort", abort);
        settle();
      };
      const fail = finish(() => reject(request.signal.aborted ? request.signal.reason : new ConnectionError(new Error("request failed"))));
      xhr.open(request.method, request.url);
      for (const [name, value] of sendableHeaders(request.headers)) xhr.setRequestHeader(name, value);
      xhr.upload.onprogress = (event) => {
        clearTimeout(watchdog);
        watchdog = setTimeout(abort, STALLED_MS);
        request.onProgress(event.loaded);
      };
      xhr.onload = finish(() => resolve({ status: xhr.status, text: xhr.responseText, retryAfter: exposedHeader(xhr, "retry-after") }));
      xhr.onerror = fail;
      xhr.onabort = fail;
      request.signal.addEventListener("abort", abort, { once: true });
      xhr.send(request.body);
    });
}

/** `getResponseHeader` writes to the console when the header is not exposed across origins. */
function exposedHeader(xhr: XMLHttpRequest, name: string): string | null {
  for (const line of xhr.getAllResponseHeaders().split("\r\n")) {
    if (line.toLowerCase().startsWith(`${name}:`)) return line.slice(name.length + 1).trim();
  }
  return null;
}

/** Reports progress at the end of each request only: fetch does not tell how much was sent. */
export function fetchTransport(send: typeof fetch = (input, init) => globalThis.fetch(input, init)): Transport {
  return async (request: PutRequest) => {
    try {
      const response = await send(request.url, {
        method: request.method,
        headers: sendableHeaders(request.headers),
        body: request.body,
        signal: request.signal,
        credentials: "omit",
      });
      const text = await response.text();
      if (response.ok) request.onProgress(request.body.size);
      return { status: response.status, text, retryAfter: response.headers.get("Retry-After") };
    } catch (error) {
      request.signal.throwIfAborted();
      throw new ConnectionError(error);
    }
  };
}
