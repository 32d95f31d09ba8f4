/** Files can be dropped and pasted anywhere on the page. */

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { fmt, t } from "../core/language";
import { usage } from "../core/session";
import { Icon } from "../ui/icon";
import { captureDrop } from "./file-capture";
import { addDrop, addPaste } from "./upload-store";

/** How many items are over the page; 0 while the browser does not tell, null while none is. */
const itemsOver = signal<number | null>(null);

function hasFiles(event: DragEvent): boolean {
  return event.dataTransfer?.types.includes("Files") ?? false;
}

function isInModal(event: Event): boolean {
  return event.target instanceof Element && event.target.closest("dialog") !== null;
}

/** Whether the sign-in covers the page of a session that has ended. */
function isCovered(): boolean {
  return document.querySelector(".cover[open]") !== null;
}

export function DropZone() {
  useEffect(() => {
    const controller = new AbortController();
    const { signal: until } = controller;
    // Enter and leave come for each element that the pointer crosses.
    let depth = 0;
    const enter = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      if (isCovered()) return;
      depth += 1;
      itemsOver.value = event.dataTransfer?.items.length ?? 0;
    };
    const leave = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      depth -= 1;
      if (depth <= 0) {
        depth = 0;
        itemsOver.value = null;
      }
    };
    const over = (event: DragEvent) => {
      if (!hasFiles(event) || event.dataTransfer === null) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
    };
    const drop = (event: DragEvent) => {
      if (!hasFiles(event) || event.dataTransfer === null) return;
      event.preventDefault();
      depth = 0;
      itemsOver.value = null;
      if (!isCovered()) addDrop(captureDrop(event.dataTransfer));
    };
    const paste = (event: ClipboardEvent) => {
      if (event.clipboardData === null || event.clipboardData.files.length === 0 || isInModal(event)) return;
      event.preventDefault();
      addPaste([...event.clipboardData.files]);
    };
    window.addEventListener("dragenter", enter, { signal: until });
    window.addEventListener("dragleave", leave, { signal: until });
    window.addEventListener("dragover", over, { signal: until });
    window.addEventListener("drop", drop, { signal: until });
    window.addEventListener("paste", paste, { signal: until });
    return () => controller.abort();
  }, []);
  if (itemsOver.value === null) return null;
  const free = usage.value?.bytes_left;
  return (
    <div class="overlay">
      <div class="frame">
        <div class="card">
          <Icon name="upload" size="l" />
          <p class="title md">{itemsOver.value > 0 ? t.uploads.dropItems(itemsOver.value) : t.uploads.drop}</p>
          {free !== undefined && <p class="soft">{t.uploads.roomLeft(fmt.bytes(free))}</p>}
        </div>
      </div>
    </div>
  );
}
