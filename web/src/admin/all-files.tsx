/** The files of all accounts, or of one. */

import type { FileInfo } from "@we-upload/client";
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { accounts } from "../core/account-services";
import { fmt, t } from "../core/language";
import { location, navigate } from "../core/router";
import { s } from "../core/screen-texts";
import { onSignOut } from "../core/session";
import { deleteFiles, downloadFiles } from "../files/file-actions";
import { createFileList } from "../files/file-list";
import { FileListView } from "../files/file-list-screen";
import { sizeColumn, type FileColumn } from "../files/file-table";
import { openPreview } from "../files/open-dialogs";
import { Icon } from "../ui/icon";
import type { MenuItem } from "../ui/menu";

const list = createFileList();
/** Addresses of accounts by their ids; empty while they are read. */
const emails = signal<ReadonlyMap<string, string>>(new Map());
onSignOut(() => {
  list.clear();
  emails.value = new Map();
});

function keepEmail(accountId: string, email: string): void {
  emails.value = new Map(emails.value).set(accountId, email);
}

function Owner({ accountId }: { readonly accountId: string }) {
  const email = emails.value.get(accountId);
  useEffect(() => {
    if (emails.value.has(accountId)) return;
    keepEmail(accountId, "");
    accounts.admin.user(accountId).then(
      (account) => keepEmail(accountId, account.email),
      () => keepEmail(accountId, s.people.unnamed),
    );
  }, [accountId]);
  return <bdi title={email}>{email || "…"}</bdi>;
}

function columns(): readonly FileColumn[] {
  return [
    { id: "owner", head: s.people.owner, class: "wide col-links", cell: (file) => <Owner accountId={file.owner_id} /> },
    { id: "added", head: t.files.added, class: "wide nowrap col-added", cell: (file) => fmt.moment(new Date(file.created_at)) },
    { ...sizeColumn(t.files.size), folded: (file) => `${fmt.bytes(file.size_bytes)} · ${emails.value.get(file.owner_id) ?? ""}` },
  ];
}

function menu(file: FileInfo): readonly MenuItem[] {
  return [
    { label: t.actions.open, icon: "eye", run: () => openPreview(list, file) },
    { label: t.actions.download, icon: "download", run: () => void downloadFiles([file]) },
    { label: s.admin.filesOfOwner, icon: "user", run: () => navigate(`/admin?tab=files&owner=${file.owner_id}`) },
    { label: t.files.moveToTrash, icon: "trash", isDangerous: true, run: () => void deleteFiles(list, [file]) },
  ];
}

export function AllFiles() {
  const owner = location.value.query.get("owner");
  return (
    <>
      {owner !== null && (
        <div class="filters">
          <button type="button" class="chip" aria-pressed="true" title={t.files.removeFilter} onClick={() => navigate("/admin?tab=files")}>
            <Owner accountId={owner} /> <Icon name="x" size="s" />
          </button>
        </div>
      )}
      <FileListView
        key={owner}
        list={list}
        filters={owner === null ? { all: true } : { owner_id: owner }}
        caption={s.admin.filesCaption}
        columns={columns()}
        menu={menu}
        onOpen={(file) => openPreview(list, file)}
        keys={{
          " ": () => list.active && openPreview(list, list.active),
          d: () => void downloadFiles(list.targets()),
          Delete: () => void deleteFiles(list, list.targets()),
        }}
        none={s.admin.noFiles}
        noneText={s.admin.noFilesText}
      >
        <button type="button" class="btn quiet" onClick={() => void downloadFiles(list.selection.value)}>
          <Icon name="download" />
          <span>{t.actions.download}</span>
        </button>
        <button type="button" class="btn quiet danger" onClick={() => void deleteFiles(list, list.selection.value)}>
          <Icon name="trash" />
          <span>{t.files.toTrash}</span>
        </button>
      </FileListView>
    </>
  );
}
