/** Have the server pack files, and save the zip. */

import type { FileInfo } from "@we-upload/client";
import { api } from "../core/api";
import { showProblem } from "../core/problems";
import { s } from "../core/screen-texts";
import { showToast } from "../core/toasts";
import { IconButton } from "../ui/controls";
import { Icon } from "../ui/icon";
import { saveUrl, zipStatus } from "./file-actions";

interface ZipStatusProps {
  readonly fileCount: number;
  readonly doneBytes: number;
  readonly sizeBytes: number;
  readonly onCancel: () => void;
}

function ZipStatus({ fileCount, doneBytes, sizeBytes, onCancel }: ZipStatusProps) {
  return (
    <div class="zip card" role="group" aria-label={s.zip.title}>
      <div class="row">
        <Icon name="zip" />
        <span class="grow strong">{s.zip.packing(fileCount)}</span>
        <IconButton icon="x" label={s.zip.cancel} isSmall onClick={onCancel} />
      </div>
      <progress value={doneBytes} max={Math.max(1, sizeBytes)} aria-label={s.zip.title} />
    </div>
  );
}

export async function zipFiles(files: readonly FileInfo[]): Promise<void> {
  const controller = new AbortController();
  const show = (doneBytes: number, sizeBytes: number) => {
    zipStatus.value = <ZipStatus fileCount={files.length} doneBytes={doneBytes} sizeBytes={sizeBytes} onCancel={() => controller.abort()} />;
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
    zipStatus.value = null;
  }
}
