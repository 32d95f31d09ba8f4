/** Deleted files, until they are purged. */

import type { FileInfo } from "@we-upload/client";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { onSignOut } from "../core/session";
import { showToast } from "../core/toasts";
import { actOnFiles } from "../files/file-actions";
import { purgeAllOf, restoreAll } from "../files/bulk";
import { createFileList, type FileList } from "../files/file-list";
import { FileListScreen } from "../files/file-list-screen";
import { sizeColumn, type FileColumn } from "../files/file-table";
import { ConfirmDialog } from "../ui/dialog";
import { showDialog } from "../ui/dialog-host";
import { Icon } from "../ui/icon";
import type { MenuItem } from "../ui/menu";

const trashList = createFileList();
onSignOut(() => trashList.clear());

/** Take files out of the trash. */
async function restoreFiles(list: FileList, files: readonly FileInfo[]): Promise<void> {
  if (await actOnFiles(list, files, restoreAll)) showToast(s.trash.restored(files.length), { icon: "retry" });
}

/** Delete files of the trash for good. Ask before. */
async function purgeFiles(list: FileList, files: readonly FileInfo[]): Promise<void> {
  await actOnFiles(list, files, purgeAllOf);
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
  return (
    <FileListScreen
      list={trashList}
      filters={{ status: "trashed" }}
      title={t.nav.trash}
      caption={s.trash.caption}
      columns={columns()}
      menu={menu}
      onOpen={(file) => trashList.toggle(file.id)}
      keys={{ Delete: () => trashList.targets().length > 0 && confirmPurge(trashList.targets()) }}
      actions={
        <button type="button" class="btn danger" onClick={() => confirmPurge(trashList.items.value, true)}>
          <Icon name="trash" />
          <span>{s.trash.empty}</span>
        </button>
      }
      hint={s.trash.hint}
      none={s.trash.none}
      noneText={s.trash.noneText}
    >
      <button type="button" class="btn quiet" onClick={() => void restoreFiles(trashList, trashList.selection.value)}>
        <Icon name="retry" />
        <span>{s.trash.restore}</span>
      </button>
      <button type="button" class="btn quiet danger" onClick={() => confirmPurge(trashList.selection.value)}>
        <Icon name="trash" />
        <span>{s.trash.purgeShort}</span>
      </button>
    </FileListScreen>
  );
}
