/** Lists of records: table, button for more rows, and what stands in their place while they are read. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { t } from "../core/language";
import { s } from "../core/screen-texts";
import { SkeletonRows } from "../files/file-table";
import { ErrorNote } from "./controls";
import { Icon } from "./icon";
import { MenuButton, type MenuItem } from "./menu";

export interface Column<T> {
  readonly head: string;
  readonly class?: string;
  /** For columns whose content explains itself. */
  readonly isHeadHidden?: boolean;
  readonly cell: (row: T) => ComponentChildren;
}

interface DataTableProps<T> {
  readonly caption: string;
  readonly class?: string;
  readonly columns: readonly Column<T>[];
  readonly rows: readonly T[];
  readonly keyOf: (row: T) => string | number;
}

export function DataTable<T>({ caption, class: extra = "inset", columns, rows, keyOf }: DataTableProps<T>) {
  return (
    <table class={`table ${extra}`}>
      <caption class="sr">{caption}</caption>
      <thead>
        <tr>
          {columns.map(({ head, class: kind, isHeadHidden }) => (
            <th key={head} class={kind} {...(isHeadHidden ? {} : { scope: "col" as const })}>
              {isHeadHidden ? <span class="sr">{head}</span> : head}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={keyOf(row)}>
            {columns.map(({ head, class: kind, cell }) => (
              <td key={head} class={kind}>
                {cell(row)}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** The last column: a menu for each row, unless it is empty. */
export function actionsColumn<T>(nameOf: (row: T) => string, items: (row: T) => readonly MenuItem[]): Column<T> {
  return {
    head: t.files.actions,
    class: "act",
    isHeadHidden: true,
    cell: (row) =>
      items(row).length > 0 && (
        <MenuButton class="btn quiet small icon" label={t.files.moreActions(nameOf(row))} items={() => items(row)}>
          <Icon name="more" size="s" />
        </MenuButton>
      ),
  };
}

export function ShowMore({ onClick }: { readonly onClick: () => void }) {
  return (
    <div class="more">
      <button type="button" class="btn" onClick={onClick}>
        {s.actions.showMore}
      </button>
    </div>
  );
}

interface LoadedProps<T> {
  /** Null until it was read. */
  readonly value: T | null;
  readonly error: unknown;
  readonly onRetry: () => void;
  readonly skeletonCount: number;
  readonly children: (value: T) => ComponentChildren;
}

/** Draw what was read. Before that, draw a skeleton or the error. */
export function Loaded<T>({ value, error, onRetry, skeletonCount, children }: LoadedProps<T>) {
  return (
    <>
      {error !== null && <ErrorNote error={error} onRetry={onRetry} />}
      {value !== null ? children(value) : error === null && <SkeletonRows count={skeletonCount} />}
    </>
  );
}

/** Read something at first, and again when one of the inputs changes; the last value stays meanwhile. */
export function useLoaded<T>(read: () => Promise<T>, inputs: readonly unknown[] = []) {
  const [value, setValue] = useState<T | null>(null);
  const [error, setError] = useState<unknown>(null);
  const reads = useRef(0);
  const load = () => {
    const number = ++reads.current;
    // The answer to an earlier question may come last.
    const ifNewest = <R,>(act: (result: R) => void) => (result: R) => number === reads.current && act(result);
    setError(null);
    read().then(ifNewest<T>((result) => setValue(result)), ifNewest<unknown>(setError));
  };
  useEffect(load, [...inputs]);
  return { value, setValue, error, load };
}
