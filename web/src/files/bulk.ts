/** Actions on many files. They know which files failed, so that the list can put those back. */

import type { FileInfo } from "@we-upload/client";
import { api } from "../core/api";

/** Requests of one action that run side by side. */
const PARALLEL = 6;

export interface BulkResult {
  /** The files as they are now, as far as the server returned them. */
  readonly done: readonly FileInfo[];
  readonly failed: readonly FileInfo[];
  /** The first error; null if there was none. */
  readonly error: unknown;
}

export type BulkAction = (files: readonly FileInfo[]) => Promise<BulkResult>;

/** Return an action that sends one request for each file. */
function each(act: (file: FileInfo) => Promise<FileInfo | undefined>): BulkAction {
  return async (files) => {
    const done: FileInfo[] = [];
    const failed: FileInfo[] = [];
    let error: unknown = null;
    const queue = [...files];
    const work = async () => {
      for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
        try {
          const answer = await act(file);
          if (answer !== undefined) done.push(answer);
        } catch (cause) {
          failed.push(file);
          error ??= cause;
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(PARALLEL, files.length) }, work));
    return { done, failed, error };
  };
}

/** Move files to the trash, or delete them where the server keeps none. */
export const deleteAll = each((file) => api.files.delete(file.id));
export const restoreAll = each((file) => api.files.restore(file.id));
/** Delete files for good. */
export const purgeAllOf = each((file) => api.files.delete(file.id, { permanent: true }));
