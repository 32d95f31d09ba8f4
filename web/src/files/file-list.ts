/** A list of files that grows page by page, with its selection. */

import type { FileFilters, FileInfo } from "@we-upload/client";
import { computed, signal } from "@preact/signals";
import { api } from "../core/api";

const PAGE_SIZE = 100;

export type ListState = "loading" | "ready" | "loading-more" | "failed";
export type FileList = ReturnType<typeof createFileList>;

interface Removed {
  readonly file: FileInfo;
  readonly index: number;
}

export function createFileList() {
  const items = signal<readonly FileInfo[]>([]);
  const total = signal<number | null>(null);
  const state = signal<ListState>("loading");
  const error = signal<unknown>(null);
  const selectedIds = signal<ReadonlySet<string>>(new Set());
  /** The row that the keyboard moves from. */
  const activeId = signal<string | null>(null);
  const selection = computed(() => items.value.filter((file) => selectedIds.value.has(file.id)));
  let filters: FileFilters = {};
  let cursor: string | null = null;
  let controller = new AbortController();
  /** The ids of all rows, so that a row is not added twice. */
  let knownIds = new Set<string>();
  /** One end of a selection with Shift. */
  let anchorId: string | null = null;

  async function loadPage(isFirst: boolean): Promise<void> {
    const { signal: abort } = controller;
    state.value = isFirst ? "loading" : "loading-more";
    try {
      const page = await api.files.list(
        { ...filters, limit: PAGE_SIZE, ...(isFirst ? { count: true } : {}), ...(cursor === null || isFirst ? {} : { cursor }) },
        { signal: abort },
      );
      if (abort.aborted) return;
      cursor = page.nextCursor;
      if (isFirst) {
        knownIds = new Set();
        total.value = page.totalCount;
      }
      // A file that moved while the pages were read may come twice.
      const added = page.items.filter((file) => !knownIds.has(file.id));
      for (const file of added) knownIds.add(file.id);
      items.value = isFirst ? added : items.value.concat(added);
      if (isFirst && !knownIds.has(activeId.value ?? "")) activeId.value = null;
      state.value = "ready";
    } catch (cause) {
      if (abort.aborted) return;
      error.value = cause;
      state.value = "failed";
    }
  }

  function changeTotal(by: number): void {
    if (total.value !== null) total.value = Math.max(0, total.value + by);
  }

  const list = {
    items,
    total,
    state,
    error,
    selectedIds,
    selection,
    activeId,
    get hasMore(): boolean {
      return cursor !== null;
    },
    /** Show the files that the filters select. The rows of before stay until the new ones are there. */
    async load(wanted: FileFilters): Promise<void> {
      controller.abort();
      controller = new AbortController();
      filters = wanted;
      cursor = null;
      list.clearSelection();
      await loadPage(true);
    },
    reload: () => list.load(filters),
    async loadMore(): Promise<void> {
      if (state.value === "loading" || state.value === "loading-more" || cursor === null) return;
      await loadPage(false);
    },
    /** Take files out, and return them with their places for `putBack`. */
    remove(ids: ReadonlySet<string>): readonly Removed[] {
      const removed = items.value.flatMap((file, index) => (ids.has(file.id) ? [{ file, index }] : []));
      items.value = items.value.filter((file) => !ids.has(file.id));
      for (const id of ids) knownIds.delete(id);
      changeTotal(-removed.length);
      selectedIds.value = new Set([...selectedIds.value].filter((id) => !ids.has(id)));
      if (activeId.value !== null && ids.has(activeId.value)) {
        const next = items.value[removed[0]?.index ?? 0] ?? items.value.at(-1);
        activeId.value = next?.id ?? null;
      }
      return removed;
    },
    putBack(removed: readonly Removed[]): void {
      const next = items.value.filter((file) => !removed.some((entry) => entry.file.id === file.id));
      for (const { file, index } of removed) {
        next.splice(Math.min(index, next.length), 0, file);
        knownIds.add(file.id);
      }
      changeTotal(next.length - items.value.length);
      items.value = next;
      // The keyboard goes on where the user was.
      activeId.value ??= removed[0]?.file.id ?? null;
    },
    replace(file: FileInfo): void {
      items.value = items.value.map((other) => (other.id === file.id ? file : other));
    },
    /** Put files that have just arrived into a list that begins with the newest and has no filters. */
    prepend(files: readonly FileInfo[]): void {
      if (Object.keys(filters).some((name) => name !== "sort" && name !== "status")) return;
      if (filters.sort !== undefined && filters.sort !== "-created") return;
      const added = files.filter(({ id }) => !knownIds.has(id));
      for (const file of files) if (knownIds.has(file.id)) list.replace(file);
      if (added.length === 0) return;
      const listed = [...items.value];
      for (const file of added) {
        knownIds.add(file.id);
        // Uploads do not end in the order in which they began.
        const place = listed.findIndex((other) => other.created_at <= file.created_at);
        listed.splice(place < 0 ? listed.length : place, 0, file);
      }
      items.value = listed;
      changeTotal(added.length);
    },
    clear(): void {
      controller.abort();
      items.value = [];
      total.value = null;
      state.value = "loading";
      cursor = null;
      activeId.value = null;
      list.clearSelection();
    },

    isSelected: (id: string) => selectedIds.value.has(id),
    clearSelection(): void {
      if (selectedIds.value.size > 0) selectedIds.value = new Set();
      anchorId = null;
    },
    selectAll(): void {
      selectedIds.value = new Set(items.value.map((file) => file.id));
    },
    toggle(id: string): void {
      const next = new Set(selectedIds.value);
      if (!next.delete(id)) next.add(id);
      selectedIds.value = next;
      anchorId = id;
      activeId.value = id;
    },
    /** Select all rows from the last one that was toggled. */
    selectTo(id: string): void {
      const rows = items.value;
      const from = rows.findIndex((file) => file.id === (anchorId ?? activeId.value ?? id));
      const to = rows.findIndex((file) => file.id === id);
      if (from < 0 || to < 0) return;
      anchorId = rows[from]?.id ?? id;
      selectedIds.value = new Set(rows.slice(Math.min(from, to), Math.max(from, to) + 1).map((file) => file.id));
      activeId.value = id;
    },
    /** Move the active row, and return its new place; null where there are no rows. */
    move(by: number): number | null {
      const rows = items.value;
      if (rows.length === 0) return null;
      const at = rows.findIndex((file) => file.id === activeId.value);
      const next = at < 0 ? 0 : Math.max(0, Math.min(rows.length - 1, at + by));
      activeId.value = rows[next]?.id ?? null;
      return next;
    },
    get active(): FileInfo | null {
      return items.value.find((file) => file.id === activeId.value) ?? null;
    },
    /** What a command of the keyboard is about: the selection, else the active row. */
    targets(): readonly FileInfo[] {
      if (selection.value.length > 0) return selection.value;
      return list.active === null ? [] : [list.active];
    },
  };
  return list;
}
