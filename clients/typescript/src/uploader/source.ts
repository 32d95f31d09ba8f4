/** The local file of an upload: what is declared about it, and whether it is still the same. */

import { differentFile, fileChanged, fileUnreadable, fromReadError } from "./failure.js";
import type { FileHandle, UploadRecord, UploadSource } from "./types.js";

export const DEFAULT_CONTENT_TYPE = "application/octet-stream";
const CONTENT_TYPE = /^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+(; ?[\w!#$%&'*+.^`|~-]+=[\w!#$%&'*+.^`|~-]+)*$/;
const CONTENT_TYPE_MAX_LENGTH = 100;

/** A File where there is one; a Blob has neither name nor time. */
type MaybeFile = Blob & Partial<Pick<File, "name" | "lastModified" | "webkitRelativePath">>;

export type LocalFile = Pick<
  UploadRecord,
  "name" | "relativePath" | "contentType" | "sizeBytes" | "lastModified" | "description" | "isPublic" | "handle"
>;

export function describeSource(source: UploadSource): LocalFile {
  const file: MaybeFile = source.file;
  const contentType = source.contentType ?? file.type;
  const isUsable = CONTENT_TYPE.test(contentType) && contentType.length <= CONTENT_TYPE_MAX_LENGTH;
  return {
    name: source.name ?? file.name ?? "file",
    relativePath: source.relativePath ?? (file.webkitRelativePath || null),
    contentType: isUsable ? contentType : DEFAULT_CONTENT_TYPE,
    sizeBytes: file.size,
    lastModified: file.lastModified ?? null,
    description: source.description ?? null,
    isPublic: source.isPublic ?? false,
    handle: source.handle ?? null,
  };
}

/** Throws `file_changed` unless the file can be read and has the size and time that it had when it was added. */
export async function requireUnchanged(file: Blob, local: LocalFile): Promise<void> {
  const current: MaybeFile =
    local.handle === null ? file : await local.handle.getFile().catch((error: unknown) => Promise.reject(fromReadError(error)));
  if (!isSameFile(current, local)) throw fileChanged();
  // Browsers find out on reading that the file is not the one that was chosen.
  if (file.size > 0)
    await file
      .slice(0, 1)
      .arrayBuffer()
      .catch((error: unknown) => Promise.reject(fromReadError(error)));
}

/** Throws `different_file` unless `file` looks like the one that a restored upload was started with. */
export function requireSameFile(file: MaybeFile, local: LocalFile): void {
  if (file.name !== local.name || !isSameFile(file, local)) throw differentFile();
}

function isSameFile(file: MaybeFile, local: LocalFile): boolean {
  return file.size === local.sizeBytes && (file.lastModified ?? null) === local.lastModified;
}

/** Get the file of a handle. The browser asks its user for permission only during a click (`mayAsk`). Null without permission. */
export async function readHandle(handle: FileHandle, mayAsk: boolean): Promise<File | null> {
  const descriptor = { mode: "read" } as const;
  let permission = (await handle.queryPermission?.(descriptor)) ?? "granted";
  if (permission === "prompt" && mayAsk) permission = (await handle.requestPermission?.(descriptor)) ?? "denied";
  if (permission !== "granted") return null;
  try {
    return await handle.getFile();
  } catch (error) {
    throw error instanceof DOMException && error.name === "NotAllowedError" ? fileUnreadable(error) : fileChanged(error);
  }
}
