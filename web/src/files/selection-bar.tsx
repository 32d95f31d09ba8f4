/** What can be done with the selected files. Shown while something is selected. */

import type { ComponentChildren } from "preact";
import { fmt, t } from "../core/language";
import { IconButton } from "../ui/controls";
import type { FileList } from "./file-list";

export function SelectionBar({ list, children }: { readonly list: FileList; readonly children: ComponentChildren }) {
  const files = list.selection.value;
  const bytes = files.reduce((sum, file) => sum + file.size_bytes, 0);
  return (
    <>
      <span class="sr" role="status">
        {files.length > 0 ? t.files.selectedCount(files.length) : ""}
      </span>
      {files.length > 0 && (
        <section class="selbar" aria-label={t.files.selection}>
          <span class="sum">
            <span class="strong">{t.files.selectedCount(files.length)}</span> <span class="muted">· {fmt.bytes(bytes)}</span>
          </span>
          {children}
          <IconButton icon="x" label={t.files.clearSelection} class="close" onClick={() => list.clearSelection()} />
        </section>
      )}
    </>
  );
}
