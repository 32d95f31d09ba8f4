/** Options that let stock Uppy 5 (`@uppy/aws-s3` 5) upload to a We-Upload server. */

import { ApiError } from "./errors.js";
import { plannedPartSize } from "./uploader/plan.js";
import { retryCall, type RetryPolicy } from "./uploader/retry.js";
import { DEFAULT_CONTENT_TYPE } from "./uploader/source.js";
import { randomId } from "./uploader/task.js";
import { sendableHeaders } from "./uploader/transport.js";
import type { UploadCalls } from "./uploader/types.js";
import { SINGLE_MAX_BYTES } from "./uploader/uploader.js";

/** What the adapter reads of Uppy's files. */
export interface UppyFile {
  readonly id: string;
  readonly name?: string | undefined;
  readonly type?: string | undefined;
  readonly size?: number | null | undefined;
}

/** What the adapter uses of Uppy. */
export interface UppyCore {
  addPostProcessor(processor: (fileIds: string[]) => Promise<void>): void;
  getFile(id: string): UppyFile | undefined;
  on(event: "file-removed", listener: (file: UppyFile) => void): unknown;
  emit(event: "upload-error", file: UppyFile | undefined, error: { name: string; message: string }): void;
}

/** `uploadId` is optional in Uppy's types; a multipart upload always has one. */
interface MultipartRef {
  readonly uploadId?: string | undefined;
  readonly key?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

interface UppyPart {
  PartNumber?: number;
  Size?: number;
  ETag?: string;
}

export interface UppyAdapterOptions {
  /** Files up to this size are sent by one request. */
  readonly singleMaxBytes?: number;
}

/** Uppy calls these when its own retries are not at work. */
const POLICY: RetryPolicy = { triesMax: 5, random: Math.random, onWaiting: () => undefined };

/**
 * Pass `awsS3` to `uppy.use(AwsS3, …)`, then call `install(uppy)`: it completes files that were sent by one request, for which Uppy has no hook.
 */
export function uppyAdapter(client: { readonly files: UploadCalls }, options: UppyAdapterOptions = {}) {
  const { files } = client;
  const singleMaxBytes = options.singleMaxBytes ?? SINGLE_MAX_BYTES;
  /** Files sent by one request that are not completed: Uppy's id → ours. */
  const singles = new Map<string, string>();
  const keys = new Map<string, string>();

  function call<T>(signal: AbortSignal | undefined, request: () => Promise<T>): Promise<T> {
    return retryCall(POLICY, signal ?? new AbortController().signal, request);
  }

  /** A repeated start of the same upload leads to the same file. */
  function keyOf(file: UppyFile): string {
    const key = keys.get(file.id) ?? randomId();
    keys.set(file.id, key);
    return key;
  }

  function declare(file: UppyFile) {
    return { filename: file.name ?? "file", content_type: file.type || DEFAULT_CONTENT_TYPE, size_bytes: file.size ?? 0 };
  }

  const awsS3 = {
    shouldUseMultipart: (file: UppyFile) => (file.size ?? 0) > singleMaxBytes,
    // Uppy cuts the file before the server has answered.
    getChunkSize: (file: { readonly size: number }) => plannedPartSize(file.size),

    async getUploadParameters(file: UppyFile, { signal }: { readonly signal?: AbortSignal } = {}) {
      const key = keyOf(file);
      const upload = await call(signal, () => files.startUpload(declare(file), { idempotencyKey: key }));
      if (keys.get(file.id) !== key) {
        // Removed or cancelled during the start.
        await discard(upload.file_id);
        throw new DOMException("The upload was cancelled.", "AbortError");
      }
      singles.set(file.id, upload.file_id);
      return { method: "PUT" as const, url: upload.upload_url, headers: Object.fromEntries(sendableHeaders(upload.headers)) };
    },

    async createMultipartUpload(file: UppyFile) {
      const upload = await call(undefined, () => files.startMultipart(declare(file), { idempotencyKey: keyOf(file) }));
      if (upload.part_size_bytes !== plannedPartSize(file.size ?? 0)) {
        await files.delete(upload.file_id, { permanent: true });
        throw new Error("The server plans parts of another size than this version of @we-upload/client. Update the client.");
      }
      return { uploadId: upload.file_id, key: upload.file_id };
    },

    async listParts(_: UppyFile, { uploadId, signal }: MultipartRef): Promise<UppyPart[]> {
      const { parts } = await call(signal, () => files.listParts(requireId(uploadId), { signal }));
      return parts.map((part) => ({ PartNumber: part.number, Size: part.size_bytes, ETag: part.etag }));
    },

    async signPart(_: UppyFile, { uploadId, partNumber, signal }: MultipartRef & { readonly partNumber: number }) {
      const [part] = await call(signal, () => files.signParts(requireId(uploadId), [{ number: partNumber }], { signal }));
      if (part === undefined) throw new Error(`The server did not sign part ${partNumber}.`);
      return { method: "PUT" as const, url: part.upload_url, headers: Object.fromEntries(sendableHeaders(part.headers)) };
    },

    async completeMultipartUpload(file: UppyFile, { uploadId, signal }: MultipartRef) {
      await call(signal, () => files.complete(requireId(uploadId)));
      keys.delete(file.id);
      return {};
    },

    async abortMultipartUpload(file: UppyFile, { uploadId, signal }: MultipartRef) {
      keys.delete(file.id);
      await discard(requireId(uploadId), signal);
    },
  };

  async function discard(fileId: string, signal?: AbortSignal): Promise<void> {
    try {
      await call(signal, () => files.delete(fileId, { permanent: true }));
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) throw error;
    }
  }

  function install(uppy: UppyCore): void {
    uppy.addPostProcessor(async (ids) => {
      await Promise.all(
        ids.map(async (id) => {
          const fileId = singles.get(id);
          if (fileId === undefined) return;
          try {
            await call(undefined, () => files.complete(fileId));
            singles.delete(id);
            keys.delete(id);
          } catch (error) {
            const { name, message } = error instanceof Error ? error : new Error(String(error));
            uppy.emit("upload-error", uppy.getFile(id), { name, message });
          }
        }),
      );
    });
    uppy.on("file-removed", (file) => {
      const fileId = singles.get(file.id);
      singles.delete(file.id);
      keys.delete(file.id);
      // What cannot be deleted now, the server deletes when the time for the upload is over.
      if (fileId !== undefined) discard(fileId).catch(() => undefined);
    });
  }

  return { awsS3, install };
}

function requireId(uploadId: string | undefined): string {
  if (uploadId === undefined) throw new Error("Uppy did not name the upload.");
  return uploadId;
}
