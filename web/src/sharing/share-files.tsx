/** Makes a link to files, if there are some that can be shared. */

import type { FileInfo } from "@we-upload/client";
import { s } from "../core/screen-texts";
import { user } from "../core/session";
import { showToast } from "../core/toasts";
import { ShareDialog } from "../screens/share-dialog";
import { showDialog } from "../ui/dialog-host";

/** The API's limit. */
const FILES_OF_LINK_MAX = 100;

export function shareFiles(files: readonly FileInfo[]): void {
  const available = files.filter((file) => file.status === "available" && file.owner_id === user.value?.id);
  if (available.length === 0) return showToast(s.share.nothingToShare, { icon: "info" });
  if (available.length > FILES_OF_LINK_MAX) return showToast(s.share.tooManyForLink(FILES_OF_LINK_MAX), { icon: "info" });
  showDialog((close) => <ShareDialog files={available} onClose={close} />);
}
