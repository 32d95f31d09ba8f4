/** Have the server pack files, and save the zip. */

import type { FileInfo } from "@we-upload/client";
import { api } from "../core/api";
import { showProblem } from "../core/problems";
import { s } from "../core/screen-texts";
import { showToast } from "../core/toasts";
import { saveUrl, zipProgress } from "./file-actions";

export async function zipFiles(files: readonly FileInfo[]): Promise<void> {
  const controller = new AbortController();
  const show = (doneBytes: number, sizeBytes: number) => {
    zipProgress.value = { fileCount: files.length, doneBytes, sizeBytes, cancel: () => controller.abort() };
  };
  show(0, 1);
  let archiveId: string | null = null;
  try {
    const archive = await api.archives.create({ file_ids: files.map((file) => file.id), filename: s.zip.name }, { signal: controller.signal });
    archiveId = archive.id;
    const state = await api.archives.wait(archive.id, {
      signal: controller.signal,
      onProgress: (progress) => show(progress.done_bytes, progress.size_bytes),
    });
    if (state.status === "ready" && state.download_url) saveUrl(state.download_url);
    else showToast(s.zip.failed(state.error_code ?? ""), { isError: true });
  } catch (error) {
    if (controller.signal.aborted && archiveId !== null) await api.archives.delete(archiveId).catch(() => {});
    showProblem(error);
  } finally {
    zipProgress.value = null;
  }
}
