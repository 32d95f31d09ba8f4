/** The address of a file request, to copy and as a QR code. */

import { s } from "../core/screen-texts";
import { qrCode, qrPath } from "../sharing/qr-code";
import { CopyField } from "../ui/copy";
import { Dialog } from "../ui/dialog";

/** Show the address of a request. */
export function RequestLink({ title, url, onClose }: { readonly title: string; readonly url: string; readonly onClose: () => void }) {
  const code = qrCode(url);
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
        <CopyField value={url} label={s.share.link} />
        <p class="hint">{s.requests.linkHint}</p>
        {code !== null && (
          <div class="row g3">
            <svg class="qr" viewBox={`-3 -3 ${code.size + 6} ${code.size + 6}`} role="img" aria-label={s.share.qrLabel} shape-rendering="crispEdges">
              <path d={qrPath(code)} />
            </svg>
            <p class="hint">{s.share.qrHint}</p>
          </div>
        )}
      </div>
    </Dialog>
  );
}
