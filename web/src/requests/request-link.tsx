/** The address of a file request, to copy and as a QR code. */

import { s } from "../core/screen-texts";
import { AddressField, QrCode } from "../sharing/link-address";
import { Dialog } from "../ui/dialog";

/** Show the address of a request. */
export function RequestLink({ title, url, onClose }: { readonly title: string; readonly url: string; readonly onClose: () => void }) {
  return (
    <Dialog
      title={s.requests.linkTitle}
      subtitle={title}
      onClose={onClose}
      onConfirm={onClose}
      footer={
        <>
          <span class="grow" />
          <button type="button" class="btn primary" onClick={onClose}>
            {s.share.done}
          </button>
        </>
      }
    >
      <div class="dlg-text stack">
        <AddressField url={url} hint={s.requests.linkHint} />
        <QrCode url={url} />
      </div>
    </Dialog>
  );
}
