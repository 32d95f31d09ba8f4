/** Calls of owners of file requests. They stand apart from the other calls, so that a page can load them when it needs them. */

import type * as api from "./api-types.js";
import type { CreateOptions, PageOptions } from "./client.js";
import type { CallOptions, Http } from "./http.js";

export function createFileRequestCalls({ http }: { readonly http: Http }) {
  return {
    create: (body: api.FileRequestCreate, options: CreateOptions = {}) =>
      http.call("post", "/api/v1/file-requests", { body, headers: { "Idempotency-Key": options.idempotencyKey }, signal: options.signal }),
    list: (page: PageOptions = {}, options?: CallOptions) => http.page("/api/v1/file-requests", { query: page, ...options }),
    get: (requestId: string, options?: CallOptions) =>
      http.call("get", "/api/v1/file-requests/{request_id}", { path: { request_id: requestId }, ...options }),
    update: (requestId: string, body: api.FileRequestUpdate) =>
      http.call("patch", "/api/v1/file-requests/{request_id}", { path: { request_id: requestId }, body }),
    /** Give a request a new address; the old one stops working. */
    rotate: (requestId: string) => http.call("post", "/api/v1/file-requests/{request_id}/rotate", { path: { request_id: requestId } }),
    /** Close a request: its link ends. Files that came by it stay. */
    close: (requestId: string) => http.call("delete", "/api/v1/file-requests/{request_id}", { path: { request_id: requestId } }),
  };
}
