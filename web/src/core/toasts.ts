/** Short messages: one at a time, with Undo where something can be undone. */

import { signal } from "@preact/signals";
import type { IconName } from "../ui/icon-paths";

export interface Toast {
  readonly id: number;
  readonly icon: IconName;
  readonly text: string;
  /** Errors stay until they are closed. */
  readonly isError: boolean;
  readonly action: { readonly label: string; readonly run: () => void } | null;
}

const TOAST_MS = 6000;

export const toast = signal<Toast | null>(null);
let nextId = 1;
let timer: ReturnType<typeof setTimeout> | undefined;
let remaining = TOAST_MS;
let startedAt = 0;

interface ToastOptions {
  readonly icon?: IconName;
  readonly isError?: boolean;
  readonly action?: Toast["action"];
}

export function showToast(text: string, options: ToastOptions = {}): void {
  const isError = options.isError ?? false;
  toast.value = { id: nextId++, icon: options.icon ?? (isError ? "alert" : "check"), text, isError, action: options.action ?? null };
  remaining = TOAST_MS;
  resumeToast();
}

export function closeToast(): void {
  clearTimeout(timer);
  toast.value = null;
}

/** Stop the clock while the pointer or the focus is on the message. */
export function holdToast(): void {
  clearTimeout(timer);
  remaining -= performance.now() - startedAt;
}

export function resumeToast(): void {
  clearTimeout(timer);
  startedAt = performance.now();
  if (toast.value !== null && !toast.value.isError) timer = setTimeout(closeToast, Math.max(remaining, 1500));
}

/** Run the action of the message that is shown. */
export function runToastAction(): boolean {
  const action = toast.value?.action;
  if (!action) return false;
  closeToast();
  action.run();
  return true;
}
