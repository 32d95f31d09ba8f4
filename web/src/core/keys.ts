/** Keyboard shortcuts of screens and of the whole app. */

import { signal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { readPreference, writePreference } from "./preferences";

export type KeyMap = Readonly<Record<string, (event: KeyboardEvent) => void>>;

const SEQUENCE_MS = 1200;

/** Single letters can be turned off (WCAG 2.1.4). */
export const singleKeysEnabled = signal(readPreference("single-key-shortcuts") !== "off");

export function setSingleKeys(isEnabled: boolean): void {
  singleKeysEnabled.value = isEnabled;
  writePreference("single-key-shortcuts", isEnabled ? null : "off");
}

const bindings: { current: KeyMap }[] = [];
let prefix: { readonly key: string; readonly at: number } | null = null;

/** Return the name of a key event: "x", "?", "Ctrl+a", "Shift+ArrowDown", "Delete". */
export function keyName(event: Pick<KeyboardEvent, "key" | "ctrlKey" | "metaKey" | "altKey" | "shiftKey">): string {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const isShifted = event.shiftKey && event.key.length > 1;
  return `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.altKey ? "Alt+" : ""}${isShifted ? "Shift+" : ""}${key}`;
}

function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return !["checkbox", "radio", "button", "submit", "file"].includes(target.type);
  return target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;
}

function onKeyDown(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing) return;
  const name = keyName(event);
  const isSingle = name.length === 1 && name !== " ";
  // An open dialog or menu has its own keys, and the browser closes it with Escape.
  if (isTyping(event.target) || document.querySelector("dialog[open], [popover]:popover-open") !== null) return;
  if (isSingle && !singleKeysEnabled.value) return;
  // A button or link with the focus keeps its own keys.
  if ((name === "Enter" || name === " ") && event.target instanceof Element && event.target.closest("button, a, summary, input")) return;
  const sequence = prefix !== null && performance.now() - prefix.at < SEQUENCE_MS ? `${prefix.key} ${name}` : null;
  prefix = null;
  for (const keyMap of [...bindings].reverse()) {
    const run = (sequence !== null ? keyMap.current[sequence] : undefined) ?? keyMap.current[name];
    if (run === undefined) continue;
    event.preventDefault();
    run(event);
    return;
  }
  if (name === "g") prefix = { key: "g", at: performance.now() };
}

export function startKeys(): void {
  document.addEventListener("keydown", onKeyDown);
}

/** Bind keys while the component is on the page. Keys of a screen go before those of the app. */
export function useKeys(keyMap: KeyMap, scope: "screen" | "app" = "screen"): void {
  const binding = useRef(keyMap);
  binding.current = keyMap;
  // Before the screen is seen, so that no key is lost.
  useLayoutEffect(() => {
    if (scope === "screen") bindings.push(binding);
    else bindings.unshift(binding);
    return () => {
      bindings.splice(bindings.indexOf(binding), 1);
    };
  }, []);
}
