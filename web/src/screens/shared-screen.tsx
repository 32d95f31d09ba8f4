/** Files that others share with the account by name. */

import type { FileInfo } from "@we-upload/client";
import { api } from "../core/api";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { showProblem } from "../core/problems";
import { onSignOut, user } from "../core/session";
import { showToast } from "../core/toasts";
import { downloadFiles } from "../files/file-actions";
import { createFileList } from "../files/file-list";
import { FileListScreen } from "../files/file-list-screen";
import { sizeColumn, type FileColumn } from "../files/file-table";
import { openPreview } from "../files/open-dialogs";
import { Icon } from "../ui/icon";
import type { MenuItem } from "../ui/menu";

const sharedList = createFileList();
onSignOut(() => sharedList.clear());

function columns(): readonly FileColumn[] {
  return [
    { id: "from", head: s.shared.from, class: "wide nowrap", cell: (file) => file.owner_display_name ?? s.shared.unnamed },
    { id: "added", head: t.files.added, class: "wide nowrap col-added", cell: (file) => fmt.moment(new Date(file.created_at)) },
    {
      ...sizeColumn(t.files.size),
      folded: (file) => `${file.owner_display_name ?? s.shared.unnamed} · ${fmt.bytes(file.size_bytes)} · ${fmt.moment(new Date(file.created_at))}`,
    },
  ];
}

async function leave(file: FileInfo): Promise<void> {
  const account = user.value;
  if (account === null) return;
  const removed = sharedList.remove(new Set([file.id]));
  try {
    await api.grants.revoke(file.id, account.id);
    showToast(s.shared.left, { icon: "users" });
  } catch (error) {
    sharedList.putBack(removed);
    showProblem(error);
  }
}

function menu(file: FileInfo): readonly MenuItem[] {
  return [
    { label: t.actions.open, icon: "eye", run: () => openPreview(sharedList, file) },
    { label: t.actions.download, icon: "download", run: () => void downloadFiles([file]) },
    { label: s.shared.leave, icon: "x", isDangerous: true, run: () => void leave(file) },
  ];
}

export function SharedScreen() {
  return (
    <FileListScreen
      list={sharedList}
      filters={{ shared: "with_me" }}
      title={t.nav.shared}
      caption={s.shared.caption}
      columns={columns()}
      menu={menu}
      onOpen={(file) => openPreview(sharedList, file)}
      keys={{
        " ": () => sharedList.active && openPreview(sharedList, sharedList.active),
        d: () => void downloadFiles(sharedList.targets()),
      }}
      none={s.shared.none}
      noneText={s.shared.noneText(user.value?.email ?? "")}
    >
      <button type="button" class="btn quiet" onClick={() => void downloadFiles(sharedList.selection.value)}>
        <Icon name="download" />
        <span>{t.actions.download}</span>
      </button>
    </FileListScreen>
  );
}
