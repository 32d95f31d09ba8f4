/** Opens dialogs about files, which are loaded when they are first needed. */

import type { FileInfo, Share } from "@we-upload/client";
import { t } from "../core/language";
import { loadScreens } from "../core/lazy";
import { showProblem } from "../core/problems";
import { user } from "../core/session";
import { showToast } from "../core/toasts";
import { showDialog } from "../ui/dialog-host";
import type { FileList } from "./file-list";

/** The API's limit. */
const FILES_OF_LINK_MAX = 100;

export function openPreview(list: FileList, file: FileInfo): void {
  loadScreens().then(({ Preview }) => showDialog((close) => <Preview list={list} fileId={file.id} onClose={close} />), showProblem);
}

/** Make a link to files, or show who has access. */
export function shareFiles(files: readonly FileInfo[]): void {
  const available = files.filter((file) => file.status === "available" && file.owner_id === user.value?.id);
  if (files.length === 0) return;
  if (available.length === 0) return showToast(t.files.nothingToShare, { icon: "info" });
  if (available.length > FILES_OF_LINK_MAX) return showToast(t.files.tooManyForLink(FILES_OF_LINK_MAX), { icon: "info" });
  loadScreens().then(({ ShareDialog }) => showDialog((close) => <ShareDialog files={available} onClose={close} />), showProblem);
}

/** Change the rules of a link. */
export function editLink(link: Share): void {
  loadScreens().then(({ ShareDialog }) => showDialog((close) => <ShareDialog files={[]} link={link} onClose={close} />), showProblem);
}

export function renameFile(list: FileList, file: FileInfo): void {
  loadScreens().then(
    ({ RenameDialog }) => showDialog((close) => <RenameDialog file={file} onClose={close} onSaved={(saved) => list.replace(saved)} />),
    showProblem,
  );
}
