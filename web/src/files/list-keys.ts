/** Keys that every list of files has. */

import type { KeyMap } from "../core/keys";
import type { FileList } from "./file-list";
import { focusRow } from "./file-table";

export function listKeys(list: FileList): KeyMap {
  const move = (by: number, isSelecting = false) => () => {
    const before = list.activeId.value;
    if (isSelecting && before !== null && !list.isSelected(before)) list.toggle(before);
    const at = list.move(by);
    if (at === null) return;
    if (isSelecting) list.selectTo(list.activeId.value ?? "");
    focusRow(list, at);
  };
  return {
    ArrowDown: move(1),
    ArrowUp: move(-1),
    PageDown: move(10),
    PageUp: move(-10),
    Home: move(-Infinity),
    End: move(Infinity),
    "Shift+ArrowDown": move(1, true),
    "Shift+ArrowUp": move(-1, true),
    x: () => list.active && list.toggle(list.active.id),
    "Ctrl+a": () => list.selectAll(),
    Escape: () => list.clearSelection(),
  };
}
