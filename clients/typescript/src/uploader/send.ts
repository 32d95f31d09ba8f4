/** Sends bytes to the store until it has them, or refuses them for good. */

import { ConnectionError, readRetryAfter } from "../errors.js";
import { storageRefused } from "./failure.js";
import type { LanePool } from "./lanes.js";
import { isOffline, waitForRetry, type RetryPolicy } from "./retry.js";
import type { PutResponse, Transport } from "./types.js";

export interface SignedRequest {
  readonly upload_url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface SendJob {
  /** Gets a new signature at each call; called while the lane is held, so that what it reads is bounded too. */
  readonly sign: () => Promise<SignedRequest>;
  readonly body: Blob;
  readonly onProgress: (sentBytes: number) => void;
  /** The store asked for fewer requests, or a connection was lost. */
  readonly onRefused: () => void;
  /** Throws if the local file is not what it was. */
  readonly checkFile: () => Promise<void>;
}

export interface SendContext {
  readonly transport: Transport;
  readonly pool: LanePool;
  readonly policy: RetryPolicy;
  readonly signal: AbortSignal;
}

type Verdict = "sent" | "gone" | "sign_again" | "retry" | "differs" | "refused";

/** Signatures refused one after another; a wrong clock on the server would refuse all of them. */
const SIGNATURES_MAX = 3;
/** A digest may differ because of a broken transfer; more often than this it is the file. */
const DIFFERENCES_MAX = 2;

/** Resolves with `gone` when the store does not know the multipart upload (any more): it was completed, or deleted. */
export async function sendBytes(job: SendJob, context: SendContext): Promise<"sent" | "gone"> {
  const { policy, signal } = context;
  let signatures = 0;
  let differences = 0;
  for (let tries = 1; ; tries++) {
    const response = await sendOnce(job, context);
    const verdict = response instanceof ConnectionError ? "retry" : judge(response);
    if (verdict === "sent" || verdict === "gone") return verdict;
    job.onProgress(0);
    if (response instanceof ConnectionError) {
      // Browsers report a file that changed on disk as a lost connection.
      await job.checkFile();
      if (isOffline()) tries = 0;
    }
    if (verdict === "differs") await job.checkFile();
    const isFinal =
      verdict === "refused" ||
      (verdict === "sign_again" && ++signatures >= SIGNATURES_MAX) ||
      (verdict === "differs" && ++differences >= DIFFERENCES_MAX) ||
      tries >= policy.triesMax;
    if (isFinal) throw response instanceof ConnectionError ? response : storageRefused(response.status, errorCode(response.text));
    if (verdict === "sign_again") continue;
    if (verdict === "retry") job.onRefused();
    const retryAfter = response instanceof ConnectionError ? null : readRetryAfter(response.retryAfter);
    await waitForRetry(policy, signal, tries, retryAfter);
  }
}

async function sendOnce(job: SendJob, { transport, pool, signal }: SendContext): Promise<PutResponse | ConnectionError> {
  const release = await pool.acquire(signal);
  try {
    const { upload_url: url, method, headers } = await job.sign();
    signal.throwIfAborted();
    try {
      return await transport({ url, method, headers, body: job.body, signal, onProgress: job.onProgress });
    } catch (error) {
      if (error instanceof ConnectionError) return error;
      throw error;
    }
  } finally {
    release();
  }
}

/** What an answer of S3 means (Amazon S3 API Reference, "Error responses"). */
function judge({ status, text }: PutResponse): Verdict {
  if (status >= 200 && status < 300) return "sent";
  const code = errorCode(text);
  switch (status) {
    case 412:
      // If-None-Match: the object is there, so an earlier try arrived and its answer was lost.
      return "sent";
    case 403:
      return "sign_again";
    case 404:
      return code === "NoSuchUpload" ? "gone" : "refused";
    case 400:
      if (code === "ExpiredToken" || code === "RequestTimeTooSkewed") return "sign_again";
      if (code === "RequestTimeout" || code === "IncompleteBody") return "retry";
      return code === "BadDigest" || code === "XAmzContentSHA256Mismatch" || code === "XAmzContentChecksumMismatch" ? "differs" : "refused";
    case 408:
    case 409:
    case 429:
      return "retry";
    default:
      return status >= 500 ? "retry" : "refused";
  }
}

function errorCode(text: string): string | null {
  return /<Code>(\w+)<\/Code>/.exec(text)?.[1] ?? null;
}
