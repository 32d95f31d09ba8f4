/** The address of a link or a file request: to copy, to open, and as a QR code. */

import { s } from "../core/screen-texts";
import { showToast } from "../core/toasts";
import { CopyField } from "../ui/copy";
import { qrCode, qrPath } from "./qr-code";

export function AddressField({ url, hint }: { readonly url: string; readonly hint: string }) {
  return (
    <div class="stack g2">
      <CopyField value={url} label={s.share.link} />
      <p class="hint">{hint}</p>
    </div>
  );
}

/** Nothing where the address is too long for a code. */
export function QrCode({ url }: { readonly url: string }) {
  const code = qrCode(url);
  if (code === null) return null;
  return (
    <div class="row g3">
      <svg class="qr" viewBox={`-3 -3 ${code.size + 6} ${code.size + 6}`} role="img" aria-label={s.share.qrLabel} shape-rendering="crispEdges">
        <path d={qrPath(code)} />
      </svg>
      <p class="hint">{s.share.qrHint}</p>
    </div>
  );
}

export async function copyAddress(url: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(url);
    showToast(s.copy.announced);
  } catch {
    showToast(s.copy.failed, { isError: true });
  }
}

export function openAddress(url: string): void {
  window.open(url, "_blank", "noreferrer");
}
