/** The thumbnails of the files in view. */

import type { FileInfo } from "@we-upload/client";
import { signal } from "@preact/signals";
import { api } from "../core/api";
import { fileKind } from "../core/file-kind";
import { serverConfig } from "../core/server-config";
import type { ThumbnailLoader } from "./thumbnail-loader";

/** The presigned URL of each thumbnail that is known, by the file's id. */
export const thumbnails = signal<ReadonlyMap<string, string>>(new Map());

function withLoader(act: (loader: ThumbnailLoader) => void): void {
  // The loader imports nothing of the start, which would become a second script then. Without it the icons stay.
  import("./thumbnail-loader").then(({ loaderFor }) => act(loaderFor(api, thumbnails)), () => {});
}

/** Load the thumbnails of these files, if the server makes any. */
export function wantThumbnails(files: readonly FileInfo[]): void {
  const wanted = files.filter((file) => /image|video|pdf/.test(fileKind(file.content_type, file.filename)));
  if (wanted.length > 0 && serverConfig.value?.previews_enabled) withLoader((loader) => loader.load(wanted));
}

/** Ask again for a thumbnail that could not be shown, for example because its URL has expired. */
export function forgetThumbnail(file: FileInfo): void {
  withLoader((loader) => loader.forget(file));
}
