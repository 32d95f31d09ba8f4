/** Starts small files together: one request for up to 100 of them. */

import type * as api from "../api-types.js";
import { ApiError } from "../errors.js";
import type { UploadCalls } from "./types.js";

/** Larger files are started alone; the request that starts them is a small part of their upload. */
export const BATCHED_MAX_BYTES = 1024 ** 2;
const BATCH_MAX_FILES = 100;
/** Files in one request, from which on they are not completed one by one. */
const MANY_FILES = 10;
/** How long a file waits for others that were announced. */
const WAIT_MAX_MS = 5_000;

interface Member {
  readonly key: string;
  readonly body: api.FileCreate;
}

interface Waiting extends Member {
  readonly signal: AbortSignal;
  readonly resolve: (upload: api.FileUpload | Promise<api.FileUpload>) => void;
}

export class UploadStarts {
  private waiting: Waiting[] = [];
  /** Keys that the server may know: a file that was started alone stays alone. */
  private readonly alone = new Set<string>();
  private announced = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly batches = new Map<string, Batch>();

  constructor(
    private readonly calls: UploadCalls,
    private readonly newKey: () => string,
  ) {}

  /** Announce a file that will be started soon, for which others may wait. Call what it returns when it was started, or will not be. */
  announce(): () => void {
    this.announced++;
    let isComing = true;
    return () => {
      if (!isComing) return;
      isComing = false;
      this.announced--;
      if (this.announced === 0) this.flush();
    };
  }

  /**
   * Start an upload, or sign it again. The key names the upload: a repeated call with it leads to the same file. A file that waits for others
   * is not started after `signal` was aborted; a request that was sent is awaited, because its answer names the upload.
   */
  start(body: api.FileCreate, key: string, signal: AbortSignal): Promise<api.FileUpload> {
    const batch = this.batches.get(key);
    if (batch !== undefined) return batch.take(key);
    const isLarge = body.size_bytes > BATCHED_MAX_BYTES;
    if (isLarge || this.alone.has(key) || this.calls.startUploads === undefined) return this.startAlone(body, key);
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      this.waiting.push({ key, body, signal, resolve });
      if (this.waiting.length === BATCH_MAX_FILES || this.announced === 0) this.flush();
      else this.timer ??= setTimeout(() => this.flush(), WAIT_MAX_MS);
    });
  }

  /** Whether the upload was started with others. The server does not know its own key then. */
  isBatched(key: string): boolean {
    return this.batches.has(key);
  }

  /** Whether the upload was started with so many others that the events of the store are worth waiting for. */
  isOneOfMany(key: string): boolean {
    return (this.batches.get(key)?.size ?? 0) >= MANY_FILES;
  }

  /** Whether a request with this upload was sent. */
  mayBeStarted(key: string): boolean {
    return this.alone.has(key) || this.batches.has(key);
  }

  forget(key: string): void {
    this.batches.delete(key);
    this.alone.delete(key);
  }

  /** Start an upload by a request of its own, also one that an earlier page load has started so. */
  startAlone(body: api.FileCreate, key: string): Promise<api.FileUpload> {
    this.alone.add(key);
    return this.calls.startUpload(body, { idempotencyKey: key });
  }

  private flush(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    const members = this.waiting.filter(({ signal }) => !signal.aborted);
    this.waiting = [];
    if (members.length === 0) return;
    const [only] = members;
    if (only !== undefined && members.length === 1) return only.resolve(this.startAlone(only.body, only.key));
    const batch = new Batch(this.calls, members, this.newKey());
    for (const { key, resolve } of members) {
      this.batches.set(key, batch);
      resolve(batch.take(key));
    }
  }
}

class Batch {
  /** Results that no member has taken. */
  private readonly results = new Map<string, api.StartedUpload>();
  private running: Promise<void> | null = null;

  constructor(
    private readonly calls: UploadCalls,
    private readonly members: readonly Member[],
    private readonly key: string,
  ) {}

  get size(): number {
    return this.members.length;
  }

  /** Return the result of a member. A second call for the same member repeats the request, which signs the same files again. */
  async take(memberKey: string): Promise<api.FileUpload> {
    if (!this.results.has(memberKey)) {
      this.running ??= this.send().finally(() => {
        this.running = null;
      });
      await this.running;
    }
    const result = this.results.get(memberKey);
    this.results.delete(memberKey);
    if (result?.upload) return result.upload;
    if (!result?.error) throw new Error("the server left a file out");
    const { status, code, detail, extra } = result.error;
    throw new ApiError({ status, code, detail, problem: { ...extra, status, code, detail } });
  }

  private async send(): Promise<void> {
    const files = this.members.map(({ body }) => body);
    const results = await this.calls.startUploads?.({ files }, { idempotencyKey: this.key });
    this.members.forEach(({ key }, index) => {
      const result = results?.[index];
      if (result !== undefined) this.results.set(key, result);
    });
  }
}
