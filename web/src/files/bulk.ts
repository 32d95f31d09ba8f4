/** Actions on many files, with requests of up to 100. They know which files failed, so that the list can put those back. */

import { createFileBatches, type BatchResult, type FileInfo } from "@we-upload/client";
import { api } from "../core/api";
import { failureText } from "./failure-text";

export interface BulkResult {
  /** The files as they are now. */
  readonly done: readonly FileInfo[];
  readonly failed: readonly FileInfo[];
  /** The first error; null if there was none. */
  readonly error: unknown;
  /** What failed and why, for the user. Empty if nothing failed, and where the session has ended: then the sign-in page is shown. */
  readonly problem: string;
}

export type BulkAction = (files: readonly FileInfo[]) => Promise<BulkResult>;

const batches = createFileBatches(api);

/** Sort the files by their results, which are in the same order. */
export function bulkResult(files: readonly FileInfo[], results: readonly BatchResult[]): BulkResult {
  const done: FileInfo[] = [];
  const failures: { readonly file: FileInfo; readonly error: unknown }[] = [];
  files.forEach((file, index) => {
    const result = results[index];
    if (result !== undefined && result.error === null) done.push(changed(file, result));
    else failures.push({ file, error: result?.error ?? null });
  });
  return { done, failed: failures.map(({ file }) => file), error: failures[0]?.error ?? null, problem: failureText(failures) };
}

function changed(file: FileInfo, { status }: BatchResult): FileInfo {
  return status === null || status === "deleted" ? file : { ...file, status };
}

function inBatches(change: (ids: readonly string[]) => Promise<readonly BatchResult[]>): BulkAction {
  return async (files) => bulkResult(files, await change(files.map((file) => file.id)));
}

/** Move files to the trash, or delete them where the server keeps none. */
export const deleteAll = inBatches((ids) => batches.delete(ids));
export const restoreAll = inBatches((ids) => batches.restore(ids));
/** Delete files for good. */
export const purgeAllOf = inBatches((ids) => batches.purge(ids));
/** Delete all files in the trash. */
export const emptyTrash = (): Promise<number> => batches.emptyTrash();
/** Let anyone with the address download the files, or end that. */
export const setAllPublic = (files: readonly FileInfo[], isPublic: boolean): Promise<BulkResult> =>
  inBatches((ids) => batches.setVisibility(ids, isPublic))(files);
