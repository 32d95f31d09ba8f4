/** The uploader of the signed-in account, and its state as signals. */

import { createUploader, type FileInfo, type UploadItem, type Uploader, type UploadSource, type UploadTotals } from "@we-upload/client";
import { signal } from "@preact/signals";
import { api } from "../core/api";
import { writePreference } from "../core/preferences";
import { showProblem } from "../core/problems";
import { refreshUsage } from "../core/session";
import { showToast } from "../core/toasts";
import "../ui/more-icons";
import "../styles/uploads.css";
import { pickFiles } from "./file-capture";
import { pasteSources } from "./file-sources";
import { createHashWorker } from "./hash-worker";
import { Tray } from "./tray";
import { isTrayFolded, reportUploaded, trayView, uploadTotals } from "./upload-store";
import { u } from "./upload-texts";

const USAGE_DELAY_MS = 1500;
const STATUS_INTERVAL_MS = 5000;
/** Thousands of files change several times each; the page is drawn at most this often for them. */
const SHOW_INTERVAL_MS = 100;

export const uploads = signal<readonly UploadItem[]>([]);
/** What happened last, for screen readers. */
export const uploadStatus = signal("");

let uploader: Uploader | null = null;
let usageTimer: ReturnType<typeof setTimeout> | undefined;
let statusAt = 0;
let failedBefore = 0;
let showTimer: ReturnType<typeof setTimeout> | undefined;
let shownAt = 0;
let arrived: FileInfo[] = [];
let isUnfinished: boolean | null = null;

/** Say how far all uploads are: failures and the end at once, the rest at most every five seconds. */
function announce(totals: UploadTotals): void {
  const isNews = totals.failedCount > failedBefore || totals.activeCount === 0;
  failedBefore = totals.failedCount;
  if (totals.count === 0 || (!isNews && performance.now() - statusAt < STATUS_INTERVAL_MS)) return;
  statusAt = performance.now();
  uploadStatus.value = u.status(totals.verifiedCount, totals.count, totals.failedCount);
}

function show(current: Uploader): void {
  clearTimeout(showTimer);
  showTimer = undefined;
  // The account has signed out meanwhile.
  if (current !== uploader) return;
  shownAt = performance.now();
  const { totals } = current;
  uploads.value = current.items;
  uploadTotals.value = totals;
  trayView.value = Tray;
  announce(totals);
  if (arrived.length > 0) reportUploaded(arrived);
  arrived = [];
  const isLeft = totals.activeCount + totals.pausedCount > 0;
  if (isLeft !== isUnfinished) writePreference("unfinished-uploads", isLeft ? "yes" : null);
  isUnfinished = isLeft;
}

/** Return the uploader of an account. The first call also finds the unfinished uploads of an earlier page load. */
export function startUploader(accountId: string): Uploader {
  if (uploader !== null) return uploader;
  const started = createUploader(api, { createWorker: createHashWorker, scope: accountId });
  uploader = started;
  started.subscribe(({ changed }) => {
    for (const { state, file } of changed) if (state === "verified" && file !== null) arrived.push(file);
    showTimer ??= setTimeout(() => show(started), Math.max(0, shownAt + SHOW_INTERVAL_MS - performance.now()));
    if (changed.some(({ state }) => state === "verified" || state === "cancelled" || state === "failed")) {
      usageTimer ??= setTimeout(() => {
        usageTimer = undefined;
        void refreshUsage();
      }, USAGE_DELAY_MS);
    }
  });
  started.restore().then(() => show(started), showProblem);
  return started;
}

export { dropSources } from "./file-sources";

export const pastedSources = (files: readonly File[]): readonly UploadSource[] => pasteSources(files, new Date(), u.pastedName);

/** Uploads whose cancellation the server has not confirmed. A new sign-in repeats it. */
const unwanted = new Set<string>();

export function stopUploader(): void {
  uploader?.close();
  uploader = null;
  unwanted.clear();
  uploads.value = [];
  arrived = [];
  isUnfinished = null;
}

/** Ask for the file of an upload that was restored after a reload. */
export function chooseAgain(id: string): void {
  pickFiles({ isFolder: false, isMultiple: false }, ([file]) => {
    if (file !== undefined) uploader?.attachFile(id, file).catch(() => showToast(u.codes.different_file, { isError: true }));
  });
}

export const pauseUpload = (id?: string) => uploader?.pause(id);
export const resumeUpload = (id?: string) => uploader?.resume(id);

export function retryUpload(id: string): void {
  unwanted.delete(id);
  uploader?.retry(id);
}

export function dismissUpload(id: string): void {
  unwanted.delete(id);
  uploader?.remove(id);
}

/** Go on with the uploads that the end of the session has stopped. */
export function retryAfterSignIn(): void {
  for (const { id, error } of uploader?.items ?? []) {
    if (error?.problem["status"] === 401) (unwanted.has(id) ? cancelUpload : retryUpload)(id);
  }
}

export function cancelUpload(id: string): void {
  unwanted.add(id);
  uploader?.cancel(id).then(() => dismissUpload(id), showProblem);
}

/** Empty the tray once nothing is under way. */
export function clearUploads(): void {
  for (const { id, state } of uploads.value) {
    if (state === "verified" || state === "cancelled" || state === "failed") uploader?.remove(id);
  }
  isTrayFolded.value = false;
}
