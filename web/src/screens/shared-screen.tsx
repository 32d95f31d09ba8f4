/** Files that others share with the account by name. */

import type { FileInfo } from "@we-upload/client";
import { useEffect } from "preact/hooks";
import { api } from "../core/api";
import { fmt, t } from "../core/language";
import { s } from "../core/screen-texts";
import { useKeys } from "../core/keys";
import { showProblem } from "../core/problems";
import { onSignOut, user } from "../core/session";
import { showToast } from "../core/toasts";
import { downloadFiles } from "../files/file-actions";
import { createFileList } from "../files/file-list";
import { FileTable, focusRow, sizeColumn, SkeletonRows, type FileColumn } from "../files/file-table";
import { openPreview } from "../files/open-dialogs";
import { SelectionBar } from "../files/selection-bar";
import { Empty, ErrorNote } from "../ui/controls";
import { Icon } from "../ui/icon";
import type { MenuItem } from "../ui/menu";

const sharedList = createFileList();
onSignOut(() => sharedList.clear());

function columns(): readonly FileColumn[] {
  return [
    { id: "added", head: t.files.added, class: "wide nowrap col-added", cell: (file) => fmt.moment(new Date(file.created_at)) },
    {
      ...sizeColumn(t.files.size),
      folded: (file) => `${fmt.bytes(file.size_bytes)} · ${fmt.moment(new Date(file.created_at))}`,
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
  useEffect(() => {
    void sharedList.load({ shared: "with_me" });
  }, []);
  const move = (by: number) => () => {
    const at = sharedList.move(by);
    if (at !== null) focusRow(sharedList, at);
  };
  useKeys({
    ArrowDown: move(1),
    ArrowUp: move(-1),
    x: () => sharedList.active && sharedList.toggle(sharedList.active.id),
    "Ctrl+a": () => sharedList.selectAll(),
    " ": () => sharedList.active && openPreview(sharedList, sharedList.active),
    d: () => void downloadFiles(sharedList.targets()),
    Escape: () => sharedList.clearSelection(),
  });
  const files = sharedList.items.value;
  const state = sharedList.state.value;
  return (
    <>
      <div class="head">
        <h1>{t.nav.shared}</h1>
        {sharedList.total.value !== null && sharedList.total.value > 0 && <span class="muted">{fmt.number(sharedList.total.value)}</span>}
      </div>
      {state === "failed" && files.length === 0 ? (
        <ErrorNote error={sharedList.error.value} onRetry={() => void sharedList.reload()} />
      ) : files.length > 0 ? (
        <FileTable list={sharedList} caption={s.shared.caption} nameHead={t.files.name} columns={columns()} menu={menu} onOpen={(file) => openPreview(sharedList, file)} />
      ) : state === "ready" ? (
        <Empty title={s.shared.none}>
          <p class="soft">{s.shared.noneText(user.value?.email ?? "")}</p>
        </Empty>
      ) : (
        <SkeletonRows count={5} />
      )}
      <SelectionBar list={sharedList}>
        <button type="button" class="btn quiet" onClick={() => void downloadFiles(sharedList.selection.value)}>
          <Icon name="download" />
          <span>{t.actions.download}</span>
        </button>
      </SelectionBar>
    </>
  );
}
