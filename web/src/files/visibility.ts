/** Let anyone with the address download files, or end that. */

import type { FileInfo } from "@we-upload/client";
import { s } from "../core/screen-texts";
import { showToast } from "../core/toasts";
import { setAllPublic } from "./bulk";
import type { FileList } from "./file-list";

/** The rows change at once; those of files that the server refuses change back. */
export async function changeVisibility(list: FileList, files: readonly FileInfo[], isPublic: boolean): Promise<void> {
  const changing = files.filter((file) => file.is_public !== isPublic);
  show(list, changing, isPublic);
  const { done, failed, problem } = await setAllPublic(changing, isPublic);
  show(list, failed, !isPublic);
  if (problem) showToast(problem, { isError: true });
  else if (done.length > 0) showToast(isPublic ? s.bulk.madePublic(done.length) : s.bulk.madePrivate(done.length), { icon: isPublic ? "globe" : "lock" });
}

function show(list: FileList, files: readonly FileInfo[], isPublic: boolean): void {
  const ids = new Set(files.map((file) => file.id));
  if (ids.size > 0) list.items.value = list.items.value.map((file) => (ids.has(file.id) ? { ...file, is_public: isPublic } : file));
}
