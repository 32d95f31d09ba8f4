/** The tiles of a file list. Only the rows in view are drawn. */

import type { FileInfo } from "@we-upload/client";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { useKeys } from "../core/keys";
import { isRightToLeft, t } from "../core/language";
import { tabStopOf } from "../core/list-window";
import { serverConfig } from "../core/server-config";
import { FileName } from "../ui/file-name";
import { Icon } from "../ui/icon";
import { MenuButton } from "../ui/menu";
import type { FileList } from "./file-list";
import { ListEnd, PickBox, SelectAll, Tile, useListWindow, type FileTableProps } from "./file-table";
import { columnsFor } from "./grid-columns";
import { moveBy } from "./list-keys";
import { wantThumbnails } from "./thumbnails";

/** Rows beyond the view. A row of tiles is as high as four rows of the list. */
const OVERSCAN_ROWS = 2;
function useColumns(grid: { readonly current: HTMLElement | null }): number {
  const [columns, setColumns] = useState(4);
  useLayoutEffect(() => {
    const node = grid.current;
    if (node === null) return;
    const measure = () => setColumns(columnsFor(node.clientWidth));
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(node);
    return () => observer.disconnect();
  }, []);
  return columns;
}

export function FileGrid({ list, caption, columns: details, menu, onOpen }: FileTableProps) {
  const grid = useRef<HTMLDivElement>(null);
  const columns = useColumns(grid);
  const { start, end, before, after } = useListWindow(list, grid, columns, OVERSCAN_ROWS);
  const files = list.items.value;
  const shown = files.slice(start * columns, end * columns);
  useEffect(() => wantThumbnails(shown), [files, start, end, columns, serverConfig.value]);
  const aside = (by: number, isSelecting = false) => () => moveBy(list, isRightToLeft() ? -by : by, isSelecting);
  useKeys({ ArrowRight: aside(1), ArrowLeft: aside(-1), "Shift+ArrowRight": aside(1, true), "Shift+ArrowLeft": aside(-1, true) });
  const tabStop = tabStopOf(shown, list.activeId.value);
  const rows = Array.from({ length: Math.ceil(shown.length / columns) }, (_, row) => shown.slice(row * columns, (row + 1) * columns));
  return (
    <>
      <div class="grid-head">
        <SelectAll list={list} text={t.files.selectAll} />
      </div>
      <div
        ref={grid}
        class="tiles"
        role="grid"
        aria-label={caption}
        aria-multiselectable="true"
        aria-rowcount={Math.ceil((list.total.value ?? files.length) / columns)}
        aria-colcount={columns}
        aria-busy={list.state.value === "loading"}
        data-columns={columns}
        style={{ "--columns": `${columns}`, paddingBlock: `${before}px ${after}px` }}
      >
        {rows.map((row, index) => (
          <div role="row" class="tile-row" key={start + index} aria-rowindex={start + index + 1}>
            {row.map((file, column) => (
              <FileTile
                key={file.id}
                file={file}
                column={column}
                list={list}
                details={details.flatMap((detail) => detail.folded?.(file) ?? []).join(" · ")}
                menu={menu}
                onOpen={onOpen}
                isSelected={list.selectedIds.value.has(file.id)}
                isActive={file.id === tabStop}
              />
            ))}
          </div>
        ))}
      </div>
      <ListEnd list={list} />
    </>
  );
}

interface FileTileProps extends Pick<FileTableProps, "menu" | "onOpen"> {
  readonly file: FileInfo;
  readonly column: number;
  readonly list: FileList;
  /** What stands below the name. */
  readonly details: string;
  readonly isSelected: boolean;
  readonly isActive: boolean;
}

function FileTile({ file, column, list, details, menu, onOpen, isSelected, isActive }: FileTileProps) {
  return (
    <div
      id={`row-${file.id}`}
      role="gridcell"
      class="thumb"
      aria-colindex={column + 1}
      aria-selected={isSelected}
      aria-label={`${file.filename}, ${details}`}
      tabIndex={isActive ? 0 : -1}
      onFocusIn={() => {
        list.activeId.value = file.id;
      }}
      onClick={(event) => {
        if (event.target instanceof Element && event.target.closest("[aria-haspopup]") !== null) return;
        if (event.shiftKey) list.selectTo(file.id);
        else if (event.ctrlKey || event.metaKey) list.toggle(file.id);
        else onOpen(file);
      }}
    >
      <Tile file={file} isLarge />
      <PickBox file={file} list={list} isSelected={isSelected} />
      <div class="row">
        <div class="grow">
          <button type="button" class="open" tabIndex={-1}>
            <FileName name={file.filename} />
          </button>
          <span class="two">{details}</span>
        </div>
        <MenuButton class="btn quiet small icon" label={t.files.moreActions(file.filename)} items={() => menu(file)}>
          <Icon name="more" size="s" />
        </MenuButton>
      </div>
    </div>
  );
}
