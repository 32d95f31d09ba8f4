/** One upload: its state, and the steps from a local file to a verified one. They stay together, because each step may be stopped at any time. */

import type * as api from "../api-types.js";
import { ApiError } from "../errors.js";
import { isEnded, toFailure } from "./failure.js";
import type { UploadArrivals } from "./arrivals.js";
import type { LanePool } from "./lanes.js";
import { sendMissingParts, type PartsJob } from "./parts.js";
import { SentBytes, SpeedMeter } from "./progress.js";
import { retryCall, type RetryPolicy } from "./retry.js";
import { sendBytes } from "./send.js";
import { requireUnchanged, type LocalFile } from "./source.js";
import { BATCHED_MAX_BYTES, type UploadStarts } from "./starts.js";
import type { Hasher, Transport, UploadCalls, UploadFailure, UploadItem, UploadRecord, UploadState } from "./types.js";

/** What all uploads of an uploader share. */
export interface TaskContext {
  readonly calls: UploadCalls;
  readonly hasher: Hasher;
  readonly transport: Transport;
  readonly pool: LanePool;
  readonly starts: UploadStarts;
  readonly arrivals: UploadArrivals;
  /** Cancellations in progress. They free quota. */
  readonly cancellations: Set<Promise<void>>;
  readonly lanes: { readonly start: number; readonly max: number };
  readonly triesMax: number;
  readonly random: () => number;
  /** Take the upload for this tab and keep its record. Repeated calls update the record. */
  readonly keep: (record: UploadRecord) => Promise<void>;
  /** Delete the record, and let other tabs have the upload. */
  readonly forget: (id: string) => Promise<void>;
  readonly onChange: (task: UploadTask, kind: "state" | "progress") => void;
  readonly onSent: (bytes: number) => void;
  /** A small file was sent, or its run has ended: the next one may begin. */
  readonly onSmallSent: (task: UploadTask) => void;
}

/** The user stopped the upload, or the uploader was closed. */
class Stopped extends Error {}

/** Refusals that may not be repeated once a cancelled upload was deleted. */
const FULL_CODES: ReadonlySet<string> = new Set(["quota_exceeded", "token_quota_exceeded"]);
/** Rounds of sending the parts that the server reports as missing, before the upload fails. */
const ROUNDS_MAX = 3;

export class UploadTask {
  state: UploadState = "waiting";
  error: UploadFailure | null = null;
  private fileId: string | null;
  private idempotencyKey: string;
  private stored: api.FileInfo | null = null;
  private readonly sent = new SentBytes();
  private readonly meter = new SpeedMeter();
  private waits = 0;
  private sha256: string | null = null;
  private crc64nvme: Promise<string> | null = null;
  private run: { readonly controller: AbortController; readonly ended: Promise<void> } | null = null;
  /** Ends what goes on during a pause: the checksum of the whole. */
  private lifetime = new AbortController();
  /** A declaration was sent whose answer may be lost. */
  private mayBeDeclared: boolean;
  private cancellation: Promise<void> | null = null;
  /** The server may know this upload by its own key, or must start it without others. */
  private startsAlone: boolean;
  /** The batch of an earlier page load cannot be repeated: what it started is deleted, and the file is sent again. */
  private mustRestart: boolean;
  /** Others that are started with this file need not wait for it any more. */
  private arrived: () => void = () => {};
  private shown: UploadItem | null = null;

  constructor(
    private readonly context: TaskContext,
    private readonly kept: UploadRecord,
    private file: Blob | null,
    private readonly isRestored: boolean,
  ) {
    this.fileId = kept.fileId;
    this.mustRestart = isRestored && kept.isBatched === true;
    this.startsAlone = isRestored && kept.isBatched !== true;
    this.idempotencyKey = kept.idempotencyKey;
    this.mayBeDeclared = isRestored;
  }

  get id(): string {
    return this.kept.id;
  }

  get local(): LocalFile {
    return this.kept;
  }

  get needsFile(): boolean {
    return this.file === null;
  }

  get isSettled(): boolean {
    return this.state === "verified" || this.state === "failed" || this.state === "cancelled";
  }

  /** Whether it is started together with others. */
  get isSmall(): boolean {
    return !this.kept.isMultipart && this.kept.sizeBytes <= BATCHED_MAX_BYTES;
  }

  get isActive(): boolean {
    return this.run !== null;
  }

  get sentBytes(): number {
    return Math.min(this.sent.total, this.kept.sizeBytes);
  }

  get snapshot(): UploadItem {
    this.shown ??= {
      id: this.id,
      fileId: this.fileId,
      name: this.kept.name,
      relativePath: this.kept.relativePath,
      contentType: this.kept.contentType,
      sizeBytes: this.kept.sizeBytes,
      state: this.state,
      sentBytes: this.sentBytes,
      bytesPerSecond: this.state === "sending" ? Math.round(this.meter.bytesPerSecond) : 0,
      secondsLeft: this.state === "sending" ? this.meter.secondsFor(this.kept.sizeBytes - this.sentBytes) : null,
      isRetrying: this.waits > 0,
      needsFile: this.needsFile,
      error: this.error,
      file: this.stored,
    };
    return this.shown;
  }

  /** Mark the snapshot as out of date. */
  refresh(): void {
    this.shown = null;
  }

  attach(file: Blob): void {
    this.file = file;
    this.changed("state");
  }

  /** Run until the upload is verified, failed or stopped. Never rejects. */
  start(): Promise<void> {
    if (this.run !== null) return this.run.ended;
    const controller = new AbortController();
    this.error = null;
    if (this.isSmall) this.arrived = this.context.starts.announce();
    const ended = this.upload(controller.signal)
      .catch((error: unknown) => this.stop(error, controller.signal))
      .finally(() => {
        this.arrived();
        this.run = null;
        this.waits = 0;
        this.sent.clearInFlight();
        this.meter.reset();
        this.changed("progress");
      });
    this.run = { controller, ended };
    return ended;
  }

  pause(): void {
    // While the server checks there is nothing to stop.
    if (this.isSettled || this.state === "checking" || this.state === "paused" || this.cancellation !== null) return;
    this.setState("paused");
    this.run?.controller.abort(new Stopped());
  }

  queue(): void {
    this.error = null;
    this.setState("waiting");
  }

  /** Stop, and delete on the server what was sent. Rejects if the server could not be told. */
  cancel(): Promise<void> {
    if (this.state === "verified" || this.state === "cancelled") return Promise.resolve();
    if (this.cancellation !== null) return this.cancellation;
    const { cancellations } = this.context;
    this.setState("cancelling");
    const ended = this.end().finally(() => cancellations.delete(ended));
    cancellations.add(ended);
    this.cancellation = ended;
    return ended;
  }

  private async end(): Promise<void> {
    this.lifetime.abort(new Stopped());
    this.run?.controller.abort(new Stopped());
    let state: UploadState = "cancelled";
    try {
      // A start in progress is awaited: its answer names the upload.
      await this.run?.ended;
      if (this.fileId === null) await this.findStarted();
      await this.discard();
      this.stored = null;
    } catch (error) {
      state = "failed";
      this.error = toFailure(error);
      this.resetDigests(error);
      throw error;
    } finally {
      this.cancellation = null;
      this.setState(state);
    }
  }

  /** Find the upload of a start whose answer was lost: the same request leads to the same file. */
  private async findStarted(): Promise<void> {
    const { isMultipart } = this.kept;
    // Only a restored upload may be known by a request that this page has not sent.
    const mayBeStarted = this.mayBeDeclared && (isMultipart || this.isRestored || this.context.starts.mayBeStarted(this.idempotencyKey));
    if (!mayBeStarted) return;
    if (!isMultipart) {
      // The request has the digest of the file. Without it, the server deletes the upload when it expires.
      if (this.file === null || this.mustRestart) return;
      this.sha256 ??= await this.context.hasher.sha256(this.file).catch(() => null);
      if (this.sha256 === null) return;
    }
    try {
      this.fileId = (await this.requestStart(new AbortController().signal)).file_id;
    } catch (error) {
      // Refused: there is no upload.
      if (!(error instanceof ApiError) || error.isRetryable || error.status === 401) throw error;
    }
  }

  /** Stop all requests; the record stays for a later page load. */
  close(): void {
    this.lifetime.abort(new Stopped());
    this.run?.controller.abort(new Stopped());
  }

  private async upload(signal: AbortSignal): Promise<void> {
    if (this.file === null) throw new Error("the file was not attached");
    // The digest of a small file is computed from what it is now, and declared.
    if (!this.isSmall) await requireUnchanged(this.file, this.kept);
    await this.context.keep(this.record);
    this.stored = this.kept.isMultipart ? await this.sendInParts(this.file, signal) : await this.sendWhole(this.file, signal);
    this.sent.restart(this.kept.sizeBytes);
    this.setState("verified");
    this.context.starts.forget(this.idempotencyKey);
    await this.context.forget(this.id);
  }

  private async stop(error: unknown, signal: AbortSignal): Promise<void> {
    if (signal.aborted && signal.reason instanceof Stopped) return;
    const failure = toFailure(error);
    this.resetDigests(error);
    if (isEnded(failure.code)) {
      await this.discard().catch(() => {
        // The server deletes what was never completed by itself, later. The failure to show is the first one.
      });
      this.fileId = null;
      this.idempotencyKey = randomId();
      this.mayBeDeclared = false;
      this.sent.restart(0);
    } else if (this.fileId === null && !failure.isRetryable) {
      await this.context.forget(this.id);
    }
    this.error = failure;
    this.setState("failed");
  }

  private resetDigests(reason: unknown): void {
    this.lifetime.abort(reason);
    this.lifetime = new AbortController();
    this.crc64nvme = null;
    this.sha256 = null;
  }

  // One request with the whole file

  private async sendWhole(file: Blob, signal: AbortSignal): Promise<api.FileInfo> {
    if (this.mustRestart) {
      await this.deleteStarted();
      this.mustRestart = false;
      this.fileId = null;
    }
    if (this.sha256 === null) {
      this.enter("hashing", signal);
      this.sha256 = await this.context.hasher.sha256(file, { signal });
    }
    const declared = this.declare(signal);
    this.arrived();
    let signed: api.FileUpload | null = (await declared) as api.FileUpload;
    this.enter("sending", signal);
    await sendBytes(
      {
        // The same Idempotency-Key leads to the same file, with a new signature.
        sign: async () => {
          const request = signed ?? ((await this.declare(signal)) as api.FileUpload);
          signed = null;
          return request;
        },
        body: file,
        onProgress: (bytes) => this.setInFlight(0, bytes),
        onRefused: () => undefined,
        checkFile: () => requireUnchanged(file, this.kept),
      },
      { ...this.context, policy: this.policy, signal },
    );
    return this.complete(file, {}, signal);
  }

  /** Declare the file. Not aborted midway: the answer has the id that a cancellation needs. */
  private async declare(signal: AbortSignal): Promise<api.FileUpload | api.MultipartUpload> {
    const { cancellations, starts } = this.context;
    const upload = await this.requestStart(signal).catch(async (error: unknown) => {
      signal.throwIfAborted();
      if (!(error instanceof ApiError && FULL_CODES.has(error.code))) throw error;
      // Alone from now on: a repeated start of many files repeats its refusals, and would start the others again.
      starts.forget(this.idempotencyKey);
      this.startsAlone = true;
      if (cancellations.size === 0) throw error;
      await untilAborted(Promise.allSettled(cancellations), signal);
      return this.requestStart(signal);
    });
    this.fileId = upload.file_id;
    signal.throwIfAborted();
    await this.context.keep(this.record);
    return upload;
  }

  private requestStart(signal: AbortSignal): Promise<api.FileUpload | api.MultipartUpload> {
    const { name: filename, contentType: content_type, sizeBytes: size_bytes, description, isPublic: is_public } = this.kept;
    const declared = { filename, content_type, size_bytes, is_public, ...(description === null ? {} : { description }) };
    const options = { idempotencyKey: this.idempotencyKey };
    return retryCall(this.policy, signal, (): Promise<api.FileUpload | api.MultipartUpload> => {
      this.mayBeDeclared = true;
      if (!this.kept.isMultipart) return this.startWhole({ ...declared, sha256: this.sha256 }, signal);
      return this.context.calls.startMultipart({ ...declared, has_part_digests: this.kept.hasPartDigests }, options);
    });
  }

  private startWhole(body: api.FileCreate, signal: AbortSignal): Promise<api.FileUpload> {
    const { starts } = this.context;
    return this.startsAlone ? starts.startAlone(body, this.idempotencyKey) : starts.start(body, this.idempotencyKey, signal);
  }

  // Parts

  private async sendInParts(file: Blob, signal: AbortSignal): Promise<api.FileInfo> {
    this.enter("sending", signal);
    const isResumed = this.mayBeDeclared;
    const started = this.fileId === null ? ((await this.declare(signal)) as api.MultipartUpload) : null;
    if (!this.kept.hasPartDigests) this.startChecksum(file);
    let parts = started === null || isResumed ? await this.listParts(signal) : { ...started, parts: [], bytes_received: 0 };
    for (let round = 1; ; round++) {
      // Without a list, the upload takes no parts any more: it was completed before, or has ended. `complete` tells.
      if (parts !== null) await this.sendMissing(file, parts, signal);
      this.enter("checking", signal);
      const completion = this.crc64nvme === null ? {} : { crc64nvme: await this.checksum(signal) };
      try {
        return await this.complete(file, completion, signal);
      } catch (error) {
        if (!(error instanceof ApiError && error.code === "parts_missing") || round >= ROUNDS_MAX) throw error;
        this.enter("sending", signal);
        parts = await this.listParts(signal);
      }
    }
  }

  /** Null for a file that takes no parts (any more). */
  private async listParts(signal: AbortSignal): Promise<api.UploadedParts | null> {
    try {
      return await retryCall(this.policy, signal, () => this.context.calls.listParts(this.requireId(), { signal }));
    } catch (error) {
      if (error instanceof ApiError && error.code === "not_in_parts") return null;
      throw error;
    }
  }

  private startChecksum(file: Blob): void {
    if (this.crc64nvme !== null) return;
    this.crc64nvme = this.context.hasher.crc64nvme(file, { signal: this.lifetime.signal });
    // `checksum` and `sendMissing` get the error; until then it must not count as unhandled.
    this.crc64nvme.catch(() => undefined);
  }

  /** Wait for the checksum of the whole; a pause or cancellation ends the wait, not the computation. */
  private checksum(signal: AbortSignal): Promise<string> {
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      this.crc64nvme?.then(resolve, reject);
    });
  }

  private sendMissing(file: Blob, parts: api.UploadedParts, signal: AbortSignal): Promise<void> {
    const job: PartsJob = {
      file,
      local: this.kept,
      hasPartDigests: this.kept.hasPartDigests,
      fileId: this.requireId(),
      parts,
      checksum: this.crc64nvme,
      onStart: (heldBytes) => {
        this.sent.restart(heldBytes);
        this.changed("progress");
      },
      onProgress: (number, bytes) => this.setInFlight(number, bytes),
      onSent: (number, bytes) => {
        this.setInFlight(number, bytes);
        this.sent.finish(number, bytes);
      },
    };
    return sendMissingParts(job, { ...this.context, policy: this.policy, signal });
  }

  // The end

  private async complete(file: Blob, completion: api.UploadCompletion, signal: AbortSignal): Promise<api.FileInfo> {
    await requireUnchanged(file, this.kept);
    this.enter("checking", signal);
    if (this.isSmall) {
      this.context.onSmallSent(this);
      const isWaiting = this.context.starts.isOneOfMany(this.idempotencyKey);
      const arrived = isWaiting ? await this.context.arrivals.wait(this.requireId(), signal) : null;
      if (arrived !== null) return arrived;
    }
    return retryCall(this.policy, signal, async () => {
      // Of many small files, only some are completed at once.
      const release = this.isSmall ? await this.context.pool.acquire(signal) : () => {};
      try {
        return await this.context.calls.complete(this.requireId(), completion);
      } finally {
        release();
      }
    });
  }

  private async deleteStarted(): Promise<void> {
    const fileId = this.fileId;
    if (fileId === null) return;
    await retryCall(this.policy, new AbortController().signal, async () => {
      try {
        await this.context.calls.delete(fileId, { permanent: true });
      } catch (error) {
        if (!(error instanceof ApiError && error.status === 404)) throw error;
      }
    });
  }

  private async discard(): Promise<void> {
    await this.deleteStarted();
    this.context.starts.forget(this.idempotencyKey);
    await this.context.forget(this.id);
  }

  private get record(): UploadRecord {
    const isBatched = this.context.starts.isBatched(this.idempotencyKey);
    return { ...this.kept, fileId: this.fileId, idempotencyKey: this.idempotencyKey, isBatched };
  }

  private requireId(): string {
    if (this.fileId === null) throw new Error("the file was not declared");
    return this.fileId;
  }

  private get policy(): RetryPolicy {
    const { triesMax, random } = this.context;
    const onWaiting = (isWaiting: boolean) => {
      this.waits += isWaiting ? 1 : -1;
      this.changed("state");
    };
    return { triesMax, random, onWaiting };
  }

  private setInFlight(number: number, bytes: number): void {
    const grown = this.sent.update(number, bytes);
    this.meter.add(grown);
    this.context.onSent(grown);
    this.changed("progress");
  }

  /** Begin a step. A run that was stopped begins none: its upload may be waiting for the next run. */
  private enter(state: UploadState, signal: AbortSignal): void {
    signal.throwIfAborted();
    this.setState(state);
  }

  private setState(state: UploadState): void {
    // A cancellation sets the state at its end.
    if (this.state === state || this.state === "cancelled" || this.cancellation !== null) return;
    this.state = state;
    this.changed("state");
  }

  private changed(kind: "state" | "progress"): void {
    this.refresh();
    this.context.onChange(this, kind);
  }
}

function untilAborted(promise: Promise<unknown>, signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    promise.then(resolve, reject);
  });
}

/** `crypto.randomUUID` exists on https and localhost only. */
export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
