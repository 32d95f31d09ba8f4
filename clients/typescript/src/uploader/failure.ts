/** What can go wrong with an upload, in words for its user. */

import { ApiError, ConnectionError } from "../errors.js";
import type { UploadFailure } from "./types.js";
import { HashWorkerError } from "./worker-hasher.js";

/** An error of the uploader itself, not of the API. */
export class UploadError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly isRetryable: boolean,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = "UploadError";
  }
}

export function fileChanged(cause?: unknown): UploadError {
  return new UploadError(
    "file_changed",
    "The file was changed, moved or deleted during the upload, so nothing was stored. Choose it again.",
    false,
    {
      cause,
    },
  );
}

export function fileUnreadable(cause: unknown): UploadError {
  return new UploadError("file_unreadable", "The browser may not read this file. Allow access to it, or choose it again.", true, { cause });
}

export function differentFile(): UploadError {
  return new UploadError("different_file", "This is not the same file: its name, size or time of change differs.", false);
}

export function storageRefused(status: number, code: string | null): UploadError {
  const reason = code === null ? `status ${status}` : `status ${status}, ${code}`;
  return new UploadError("storage_refused", `The storage refused the upload (${reason}). Try again.`, true);
}

/** After these, the server's file is of no more use, and a new try declares a new one. */
const ENDED_CODES: ReadonlySet<string> = new Set([
  "upload_rejected",
  "upload_lost",
  "file_not_available",
  "file_not_found",
  "idempotent_file_gone",
  "file_changed",
]);

export function isEnded(code: string): boolean {
  return ENDED_CODES.has(code);
}

export function toFailure(error: unknown): UploadFailure {
  if (error instanceof ApiError) {
    const isRetryable = error.isRetryable || error.status === 401 || ENDED_CODES.has(error.code);
    return { code: error.code, message: error.detail, isRetryable, retryAfterSeconds: error.retryAfterSeconds, problem: error.problem };
  }
  const known = error instanceof UploadError || error instanceof ConnectionError ? error : fromReadError(error);
  const isRetryable = known instanceof ConnectionError || (known instanceof UploadError && known.isRetryable);
  return { code: known.code, message: known.message, isRetryable, retryAfterSeconds: null, problem: {} };
}

/** Reading a file fails with NotReadableError or NotFoundError when it is not what it was when it was chosen (File API, section 6). */
export function fromReadError(error: unknown): UploadError {
  if (error instanceof UploadError) return error;
  if (error instanceof DOMException || error instanceof Error) {
    if (error.name === "NotReadableError" || error.name === "NotFoundError") return fileChanged(error);
    if (error.name === "NotAllowedError" || error.name === "SecurityError") return fileUnreadable(error);
    if (error instanceof HashWorkerError)
      return new UploadError("hashing_failed", `The checksum could not be computed. ${error.message}`, true, { cause: error });
  }
  const message = error instanceof Error ? error.message : String(error);
  return new UploadError("upload_failed", `The upload failed: ${message}`, true, { cause: error });
}
