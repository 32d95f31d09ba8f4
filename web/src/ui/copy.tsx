/** Copy a text to the clipboard. */

import { useRef, useState } from "preact/hooks";
import { s } from "../core/screen-texts";
import { showToast } from "../core/toasts";
import { Icon } from "./icon";

/** Copy a text, and confirm it for two seconds. */
export function CopyButton({ text, label, class: extra = "primary small" }: { readonly text: string; readonly label: string; readonly class?: string }) {
  const [isCopied, setCopied] = useState(false);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  async function copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      showToast(s.copy.failed, { isError: true });
      return;
    }
    setCopied(true);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setCopied(false), 2000);
  }
  return (
    <>
      <button type="button" class={`btn ${extra}`} onClick={() => void copy()}>
        <Icon name={isCopied ? "check" : "copy"} size="s" />
        <span>{isCopied ? s.copy.copied : label}</span>
      </button>
      <span class="sr" role="status">
        {isCopied ? s.copy.announced : ""}
      </span>
    </>
  );
}

/** A value that can be selected and copied. */
export function CopyField({ value, label }: { readonly value: string; readonly label: string }) {
  return (
    <div class="combo">
      <input class="mono" readOnly value={value} aria-label={label} onFocus={(event) => event.currentTarget.select()} />
      <CopyButton text={value} label={s.copy.copy} />
    </div>
  );
}
