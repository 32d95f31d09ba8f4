/** What can be done with files: download, delete with Undo, restore, rename, share, zip. */

import type { FileInfo } from "@we-upload/client";
import { isApiError } from "@we-upload/client";
import type { VNode } from "preact";
import { signal } from "@preact/signals";
import { api } from "../core/api";
import { hasTrash } from "../core/server-config";
import { t } from "../core/language";
import { loadScreens } from "../core/lazy";
import { problemText, showProblem } from "../core/problems";
import { refreshUsage } from "../core/session";
import { showToast } from "../core/toasts";
import type { BulkAction, BulkResult } from "./bulk";
import type { FileList } from "./file-list";

const DELETE_DELAY_MS = 6000;

/** Run an action whose code is loaded first. A failed load leaves all files as they are. */
function runBulk(name: "deleteAll" | "restoreAll", files: readonly FileInfo[]): Promise<BulkResult> {
  return loadScreens().then(
    ({ bulk }) => bulk[name](files),
    (error: unknown) => ({ done: [], failed: files, error, problem: problemText(error) }),
  );
}

/** Take files out of the list, act on them, and put back those for which it failed. Returns whether all went well. */
export async function actOnFiles(list: FileList, files: readonly FileInfo[], act: BulkAction): Promise<boolean> {
  const removed = list.remove(new Set(files.map((file) => file.id)));
  return settle(list, removed, await act(files));
}

function settle(list: FileList, removed: ReturnType<FileList["remove"]>, { failed, problem }: BulkResult): boolean {
  if (failed.length > 0) {
    list.putBack(removed.filter((entry) => failed.includes(entry.file)));
    if (problem) showToast(problem, { isError: true });
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

/** How far the zip is that is being built; null where there is none. */
export const zipStatus = signal<VNode | null>(null);

/** Deletions that wait for the end of their Undo, where the server keeps no trash. */
const waiting = new Set<() => void>();
window.addEventListener("pagehide", () => {
  for (const run of waiting) run();
});

/** Move files to the trash, or delete them where there is none. The rows go at once; Undo brings them back when the server has restored them. */
export async function deleteFiles(list: FileList, files: readonly FileInfo[]): Promise<void> {
  if (files.length === 0) return;
  const removed = list.remove(new Set(files.map((file) => file.id)));
  if (!hasTrash()) return deleteLater(list, files, removed);
  const text = t.files.movedToTrash(files.length);
  let isUndone = false;
  const deletion = runBulk("deleteAll", files);
  showToast(text, {
    icon: "trash",
    action: {
      label: t.actions.undo,
      run: () => {
        isUndone = true;
        void undoDelete(list, removed, deletion);
      },
    },
  });
  const result = await deletion;
  if (!isUndone) settle(list, removed, result);
}

async function undoDelete(list: FileList, removed: ReturnType<FileList["remove"]>, deletion: Promise<BulkResult>): Promise<void> {
  const files = removed.map((entry) => entry.file);
  const { failed: notDeleted } = await deletion;
  const deleted = files.filter((file) => !notDeleted.includes(file));
  const { failed, done, error, problem } = await runBulk("restoreAll", deleted);
  // Not before: until then a link for the file, or a zip of it, would be refused.
  list.putBack(removed.filter((entry) => !failed.includes(entry.file)));
  for (const file of done) list.replace(file);
  if (failed.length > 0) {
    // Without a trash on the server nothing can be restored.
    showToast(isApiError(error) && error.status === 404 ? t.files.deletedForGood(failed.length) : problem, { isError: true });
  }
  void refreshUsage();
}

function deleteLater(list: FileList, files: readonly FileInfo[], removed: ReturnType<FileList["remove"]>): void {
  const run = () => {
    clearTimeout(timer);
    if (!waiting.delete(run)) return;
    void runBulk("deleteAll", files).then((result) => settle(list, removed, result));
  };
  // While the page is hidden, nothing can be loaded any more.
  void loadScreens().catch(() => undefined);
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

export function setPublic(list: FileList, files: readonly FileInfo[], isPublic: boolean): Promise<void> {
  return loadScreens().then(({ changeVisibility }) => changeVisibility(list, files, isPublic), showProblem);
}
