/** Asks for the thumbnails of many files in one request, and again for those that are still being made. */

import { BATCH_MAX_FILES, createPreviews, type FileInfo } from "@we-upload/client";
import type { Signal } from "@preact/signals";

const COLLECT_MS = 60;
/** Waits between the requests for a preview that is being made. After the last one the icon stays until the page is loaded again. */
const PENDING_MS = [2000, 4000, 8000, 16_000, 32_000];

export type ThumbnailLoader = ReturnType<typeof createLoader>;

let loader: ThumbnailLoader | undefined;

export function loaderFor(api: Parameters<typeof createPreviews>[0], thumbnails: Signal<ReadonlyMap<string, string>>): ThumbnailLoader {
  return (loader ??= createLoader(createPreviews(api).list, thumbnails));
}

export function createLoader(list: ReturnType<typeof createPreviews>["list"], thumbnails: Signal<ReadonlyMap<string, string>>) {
  /** How often each file was asked for. A file whose thumbnail is known, or that has none, is not asked for again. */
  const asked = new Map<string, number>();
  const waiting = new Set<string>();
  let timer: ReturnType<typeof setTimeout> | undefined;

  function enqueue(fileId: string): void {
    asked.set(fileId, (asked.get(fileId) ?? 0) + 1);
    waiting.add(fileId);
    timer ??= setTimeout(() => void ask(), COLLECT_MS);
  }

  async function ask(): Promise<void> {
    const ids = [...waiting].slice(0, BATCH_MAX_FILES);
    for (const id of ids) waiting.delete(id);
    timer = waiting.size > 0 ? setTimeout(() => void ask(), COLLECT_MS) : undefined;
    try {
      const found = new Map<string, string>();
      for (const { id, preview } of await list(ids)) {
        const wait = PENDING_MS[(asked.get(id) ?? 1) - 1];
        if (preview?.small) found.set(id, preview.small.url);
        else if (preview?.state === "pending" && wait !== undefined) setTimeout(() => enqueue(id), wait);
      }
      // Another request may have changed the map meanwhile.
      thumbnails.value = new Map([...thumbnails.value, ...found]);
    } catch {
      // The icons stay. The next list asks again.
      for (const id of ids) asked.delete(id);
    }
  }

  return {
    load(files: readonly FileInfo[]): void {
      for (const file of files) {
        if (!asked.has(file.id) && (file.status === "available" || file.status === "trashed")) enqueue(file.id);
      }
    },
    /** Ask once more for a thumbnail that could not be shown. */
    forget(file: FileInfo): void {
      const known = new Map(thumbnails.value);
      if (!known.delete(file.id)) return;
      thumbnails.value = known;
      if ((asked.get(file.id) ?? 0) < PENDING_MS.length) enqueue(file.id);
    },
  };
}
