/** Calls about previews. They stand apart from the other calls, so that a page can load them when it needs them. */

import type * as api from "./api-types.js";
import { BATCH_MAX_FILES } from "./batches.js";
import type { CallOptions, Http } from "./http.js";

export type Previews = ReturnType<typeof createPreviews>;

export function createPreviews({ http }: { readonly http: Http }) {
  return {
    /** The small previews of up to 100 files, in the same order. */
    async list(fileIds: readonly string[], options: CallOptions = {}): Promise<readonly api.PreviewResult[]> {
      const body = { file_ids: fileIds.slice(0, BATCH_MAX_FILES) };
      return (await http.call("post", "/api/v1/files/previews", { body, signal: options.signal })).results;
    },
    /** The preview of a file in both sizes, and what the file is. */
    get: (fileId: string, options: CallOptions = {}) => http.call("get", "/api/v1/files/{file_id}/preview", { path: { file_id: fileId }, ...options }),
    /** A presigned URL whose response a page can show, if its `disposition` is `inline`. */
    inlineUrl: (fileId: string, options: CallOptions = {}) =>
      http.call("get", "/api/v1/files/download/{file_id}", { path: { file_id: fileId }, query: { disposition: "inline" }, ...options }),
  };
}
