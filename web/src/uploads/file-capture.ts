/** Takes files from drops, pastes and pickers, while the browser still lets the page have them. */

interface FileSystemHandles {
  getAsFileSystemHandle?: () => Promise<FileSystemHandle | null>;
}

/** Something that was dropped: a file, or a folder that is read later. */
export interface DroppedItem {
  readonly entry: FileSystemEntry | null;
  readonly file: File | null;
  readonly handle: Promise<FileSystemHandle | null>;
}

/** Take what was dropped. Call it inside the event: the browser empties the list afterwards. */
export function captureDrop(transfer: DataTransfer): readonly DroppedItem[] {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  return items.map((item: DataTransferItem & FileSystemHandles) => ({
    entry: item.webkitGetAsEntry(),
    file: item.getAsFile(),
    handle: item.getAsFileSystemHandle?.().catch(() => null) ?? Promise.resolve(null),
  }));
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
