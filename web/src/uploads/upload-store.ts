/** Files to upload, and what is uploading. The uploader itself is loaded with the first file. */

import type { FileInfo, UploadSource, UploadTotals } from "@we-upload/client";
import { computed, effect, signal } from "@preact/signals";
import type { ComponentType } from "preact";
import { t } from "../core/language";
import { readPreference } from "../core/preferences";
import { showProblem } from "../core/problems";
import { onSignOut, user } from "../core/session";
import { showToast } from "../core/toasts";
import { pickFiles, type DroppedItem } from "./file-capture";

type Engine = typeof import("./upload-engine");

/** Draws the uploads; null until there are some. */
export const trayView = signal<ComponentType | null>(null);
export const isTrayFolded = signal(false);
export const uploadTotals = signal<UploadTotals | null>(null);
export const isUploading = computed(() => (uploadTotals.value?.activeCount ?? 0) > 0);

const fileListeners = new Set<(files: readonly FileInfo[]) => void>();

/** Call back with files that have arrived and were verified. Returns a function that ends it. */
export function onUploaded(listener: (files: readonly FileInfo[]) => void): () => void {
  fileListeners.add(listener);
  return () => fileListeners.delete(listener);
}

export function reportUploaded(files: readonly FileInfo[]): void {
  for (const listener of fileListeners) listener(files);
}

let engine: Engine | null = null;

async function loadEngine(): Promise<Engine> {
  engine ??= await import("./upload-engine");
  return engine;
}

/** Start with the session: go on with uploads of an earlier page load, and warn before the page is left while files are sent. */
export function startUploads(): void {
  effect(() => {
    const accountId = user.value?.id;
    if (accountId === undefined || readPreference("unfinished-uploads") === null) return;
    loadEngine().then(({ startUploader }) => startUploader(accountId), showProblem);
  });
  onSignOut(() => {
    engine?.stopUploader();
    uploadTotals.value = null;
  });
  window.addEventListener("beforeunload", (event) => {
    if (isUploading.value) event.preventDefault();
  });
  window.addEventListener("offline", () => {
    if (isUploading.value) showToast(t.uploads.offline, { icon: "alert" });
  });
}

/** Load the uploader and let it add files. */
function add(sourcesOf: (engine: Engine) => Promise<readonly (UploadSource | File)[]>): void {
  const accountId = user.value?.id;
  if (accountId === undefined) return;
  isTrayFolded.value = false;
  loadEngine()
    .then(async (loaded) => loaded.startUploader(accountId).add(await sourcesOf(loaded)))
    .catch(showProblem);
}

export const addDrop = (items: readonly DroppedItem[]): void => add(({ dropSources }) => dropSources(items));
export const addPaste = (files: readonly File[]): void => add(async ({ pastedSources }) => pastedSources(files));

const addFiles = (files: readonly File[]): void => add(async () => files);

export function chooseFiles(): void {
  pickFiles({ isFolder: false, isMultiple: true }, addFiles);
}

export function chooseFolder(): void {
  pickFiles({ isFolder: true, isMultiple: true }, addFiles);
}
