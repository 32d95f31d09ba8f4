/** What the uploader takes and tells. */

import type * as api from "../api-types.js";
import type { CallOptions } from "../http.js";
import type { CreateOptions } from "../client.js";
import type { Locks } from "../session.js";

/** The calls that the uploader makes; `client.files` has them. */
export interface UploadCalls {
  startUpload(body: api.FileCreate, options?: CreateOptions): Promise<api.FileUpload>;
  /** Starts up to 100 uploads, with one result for each, in the same order. Without it, each file is started alone. */
  startUploads?(body: api.UploadBatch, options?: CreateOptions): Promise<readonly api.StartedUpload[]>;
  /** The states of up to 100 files. With `listByIds`, many small files are verified by the events of the store. */
  listStates?(fileIds: readonly string[], options?: CallOptions): Promise<readonly api.FileState[]>;
  /** Up to 100 of the caller's files, in any order. */
  listByIds?(fileIds: readonly string[], options?: CallOptions): Promise<readonly api.FileInfo[]>;
  startMultipart(body: api.MultipartCreate, options?: CreateOptions): Promise<api.MultipartUpload>;
  signParts(fileId: string, parts: readonly api.PartRequest[], options?: CallOptions): Promise<readonly api.SignedPart[]>;
  listParts(fileId: string, options?: CallOptions): Promise<api.UploadedParts>;
  complete(fileId: string, body?: api.UploadCompletion, options?: CallOptions): Promise<api.FileInfo>;
  delete(fileId: string, options?: CallOptions & { readonly permanent?: boolean }): Promise<unknown>;
}

/** A file handle of the File System Access API, where the browser has it. */
export interface FileHandle {
  getFile(): Promise<File>;
  queryPermission?(descriptor: { mode: "read" }): Promise<PermissionState>;
  requestPermission?(descriptor: { mode: "read" }): Promise<PermissionState>;
}

/** A file to upload. */
export interface UploadSource {
  readonly file: Blob;
  /** `file.name` by default. */
  readonly name?: string;
  /** Where the file lay in the chosen folder, such as `photos/2026/a.jpg`; `file.webkitRelativePath` by default. */
  readonly relativePath?: string;
  /** `file.type` by default. */
  readonly contentType?: string;
  /** Lets an upload go on after a reload without asking for the file again. */
  readonly handle?: FileHandle;
  readonly description?: string;
  readonly isPublic?: boolean;
}

/**
 * - `waiting`: in the queue, or, with `needsFile`, until the file is chosen again after a reload
 * - `hashing`: the digest is computed before the upload starts (files sent by one request)
 * - `sending`
 * - `paused`
 * - `checking`: everything was sent; the server compares size and digest
 * - `verified`: stored, with the size and digest that were declared
 * - `failed`: see `error`
 * - `cancelling`: stopped; the server deletes what was sent
 * - `cancelled`: the server keeps nothing of it
 */
export type UploadState = "waiting" | "hashing" | "sending" | "paused" | "checking" | "verified" | "failed" | "cancelling" | "cancelled";

export interface UploadFailure {
  /** A code of the API, or `connection_lost`, `file_changed`, `file_unreadable`, `different_file`, `storage_refused`, `hashing_failed`. */
  readonly code: string;
  readonly message: string;
  /** Whether `retry` may succeed without any change. */
  readonly isRetryable: boolean;
  readonly retryAfterSeconds: number | null;
  /** Further fields of the API's answer, such as `bytes_left` of `quota_exceeded`. */
  readonly problem: Readonly<Record<string, unknown>>;
}

/** An upload as it is at one moment. */
export interface UploadItem {
  /** Names the upload in this uploader, also after a reload. */
  readonly id: string;
  /** The file's id on the server, once it was declared there. */
  readonly fileId: string | null;
  readonly name: string;
  readonly relativePath: string | null;
  readonly contentType: string;
  readonly sizeBytes: number;
  readonly state: UploadState;
  readonly sentBytes: number;
  /** Smoothed; 0 while nothing is sent. */
  readonly bytesPerSecond: number;
  /** Rounded as people say it: to 5 s, 10 s, 1 min, 5 min. Null while unknown. */
  readonly secondsLeft: number | null;
  /** While true, the upload waits for the network or for its next try. */
  readonly isRetrying: boolean;
  /** Restored after a reload, and the file must be chosen again: `attachFile`. */
  readonly needsFile: boolean;
  readonly error: UploadFailure | null;
  /** The stored file, once verified. */
  readonly file: api.FileInfo | null;
}

export interface UploadTotals {
  readonly count: number;
  readonly verifiedCount: number;
  readonly failedCount: number;
  /** Uploads that are waiting, hashing, sending or checking. */
  readonly activeCount: number;
  readonly pausedCount: number;
  /** Without cancelled and failed uploads. */
  readonly sizeBytes: number;
  readonly sentBytes: number;
  readonly bytesPerSecond: number;
  readonly secondsLeft: number | null;
}

export interface UploaderEvent {
  /** Uploads that were added or changed since the last event. */
  readonly changed: readonly UploadItem[];
  readonly removedIds: readonly string[];
  readonly totals: UploadTotals;
}

export interface Uploader {
  /** In the order in which they were added. */
  readonly items: readonly UploadItem[];
  readonly totals: UploadTotals;
  get(id: string): UploadItem | null;
  add(sources: Iterable<UploadSource | Blob>): readonly UploadItem[];
  /** Pause one upload, or all. Parts that were sent stay. */
  pause(id?: string): void;
  /** Go on with one upload, or all. Call it from a click: the browser may ask for access to the file. */
  resume(id?: string): void;
  /**
   * Stop an upload and delete on the server what was sent. Resolves when the server has confirmed it. Rejects if the server cannot be reached;
   * the upload has failed then, and can be cancelled or tried again.
   */
  cancel(id: string): Promise<void>;
  /** Try a failed upload again. Parts that were sent stay. */
  retry(id: string): void;
  /** Forget a verified, cancelled or failed upload; by default all verified and cancelled ones. The parts of a failed one are deleted. */
  remove(id?: string): void;
  /** Find the unfinished uploads of an earlier page load that no other tab has. Those with a readable handle go on by themselves. */
  restore(): Promise<readonly UploadItem[]>;
  /** Hand over the file of a restored upload. Rejects with code `different_file` if name, size or time differ. */
  attachFile(id: string, file: File): Promise<void>;
  /** Resolves with the upload once it is verified, failed or cancelled. */
  settled(id: string): Promise<UploadItem>;
  /** Events for changes of state come at once, those for progress at most ten times a second. Returns a function that ends it. */
  subscribe(listener: (event: UploaderEvent) => void): () => void;
  /** Stop all requests. Unfinished uploads can be restored later. */
  close(): void;
}

/** One request of bytes to the store. */
export interface PutRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Blob;
  readonly signal: AbortSignal;
  /** Called with the bytes of this request that have been sent so far. */
  readonly onProgress: (sentBytes: number) => void;
}

export interface PutResponse {
  readonly status: number;
  readonly text: string;
  readonly retryAfter: string | null;
}

/** Sends bytes. Rejects with ConnectionError, or with the signal's reason. */
export type Transport = (request: PutRequest) => Promise<PutResponse>;

export interface HashOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (hashedBytes: number) => void;
}

/** Computes digests. */
export interface Hasher {
  /** In hex. */
  sha256(blob: Blob, options?: HashOptions): Promise<string>;
  /** In base64, as S3 writes it. */
  crc64nvme(blob: Blob, options?: HashOptions): Promise<string>;
  close(): void;
}

/** An unfinished upload, kept so that a later page load can go on with it. */
export interface UploadRecord {
  readonly id: string;
  /** Whose upload it is. */
  readonly scope: string;
  readonly fileId: string | null;
  readonly idempotencyKey: string;
  readonly name: string;
  readonly relativePath: string | null;
  readonly contentType: string;
  readonly sizeBytes: number;
  /** Milliseconds since 1970; null for a Blob that is not a File. */
  readonly lastModified: number | null;
  readonly description: string | null;
  readonly isPublic: boolean;
  readonly isMultipart: boolean;
  readonly hasPartDigests: boolean;
  /** Started with other files, so that the idempotency key does not lead to the file. */
  readonly isBatched?: boolean;
  readonly handle: FileHandle | null;
  readonly addedAt: number;
}

export interface UploadStateStore {
  list(scope: string): Promise<readonly UploadRecord[]>;
  put(record: UploadRecord): Promise<void>;
  delete(id: string): Promise<void>;
}

export interface UploaderOptions {
  /** Makes the hash worker. With Vite: `() => new Worker(new URL("…/hash-worker.ts", import.meta.url), { type: "module" })`. */
  readonly createWorker?: () => Worker;
  /** Computes digests instead of a worker, such as `createHasher()` of `@we-upload/client/hashing` in Node. */
  readonly hasher?: Hasher;
  /** Names the account: unfinished uploads of another account on the same device are not restored. */
  readonly scope?: string;
  /** Files up to this size are sent by one request with a SHA-256 of the whole. */
  readonly singleMaxBytes?: number;
  /**
   * `crc64nvme` (default): the store compares a checksum of the whole file at the end.
   * `part-sha256`: the store compares a SHA-256 of each part on arrival; a part is read before it is signed.
   */
  readonly multipartDigest?: "crc64nvme" | "part-sha256";
  /** Files that are sent side by side; small files, which are started together, do not count. */
  readonly filesMax?: number;
  /** Requests of one file at its start, and at most. */
  readonly lanes?: { readonly start?: number; readonly max?: number };
  /** Requests of all files together. */
  readonly lanesMax?: number;
  /** Tries of one request without progress, before the upload fails. Time without a network does not count. */
  readonly triesMax?: number;
  /** Where unfinished uploads are kept; IndexedDB by default where there is one, null for nowhere. */
  readonly stateStore?: UploadStateStore | null;
  readonly transport?: Transport;
  /** Keeps two tabs from the same upload; `navigator.locks` by default, null for none. */
  readonly locks?: Locks | null;
  readonly random?: () => number;
}
