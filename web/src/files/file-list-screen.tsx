/** Lists of files without search: the trash, files of others, files of all accounts. */

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

interface FileListViewProps {
  readonly list: FileList;
  readonly filters: FileFilters;
  readonly caption: string;
  readonly columns: readonly FileColumn[];
  readonly menu: (file: FileInfo) => readonly MenuItem[];
  readonly onOpen: (file: FileInfo) => void;
  readonly keys: KeyMap;
  readonly none: string;
  readonly noneText: string;
  /** Buttons for the selected files. */
  readonly children: ComponentChildren;
}

export function FileListView({ list, filters, caption, columns, menu, onOpen, keys, none, noneText, children }: FileListViewProps) {
  useEffect(() => {
    void list.load(filters);
  }, []);
  useKeys({ ...listKeys(list), ...keys });
  const state = list.state.value;
  return (
    <>
      {list.items.value.length > 0 ? (
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

interface FileListScreenProps extends FileListViewProps {
  readonly title: string;
  /** Buttons beside the heading. */
  readonly actions?: ComponentChildren;
  readonly hint?: string;
}

export function FileListScreen({ title, actions, hint, ...view }: FileListScreenProps) {
  const { list } = view;
  const hasFiles = list.items.value.length > 0;
  return (
    <>
      <div class="head">
        <h1>{title}</h1>
        {list.total.value !== null && list.total.value > 0 && <span class="muted">{fmt.number(list.total.value)}</span>}
        <span class="grow" />
        {hasFiles && actions}
      </div>
      {hasFiles && hint && <p class="hint bar">{hint}</p>}
      <FileListView {...view} />
    </>
  );
}
