/** Deleted files, until they are purged. */

import type { FileInfo } from "@we-upload/client";
import { useEffect } from "preact/hooks";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { useKeys } from "../core/keys";
import { showProblem } from "../core/problems";
import { onSignOut, refreshUsage } from "../core/session";
import { showToast } from "../core/toasts";
import { forEach } from "../files/file-actions";
import { createFileList, type FileList } from "../files/file-list";
import { FileTable, focusRow, sizeColumn, SkeletonRows, type FileColumn } from "../files/file-table";
import { SelectionBar } from "../files/selection-bar";
import { Empty, ErrorNote } from "../ui/controls";
import { ConfirmDialog } from "../ui/dialog";
import { showDialog } from "../ui/dialog-host";
import { Icon } from "../ui/icon";
import type { MenuItem } from "../ui/menu";
import { api } from "../core/api";

const trashList = createFileList();
onSignOut(() => trashList.clear());

/** Take files out of the trash. */
async function restoreFiles(list: FileList, files: readonly FileInfo[]): Promise<void> {
  const removed = list.remove(new Set(files.map((file) => file.id)));
  const { failed, error } = await forEach(files, (file) => api.files.restore(file.id));
  if (failed.length > 0) {
    list.putBack(removed.filter((entry) => failed.includes(entry.file)));
    showProblem(error);
  } else showToast(s.trash.restored(files.length), { icon: "retry" });
  void refreshUsage();
}

/** Delete files of the trash for good. Ask before. */
async function purgeFiles(list: FileList, files: readonly FileInfo[]): Promise<void> {
  const removed = list.remove(new Set(files.map((file) => file.id)));
  const { failed, error } = await forEach(files, (file) => api.files.delete(file.id, { permanent: true }));
  if (failed.length > 0) {
    list.putBack(removed.filter((entry) => failed.includes(entry.file)));
    showProblem(error);
  }
  void refreshUsage();
}

function purgeDay(file: FileInfo): string {
  return file.purge_at === null ? "–" : fmt.inDays(new Date(file.purge_at));
}

function columns(): readonly FileColumn[] {
  return [
    { id: "purged", head: s.trash.deletedFor, class: "wide nowrap col-added", cell: purgeDay },
    {
      ...sizeColumn(t.files.size),
      folded: (file) => (file.purge_at === null ? fmt.bytes(file.size_bytes) : `${fmt.bytes(file.size_bytes)} · ${s.trash.goes(purgeDay(file))}`),
    },
  ];
}

function confirmPurge(files: readonly FileInfo[], isAll = false): void {
  showDialog((close) => (
    <ConfirmDialog
      title={isAll ? s.trash.emptyTitle : s.trash.purgeTitle(files.length)}
      text={s.trash.purgeText}
      confirm={isAll ? s.trash.empty : s.trash.purge(files.length)}
      onConfirm={() => void (isAll ? purgeAll() : purgeFiles(trashList, files))}
      onClose={close}
    />
  ));
}

/** Delete every file of the trash, also those that are not in view yet. */
async function purgeAll(): Promise<void> {
  while (trashList.hasMore && trashList.state.value !== "failed") await trashList.loadMore();
  await purgeFiles(trashList, trashList.items.value);
}

function menu(file: FileInfo): readonly MenuItem[] {
  return [
    { label: s.trash.restore, icon: "retry", run: () => void restoreFiles(trashList, [file]) },
    { label: s.trash.purge(1), icon: "trash", isDangerous: true, run: () => confirmPurge([file]) },
  ];
}

export function TrashScreen() {
  useEffect(() => {
    void trashList.load({ status: "trashed" });
  }, []);
  const move = (by: number) => () => {
    const at = trashList.move(by);
    if (at !== null) focusRow(trashList, at);
  };
  useKeys({
    ArrowDown: move(1),
    ArrowUp: move(-1),
    x: () => trashList.active && trashList.toggle(trashList.active.id),
    "Ctrl+a": () => trashList.selectAll(),
    Delete: () => trashList.targets().length > 0 && confirmPurge(trashList.targets()),
    Escape: () => trashList.clearSelection(),
  });
  const files = trashList.items.value;
  const state = trashList.state.value;
  return (
    <>
      <div class="head">
        <h1>{t.nav.trash}</h1>
        {trashList.total.value !== null && trashList.total.value > 0 && <span class="muted">{fmt.number(trashList.total.value)}</span>}
        <span class="grow" />
        {files.length > 0 && (
          <button type="button" class="btn danger" onClick={() => confirmPurge(files, true)}>
            <Icon name="trash" />
            <span>{s.trash.empty}</span>
          </button>
        )}
      </div>
      {files.length > 0 && <p class="hint bar">{s.trash.hint}</p>}
      {state === "failed" && files.length === 0 ? (
        <ErrorNote error={trashList.error.value} onRetry={() => void trashList.reload()} />
      ) : files.length > 0 ? (
        <FileTable list={trashList} caption={s.trash.caption} nameHead={t.files.name} columns={columns()} menu={menu} onOpen={(file) => trashList.toggle(file.id)} />
      ) : state === "ready" ? (
        <Empty title={s.trash.none}>
          <p class="soft">{s.trash.noneText}</p>
        </Empty>
      ) : (
        <SkeletonRows count={5} />
      )}
      <SelectionBar list={trashList}>
        <button type="button" class="btn quiet" onClick={() => void restoreFiles(trashList, trashList.selection.value)}>
          <Icon name="retry" />
          <span>{s.trash.restore}</span>
        </button>
        <button type="button" class="btn quiet danger" onClick={() => confirmPurge(trashList.selection.value)}>
          <Icon name="trash" />
          <span>{s.trash.purgeShort}</span>
        </button>
      </SelectionBar>
    </>
  );
}
