/** Modal dialogs on the native element. */

import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { t } from "../core/language";
import { s } from "../core/screen-texts";
import { IconButton } from "./controls";

interface DialogProps {
  readonly title: ComponentChildren;
  readonly subtitle?: ComponentChildren;
  readonly onClose: () => void;
  readonly size?: "wide" | "narrow";
  readonly children: ComponentChildren;
  readonly footer?: ComponentChildren;
  /** What Ctrl+Enter does. */
  readonly onConfirm?: () => void;
  /** Whether it hides the page, and only its buttons close it. */
  readonly isCover?: boolean;
}

export function Dialog({ title, subtitle, onClose, size = "narrow", children, footer, onConfirm, isCover = false }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  const id = useId();
  useEffect(() => {
    const opener = document.activeElement;
    element.current?.showModal();
    // Without a field to start with, the browser would choose the button that closes.
    if (document.activeElement?.closest(".dlg-head")) heading.current?.focus();
    return () => {
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
    };
  }, []);
  return (
    <dialog
      ref={element}
      class={isCover ? `${size} cover` : size}
      aria-labelledby={id}
      onCancel={(event) => {
        if (event.target !== element.current) return;
        event.preventDefault();
        if (!isCover) onClose();
      }}
      onClose={(event) => {
        // Chromium closes a dialog at the second Escape without a question.
        if (event.target === element.current) onClose();
      }}
      onMouseDown={(event) => {
        if (event.target === element.current && !isCover) onClose();
      }}
      onKeyDown={(event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && onConfirm) {
          event.preventDefault();
          onConfirm();
        }
      }}
    >
      <div class="dlg">
        <div class="dlg-head">
          <div class="grow">
            <h2 id={id} ref={heading} tabIndex={-1}>
              {title}
            </h2>
            {subtitle && <p class="muted sm">{subtitle}</p>}
          </div>
          <IconButton icon="x" label={t.actions.close} onClick={onClose} />
        </div>
        {children}
        {footer && <div class="dlg-foot">{footer}</div>}
      </div>
    </dialog>
  );
}

interface ConfirmProps {
  readonly title: string;
  readonly text: string;
  readonly confirm: string;
  readonly onConfirm: () => void;
  readonly onClose: () => void;
}

/** Ask before what cannot be undone. */
export function ConfirmDialog({ title, text, confirm, onConfirm, onClose }: ConfirmProps) {
  const run = () => {
    onClose();
    onConfirm();
  };
  return (
    <Dialog
      title={title}
      onClose={onClose}
      onConfirm={run}
      footer={
        <>
          <span class="grow" />
          <button type="button" class="btn" autoFocus onClick={onClose}>
            {s.actions.cancel}
          </button>
          <button type="button" class="btn danger fill" onClick={run}>
            {confirm}
          </button>
        </>
      }
    >
      <p class="soft dlg-text">{text}</p>
    </Dialog>
  );
}
