/** The rows of a file list. Only those in view are drawn. */

import type { FileInfo } from "@we-upload/client";
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { fileKind, KIND_ICONS } from "../core/file-kind";
import { fmt, t } from "../core/language";
import { isNearEnd, listWindow, type ListWindow, tabStopOf } from "../core/list-window";
import { serverConfig } from "../core/server-config";
import { ErrorNote } from "../ui/controls";
import { FileName } from "../ui/file-name";
import { Icon } from "../ui/icon";
import { MenuButton, type MenuItem } from "../ui/menu";
import type { FileList } from "./file-list";
import { forgetThumbnail, thumbnails, wantThumbnails } from "./thumbnails";

export interface FileColumn {
  readonly id: string;
  readonly head: ComponentChildren;
  readonly sorted?: "ascending" | "descending" | undefined;
  readonly class: string;
  readonly cell: (file: FileInfo) => ComponentChildren;
  /** What stands below the name where the column has no room. */
  readonly folded?: (file: FileInfo) => string | null;
}

export interface FileTableProps {
  readonly list: FileList;
  readonly caption: string;
  readonly nameHead: ComponentChildren;
  readonly nameSorted?: "ascending" | "descending" | undefined;
  readonly columns: readonly FileColumn[];
  readonly menu: (file: FileInfo) => readonly MenuItem[];
  readonly onOpen: (file: FileInfo) => void;
}

/** Return the height of a row: as it is drawn, which follows the user's font size, else as the style sheet has it. */
function rowHeight(body: HTMLElement | null): number {
  const row = body?.querySelector<HTMLElement>("[aria-rowindex]");
  return row?.offsetHeight || (window.innerWidth <= 760 ? 64 : 56);
}

/** The element that holds the rows of the list or grid on the page. */
const shownRows = () => document.querySelector<HTMLElement>("[data-columns]");

/** Return how many files stand in one row. */
export const columnCount = () => Number(shownRows()?.dataset["columns"] ?? 1);

/** Follow the page's scrolling, and return which rows are in view. */
export function useListWindow(list: FileList, body: { readonly current: HTMLElement | null }, columns = 1, overscan = 8): ListWindow {
  const countRows = () => Math.ceil(list.items.value.length / columns);
  const rowCount = countRows();
  const [shown, setShown] = useState<ListWindow>(() => listWindow({ rowCount, rowHeight: rowHeight(null), scrolled: 0, viewHeight: window.innerHeight, overscan }));
  const update = () => {
    const view = { rowCount: countRows(), rowHeight: rowHeight(body.current), scrolled: -(body.current?.getBoundingClientRect().top ?? 0), viewHeight: window.innerHeight };
    const next = listWindow({ ...view, overscan });
    setShown((before) => (before.start === next.start && before.end === next.end && before.after === next.after && before.before === next.before ? before : next));
    if (list.state.value === "ready" && list.hasMore && isNearEnd(view)) void list.loadMore();
  };
  useLayoutEffect(update, [rowCount, list.state.value]);
  // A row that is removed, and a tile that moves to another row, lose the focus.
  const hadFocus = body.current?.contains(document.activeElement);
  useLayoutEffect(() => {
    if (hadFocus && document.activeElement === document.body) document.getElementById(`row-${list.activeId.value}`)?.focus({ preventScroll: true });
  });
  useEffect(() => {
    let frame = 0;
    const onScroll = () => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(update);
    };
    window.addEventListener("scroll", onScroll, { passive: true });
    window.addEventListener("resize", onScroll);
    return () => {
      cancelAnimationFrame(frame);
      window.removeEventListener("scroll", onScroll);
      window.removeEventListener("resize", onScroll);
    };
  }, [list, columns]);
  return shown;
}

/** Bring a row into view and give it the focus. */
export function focusRow(list: FileList, index: number): void {
  const body = shownRows();
  const file = list.items.value[index];
  if (body === null || file === undefined) return;
  const height = rowHeight(body);
  const top = body.getBoundingClientRect().top + Math.floor(index / columnCount()) * height;
  const headroom = window.innerWidth <= 900 ? 64 : 16;
  if (top < headroom) window.scrollBy(0, top - headroom);
  else if (top + height > window.innerHeight - 88) window.scrollBy(0, top + height - window.innerHeight + 88);
  // A row that was out of view is drawn in the next frame. By then the user may have moved on.
  const focus = () => {
    if (list.activeId.value === file.id) document.getElementById(`row-${file.id}`)?.focus({ preventScroll: true });
  };
  requestAnimationFrame(() => requestAnimationFrame(focus));
}

export function FileTable({ list, caption, nameHead, nameSorted, columns, menu, onOpen }: FileTableProps) {
  const body = useRef<HTMLTableSectionElement>(null);
  const { start, end, before, after } = useListWindow(list, body);
  const files = list.items.value;
  const tabStop = tabStopOf(files.slice(start, end), list.activeId.value);
  useEffect(() => wantThumbnails(files.slice(start, end)), [files, start, end, serverConfig.value]);
  const { value: selected } = list.selectedIds;
  return (
    <>
      <table class="table files" aria-rowcount={(list.total.value ?? files.length) + 1} aria-busy={list.state.value === "loading"}>
        <caption class="sr">{caption}</caption>
        <colgroup>
          <col class="pick" />
          <col />
          {columns.map((column) => (
            <col key={column.id} class={column.class} />
          ))}
          <col class="act" />
        </colgroup>
        <thead>
          <tr aria-rowindex={1}>
            <th class="pick">
              <SelectAll list={list} />
            </th>
            <th class="name" scope="col" aria-sort={nameSorted}>
              {nameHead}
            </th>
            {columns.map((column) => (
              <th key={column.id} class={column.class} scope="col" aria-sort={column.sorted}>
                {column.head}
              </th>
            ))}
            <th class="act">
              <span class="sr">{t.files.actions}</span>
            </th>
          </tr>
        </thead>
        <tbody ref={body} data-columns="1">
          {before > 0 && <SpacerRow key="before" height={before} />}
          {files.slice(start, end).map((file, offset) => (
            <FileRow
              key={file.id}
              file={file}
              index={start + offset}
              list={list}
              columns={columns}
              menu={menu}
              onOpen={onOpen}
              isSelected={selected.has(file.id)}
              isActive={file.id === tabStop}
            />
          ))}
          {after > 0 && <SpacerRow key="after" height={after} />}
        </tbody>
      </table>
      <ListEnd list={list} />
    </>
  );
}

/** The check box of all files; a dash while only some are selected. */
export function SelectAll({ list, text }: { readonly list: FileList; readonly text?: string }) {
  const { size } = list.selectedIds.value;
  const isAll = size > 0 && size === list.items.value.length;
  return (
    <label class="hit">
      <input
        type="checkbox"
        aria-label={t.files.selectAll}
        checked={isAll}
        indeterminate={size > 0 && !isAll}
        onChange={() => (isAll ? list.clearSelection() : list.selectAll())}
      />
      {text}
    </label>
  );
}

/** What stands below the rows while more of them are loaded, or when that failed. */
export function ListEnd({ list }: { readonly list: FileList }) {
  if (list.state.value === "loading-more") return <SkeletonRows count={3} />;
  if (list.state.value !== "failed") return null;
  return (
    <div class="up1">
      <ErrorNote error={list.error.value} onRetry={() => void list.loadMore()} />
    </div>
  );
}

/** Takes the place of rows that are not drawn. One cell: a column span would bring back the columns that are folded away. */
function SpacerRow({ height }: { readonly height: number }) {
  return (
    <tr class="spacer" aria-hidden="true">
      <td style={{ height: `${height}px` }} />
    </tr>
  );
}

function isControl(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest("button, label, input") !== null;
}

interface FileRowProps {
  readonly file: FileInfo;
  readonly index: number;
  readonly list: FileList;
  readonly columns: readonly FileColumn[];
  readonly menu: (file: FileInfo) => readonly MenuItem[];
  readonly onOpen: (file: FileInfo) => void;
  readonly isSelected: boolean;
  readonly isActive: boolean;
}

/** The thumbnail of a file, else the icon of its kind. Both have the same size. */
export function Tile({ file, isLarge }: { readonly file: FileInfo; readonly isLarge?: boolean }) {
  const src = thumbnails.value.get(file.id);
  return <span class={isLarge ? "frame" : "tile"}>{src ? <img src={src} alt="" onError={() => forgetThumbnail(file)} /> : <Icon name={KIND_ICONS[fileKind(file.content_type, file.filename)]} />}</span>;
}

/** The check box of a file. A click on it opens nothing. */
export function PickBox({ file, list, isSelected }: { readonly file: FileInfo; readonly list: FileList; readonly isSelected: boolean }) {
  return (
    <label class="hit" onClick={(event) => event.stopPropagation()}>
      <input
        type="checkbox"
        tabIndex={-1}
        aria-label={t.files.select(file.filename)}
        checked={isSelected}
        onClick={({ shiftKey }) => (shiftKey ? list.selectTo(file.id) : list.toggle(file.id))}
      />
    </label>
  );
}

function FileRow({ file, index, list, columns, menu, onOpen, isSelected, isActive }: FileRowProps) {
  const folded = columns.flatMap((column) => column.folded?.(file) ?? []);
  return (
    <tr
      id={`row-${file.id}`}
      aria-rowindex={index + 2}
      aria-selected={isSelected}
      tabIndex={isActive ? 0 : -1}
      onFocusIn={() => {
        list.activeId.value = file.id;
      }}
      onClick={(event) => {
        if (event.shiftKey) list.selectTo(file.id);
        else if (event.ctrlKey || event.metaKey) list.toggle(file.id);
        // A finger finds the row more easily than the name.
        else if (event instanceof PointerEvent && event.pointerType === "touch" && !isControl(event.target)) onOpen(file);
      }}
    >
      <td class="pick">
        <PickBox file={file} list={list} isSelected={isSelected} />
      </td>
      <td class="name">
        <div class="row g3">
          <Tile file={file} />
          <div class="grow">
            <button type="button" class="open" tabIndex={-1} onClick={(event) => !event.shiftKey && !event.ctrlKey && !event.metaKey && onOpen(file)}>
              <FileName name={file.filename} />
            </button>
            <span class="meta one">
              {folded.map((text) => (
                <span>{text}</span>
              ))}
            </span>
          </div>
        </div>
      </td>
      {columns.map((column) => (
        <td key={column.id} class={column.class}>
          {column.cell(file)}
        </td>
      ))}
      <td class="act">
        <MenuButton class="btn quiet small icon" label={t.files.moreActions(file.filename)} items={() => menu(file)}>
          <Icon name="more" size="s" />
        </MenuButton>
      </td>
    </tr>
  );
}

/** Grey bars in place of rows that are being loaded. The style sheet shows them after 300 ms. */
export function SkeletonRows({ count }: { readonly count: number }) {
  return (
    <div class="skels" role="status" aria-label={t.states.loading}>
      {Array.from({ length: count }, (_, index) => (
        <div class="skel-row" key={index}>
          <span class="skel tile" />
          <span class="skel" />
          <span class="skel wide" />
        </div>
      ))}
    </div>
  );
}

/** The columns that every list of files has. */
export const sizeColumn = (head: ComponentChildren, sorted?: FileColumn["sorted"]): FileColumn => ({
  id: "size",
  head,
  sorted,
  class: "num wide col-size",
  cell: (file) => fmt.bytes(file.size_bytes),
  folded: (file) => fmt.bytes(file.size_bytes),
});
