/** Keys that every list of files has. */

import type { KeyMap } from "../core/keys";
import type { FileList } from "./file-list";
import { columnCount, focusRow } from "./file-table";

/** Move by a number of files, and take them into the selection if wanted. */
export function moveBy(list: FileList, by: number, isSelecting = false): void {
  const before = list.activeId.value;
  if (isSelecting && before !== null && !list.isSelected(before)) list.toggle(before);
  const at = list.move(by);
  if (at === null) return;
  if (isSelecting) list.selectTo(list.activeId.value ?? "");
  focusRow(list, at);
}

export function listKeys(list: FileList): KeyMap {
  const move = (rows: number, isSelecting = false) => () => moveBy(list, rows * columnCount(), isSelecting);
  // Ten files, as many rows as they fill.
  const page = (sign: number) => () => move(sign * Math.ceil(10 / columnCount()))();
  return {
    ArrowDown: move(1),
    ArrowUp: move(-1),
    PageDown: page(1),
    PageUp: page(-1),
    Home: move(-Infinity),
    End: move(Infinity),
    "Shift+ArrowDown": move(1, true),
    "Shift+ArrowUp": move(-1, true),
    x: () => list.active && list.toggle(list.active.id),
    "Ctrl+a": () => list.selectAll(),
    Escape: () => list.clearSelection(),
  };
}
