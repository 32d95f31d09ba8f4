/** What can be done with files: download, delete with Undo, restore, rename, share, zip. */

import type { FileInfo } from "@we-upload/client";
import { isApiError } from "@we-upload/client";
import { signal } from "@preact/signals";
import { api } from "../core/api";
import { hasTrash } from "../core/server-config";
import { t } from "../core/language";
import { loadScreens } from "../core/lazy";
import { problemText, showProblem } from "../core/problems";
import { refreshUsage } from "../core/session";
import { showToast } from "../core/toasts";
import { deleteAll, restoreAll, type BulkAction, type BulkResult } from "./bulk";
import type { FileList } from "./file-list";

const DELETE_DELAY_MS = 6000;

/** Take files out of the list, act on them, and put back those for which it failed. Returns whether all went well. */
export async function actOnFiles(list: FileList, files: readonly FileInfo[], act: BulkAction): Promise<boolean> {
  const removed = list.remove(new Set(files.map((file) => file.id)));
  return settle(list, removed, await act(files));
}

function settle(list: FileList, removed: ReturnType<FileList["remove"]>, { failed, error }: BulkResult): boolean {
  if (failed.length > 0) {
    list.putBack(removed.filter((entry) => failed.includes(entry.file)));
    showProblem(error);
  }
  void refreshUsage();
  return failed.length === 0;
}

/** Have the browser save what is at a presigned address. */
export function saveUrl(url: string): void {
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.download = "";
  anchor.rel = "noreferrer";
  anchor.click();
}

export async function downloadFiles(files: readonly FileInfo[]): Promise<void> {
  const available = files.filter((file) => file.status === "available");
  const [first] = available;
  if (first === undefined) return files.length > 0 ? showToast(t.problems.codes.file_not_available, { icon: "info" }) : undefined;
  if (available.length > 1) return loadScreens().then(({ zipFiles }) => zipFiles(available), showProblem);
  try {
    saveUrl((await api.files.downloadUrl(first.id)).download_url);
  } catch (error) {
    showProblem(error);
  }
}

export interface ZipProgress {
  readonly fileCount: number;
  readonly doneBytes: number;
  readonly sizeBytes: number;
  readonly cancel: () => void;
}

/** The zip that is being built, if any. */
export const zipProgress = signal<ZipProgress | null>(null);

/** Deletions that wait for the end of their Undo, where the server keeps no trash. */
const waiting = new Set<() => void>();
window.addEventListener("pagehide", () => {
  for (const run of waiting) run();
});

/** Move files to the trash, or delete them where there is none. The rows go at once; Undo brings them back. */
export async function deleteFiles(list: FileList, files: readonly FileInfo[]): Promise<void> {
  if (files.length === 0) return;
  const removed = list.remove(new Set(files.map((file) => file.id)));
  if (!hasTrash()) return deleteLater(list, files, removed);
  const text = t.files.movedToTrash(files.length);
  let isUndone = false;
  const deletion = deleteAll(files);
  showToast(text, {
    icon: "trash",
    action: {
      label: t.actions.undo,
      run: () => {
        isUndone = true;
        list.putBack(removed);
        void undoDelete(list, files, deletion);
      },
    },
  });
  const result = await deletion;
  if (!isUndone) settle(list, removed, result);
}

async function undoDelete(list: FileList, files: readonly FileInfo[], deletion: Promise<BulkResult>): Promise<void> {
  const { failed: notDeleted } = await deletion;
  const deleted = files.filter((file) => !notDeleted.includes(file));
  const { failed, done, error } = await restoreAll(deleted);
  for (const file of done) list.replace(file);
  if (failed.length > 0) {
    list.remove(new Set(failed.map((file) => file.id)));
    // Without a trash on the server nothing can be restored.
    showToast(isApiError(error) && error.status === 404 ? t.files.deletedForGood(failed.length) : problemText(error), { isError: true });
  }
  void refreshUsage();
}

function deleteLater(list: FileList, files: readonly FileInfo[], removed: ReturnType<FileList["remove"]>): void {
  const run = () => {
    clearTimeout(timer);
    if (!waiting.delete(run)) return;
    void deleteAll(files).then((result) => settle(list, removed, result));
  };
  const timer = setTimeout(run, DELETE_DELAY_MS);
  waiting.add(run);
  showToast(t.files.deleted(files.length), {
    icon: "trash",
    action: {
      label: t.actions.undo,
      run: () => {
        clearTimeout(timer);
        waiting.delete(run);
        list.putBack(removed);
      },
    },
  });
}

export async function setPublic(list: FileList, file: FileInfo, isPublic: boolean): Promise<void> {
  list.replace({ ...file, is_public: isPublic });
  try {
    list.replace(await api.files.update(file.id, { is_public: isPublic }));
    showToast(isPublic ? t.files.madePublic : t.files.madePrivate, { icon: isPublic ? "globe" : "lock" });
  } catch (error) {
    list.replace(file);
    showProblem(error);
  }
}
