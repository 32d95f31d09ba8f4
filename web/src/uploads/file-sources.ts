/** Files from drops, pastes and pickers, with the folders they lay in. */

import type { FileHandle, UploadSource } from "@we-upload/client";

interface FileSystemHandles {
  getAsFileSystemHandle?: () => Promise<FileSystemHandle | null>;
}

/** Read what was dropped. Call it inside the event: the browser empties the list afterwards. */
export function droppedSources(transfer: DataTransfer): Promise<readonly UploadSource[]> {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const reads = items.map((item) => {
    const entry = item.webkitGetAsEntry();
    if (entry?.isDirectory) return readEntry(entry, "");
    const file = item.getAsFile();
    // A handle lets the upload go on after a reload without a new choice of the file.
    const handle = (item as DataTransferItem & FileSystemHandles).getAsFileSystemHandle?.().catch(() => null) ?? Promise.resolve(null);
    return file === null ? Promise.resolve([]) : handle.then((found) => [sourceWithHandle(file, found)]);
  });
  return Promise.all(reads).then((lists) => lists.flat());
}

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

/** Return the files of a paste. Browsers call every pasted picture "image.png"; the time tells them apart. */
export function pastedSources(transfer: DataTransfer, now: Date, nameOf: (time: string) => string): readonly UploadSource[] {
  const two = (value: number) => String(value).padStart(2, "0");
  const day = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
  const time = `${day} ${two(now.getHours())}.${two(now.getMinutes())}.${two(now.getSeconds())}`;
  return [...transfer.files].map((file) => (file.name === "image.png" ? { file, name: `${nameOf(time)}.png` } : { file }));
}

/** Let the user choose files, or a folder. */
export function pickFiles(options: { readonly isFolder: boolean; readonly isMultiple: boolean }, onChosen: (files: readonly File[]) => void): void {
  const input = document.createElement("input");
  input.type = "file";
  input.multiple = options.isMultiple;
  input.webkitdirectory = options.isFolder;
  input.hidden = true;
  input.addEventListener("change", () => {
    onChosen([...(input.files ?? [])]);
    input.remove();
  });
  input.addEventListener("cancel", () => input.remove());
  document.body.append(input);
  input.click();
}
