/** Calls about many files. They stand apart from the other calls, so that a page can load them when it needs them. */

import type * as api from "./api-types.js";
import type { CreateOptions } from "./client.js";
import { ApiError } from "./errors.js";
import type { CallOptions, Http } from "./http.js";

/** The most files that the server takes in one request. */
export const BATCH_MAX_FILES = 100;

/** What became of one file: either `status` or `error` is null. */
export interface BatchResult {
  readonly id: string;
  /** The status after the change; null if the file was not changed. */
  readonly status: api.ChangedStatus | null;
  /** An ApiError for what the server refused; the error of the request if there was no answer. */
  readonly error: unknown;
}

type ChangePath = "/api/v1/files/delete" | "/api/v1/files/purge" | "/api/v1/files/restore" | "/api/v1/files/visibility";

export type FileBatches = ReturnType<typeof createFileBatches>;

/** Changes take any number of ids and send requests of 100, one after another. There is one result for each id, in the same order. */
export function createFileBatches({ http }: { readonly http: Http }) {
  async function change(path: ChangePath, fileIds: readonly string[], options: CallOptions, more: object = {}): Promise<BatchResult[]> {
    const results: BatchResult[] = [];
    for (const file_ids of chunks(fileIds)) {
      try {
        const body = { file_ids, ...more } as api.Body<ChangePath, "post">;
        const answer = await http.call("post", path, { body, signal: options.signal });
        for (const { id, status, error } of answer.results) results.push({ id, status, error: error && asApiError(error) });
      } catch (error) {
        options.signal?.throwIfAborted();
        // What is wrong with one request is wrong with the next too: no network, too many requests, no session.
        for (const id of fileIds.slice(results.length)) results.push({ id, status: null, error });
        break;
      }
    }
    return results;
  }

  return {
    /** Move files to the trash, or delete them where the server keeps none. */
    delete: (fileIds: readonly string[], options: CallOptions = {}) => change("/api/v1/files/delete", fileIds, options),
    /** Delete files for good, also from the trash. */
    purge: (fileIds: readonly string[], options: CallOptions = {}) => change("/api/v1/files/purge", fileIds, options),
    /** Take files out of the trash. */
    restore: (fileIds: readonly string[], options: CallOptions = {}) => change("/api/v1/files/restore", fileIds, options),
    setVisibility: (fileIds: readonly string[], isPublic: boolean, options: CallOptions = {}) =>
      change("/api/v1/files/visibility", fileIds, options, { is_public: isPublic }),
    /** Delete all files in the trash. Returns how many there were. */
    async emptyTrash(options: CallOptions = {}): Promise<number> {
      for (let count = 0; ; ) {
        const { deleted_files, has_more } = await http.call("delete", "/api/v1/files/trash", options);
        count += deleted_files;
        if (!has_more) return count;
      }
    },
    /** The status of each file, in the same order; `not_found` for a file that the caller cannot read. */
    async statuses(fileIds: readonly string[], options: CallOptions = {}): Promise<readonly api.FileState[]> {
      const states: api.FileState[] = [];
      for (const file_ids of chunks(fileIds)) {
        states.push(...(await http.call("post", "/api/v1/files/status", { body: { file_ids }, signal: options.signal })).files);
      }
      return states;
    },
    /** Declare up to 100 files that one PUT each fills. There is one result for each file, in the same order. */
    async startUploads(body: api.UploadBatch, options: CreateOptions = {}): Promise<readonly api.StartedUpload[]> {
      const headers = { "Idempotency-Key": options.idempotencyKey };
      return (await http.call("post", "/api/v1/files/uploads", { body, headers, signal: options.signal })).results;
    },
  };
}

function chunks(ids: readonly string[]): string[][] {
  const count = Math.ceil(ids.length / BATCH_MAX_FILES);
  return Array.from({ length: count }, (_, index) => ids.slice(index * BATCH_MAX_FILES, (index + 1) * BATCH_MAX_FILES));
}

/** The error that a request about this file alone would have thrown. */
function asApiError({ status, code, detail, extra }: api.ItemError): ApiError {
  return new ApiError({ status, code, detail, problem: { ...extra, status, code, detail } });
}
