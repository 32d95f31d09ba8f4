/** What to upload from a drop or a paste, with the folders it lay in. */

import type { FileHandle, UploadSource } from "@we-upload/client";
import type { DroppedItem } from "./file-capture";

export async function dropSources(items: readonly DroppedItem[]): Promise<readonly UploadSource[]> {
  const lists = await Promise.all(
    items.map(async ({ entry, file, handle }) => {
      if (entry?.isDirectory) return readEntry(entry, "");
      return file === null ? [] : [sourceWithHandle(file, await handle)];
    }),
  );
  return lists.flat();
}

/** A handle lets the upload go on after a reload without a new choice of the file. */
function sourceWithHandle(file: File, handle: FileSystemHandle | null): UploadSource {
  return handle?.kind === "file" ? { file, handle: handle as unknown as FileHandle } : { file };
}

async function readEntry(entry: FileSystemEntry, folder: string): Promise<readonly UploadSource[]> {
  const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
    return [{ file, relativePath: path }];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const sources: UploadSource[] = [];
  for (;;) {
    // A call returns at most 100 entries; an empty answer is the end.
    const entries = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (entries.length === 0) return sources;
    for (const child of entries) sources.push(...(await readEntry(child, path)));
  }
}

/** Return the sources of pasted files. Browsers call every pasted picture "image.png"; the time tells them apart. */
export function pasteSources(files: readonly File[], now: Date, nameOf: (time: string) => string): readonly UploadSource[] {
  const two = (value: number) => String(value).padStart(2, "0");
  const day = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
  const time = `${day} ${two(now.getHours())}.${two(now.getMinutes())}.${two(now.getSeconds())}`;
  return files.map((file) => (file.name === "image.png" ? { file, name: `${nameOf(time)}.png` } : { file }));
}
