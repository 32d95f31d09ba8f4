/** Screens that show one list of files without search: the trash, and files of others. */

import type { FileFilters, FileInfo } from "@we-upload/client";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { useKeys, type KeyMap } from "../core/keys";
import { fmt, t } from "../core/language";
import { Empty, ErrorNote } from "../ui/controls";
import type { MenuItem } from "../ui/menu";
import type { FileList } from "./file-list";
import { FileTable, SkeletonRows, type FileColumn } from "./file-table";
import { listKeys } from "./list-keys";
import { SelectionBar } from "./selection-bar";

interface FileListScreenProps {
  readonly list: FileList;
  readonly filters: FileFilters;
  readonly title: string;
  readonly caption: string;
  readonly columns: readonly FileColumn[];
  readonly menu: (file: FileInfo) => readonly MenuItem[];
  readonly onOpen: (file: FileInfo) => void;
  readonly keys: KeyMap;
  /** Buttons beside the heading. */
  readonly actions?: ComponentChildren;
  readonly hint?: string;
  readonly none: string;
  readonly noneText: string;
  /** Buttons for the selected files. */
  readonly children: ComponentChildren;
}

export function FileListScreen({ list, filters, title, caption, columns, menu, onOpen, keys, actions, hint, none, noneText, children }: FileListScreenProps) {
  useEffect(() => {
    void list.load(filters);
  }, []);
  useKeys({ ...listKeys(list), ...keys });
  const files = list.items.value;
  const state = list.state.value;
  return (
    <>
      <div class="head">
        <h1>{title}</h1>
        {list.total.value !== null && list.total.value > 0 && <span class="muted">{fmt.number(list.total.value)}</span>}
        <span class="grow" />
        {files.length > 0 && actions}
      </div>
      {files.length > 0 && hint && <p class="hint bar">{hint}</p>}
      {files.length > 0 ? (
        <FileTable list={list} caption={caption} nameHead={t.files.name} columns={columns} menu={menu} onOpen={onOpen} />
      ) : state === "failed" ? (
        <ErrorNote error={list.error.value} onRetry={() => void list.reload()} />
      ) : state === "ready" ? (
        <Empty title={none}>
          <p class="soft">{noneText}</p>
        </Empty>
      ) : (
        <SkeletonRows count={5} />
      )}
      <SelectionBar list={list}>{children}</SelectionBar>
    </>
  );
}
