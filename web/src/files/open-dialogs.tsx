/** Opens dialogs about files, which are loaded when they are first needed. */

import type { FileInfo, Share } from "@we-upload/client";
import { loadScreens } from "../core/lazy";
import { showProblem } from "../core/problems";
import { showDialog } from "../ui/dialog-host";
import type { FileList } from "./file-list";

export function openPreview(list: FileList, file: FileInfo): void {
  loadScreens().then(({ Preview }) => showDialog((close) => <Preview list={list} fileId={file.id} onClose={close} />), showProblem);
}

/** Make a link to files, or show who has access. */
export function shareFiles(files: readonly FileInfo[]): void {
  if (files.length > 0) loadScreens().then((screens) => screens.shareFiles(files), showProblem);
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
