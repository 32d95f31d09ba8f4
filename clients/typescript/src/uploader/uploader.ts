/** The queue of uploads: it starts them, notifies listeners, and stores what the next page load needs. */

import type { Http } from "../http.js";
import { defaultLocks } from "../session.js";
import { UploadArrivals } from "./arrivals.js";
import { UploadClaims } from "./claims.js";
import { createWorkerHasher } from "./worker-hasher.js";
import { differentFile } from "./failure.js";
import { UploadEvents } from "./events.js";
import { LanePool } from "./lanes.js";
import { SpeedMeter } from "./progress.js";
import { describeSource, readHandle, requireSameFile } from "./source.js";
import { UploadStarts } from "./starts.js";
import { defaultStateStore } from "./state-store.js";
import { randomId, UploadTask, type TaskContext } from "./task.js";
import { UploadSums } from "./totals.js";
import { defaultTransport } from "./transport.js";
import type { Hasher, UploadCalls, Uploader, UploaderOptions, UploadItem, UploadRecord, UploadSource, UploadTotals } from "./types.js";

/** Up to this size a SHA-256 of the whole is computed in memory, and one request sends the file. */
export const SINGLE_MAX_BYTES = 64 * 1024 ** 2;
/** Speeds fall while nothing is sent, so listeners are notified again. */
const IDLE_EVENT_MS = 1000;

/** Small files that are being sent. More are begun when half of them were sent, so that many are started together. */
const SMALL_FILES_MAX = 100;

export function createUploader(client: { readonly files: UploadCalls; readonly http?: Http }, options: UploaderOptions): Uploader {
  const calls = withBatches(client);
  const tasks = new Map<string, UploadTask>();
  const hasher = options.hasher ?? hasherOf(options);
  const store = options.stateStore === undefined ? defaultStateStore() : options.stateStore;
  const claims = new UploadClaims(options.locks === undefined ? defaultLocks() : options.locks);
  const scope = options.scope ?? "";
  const singleMaxBytes = options.singleMaxBytes ?? SINGLE_MAX_BYTES;
  const filesMax = options.filesMax ?? 6;
  const meter = new SpeedMeter();
  const sums = new UploadSums();
  const events = new UploadEvents(countTotals);
  const waiters = new Map<string, ((item: UploadItem) => void)[]>();
  const lanesMax = options.lanes?.max ?? 10;
  let isClosed = false;

  const context: TaskContext = {
    calls,
    hasher,
    transport: options.transport ?? defaultTransport(),
    pool: new LanePool(options.lanesMax ?? 12),
    starts: new UploadStarts(calls, randomId),
    arrivals: new UploadArrivals(calls),
    cancellations: new Set(),
    lanes: { start: options.lanes?.start ?? 4, max: lanesMax },
    triesMax: options.triesMax ?? 8,
    random: options.random ?? Math.random,
    async keep(record) {
      await claims.take(record.id);
      // Without the record the upload works; only a reload ends it. Private windows and full disks refuse to store.
      await store?.put(record).catch(() => undefined);
    },
    async forget(id) {
      await store?.delete(id).catch(() => undefined);
      claims.release(id);
    },
    onChange(task, kind) {
      if (task.isSettled) tellWaiters(task);
      if (tasks.get(task.id) !== task) return;
      sums.update(task);
      events.announce(task, kind);
    },
    onSent: (bytes) => meter.add(bytes),
    onSmallSent(task) {
      if (smallTasks.delete(task)) schedule();
    },
  };

  let idleTimer: ReturnType<typeof setInterval> | null = null;

  function watchSpeed(): void {
    const isActive = activeCount + smallTasks.size > 0 && !isClosed;
    if (isActive && idleTimer === null) {
      idleTimer = setInterval(() => {
        for (const task of tasks.values()) {
          if (task.state !== "sending") continue;
          task.refresh();
          events.announce(task, "progress");
        }
      }, IDLE_EVENT_MS);
    } else if (!isActive && idleTimer !== null) {
      clearInterval(idleTimer);
      idleTimer = null;
      meter.reset();
    }
  }

  function countTotals(): UploadTotals {
    const { bytesLeft, ...counts } = sums.current;
    const secondsLeft = counts.activeCount === 0 ? null : meter.secondsFor(bytesLeft);
    return { ...counts, bytesPerSecond: Math.round(meter.bytesPerSecond), secondsLeft };
  }

  // The queue

  const queue = new Set<UploadTask>();
  let activeCount = 0;
  const smallTasks = new Set<UploadTask>();

  function enqueue(task: UploadTask): void {
    if (task.state === "waiting" && !task.isActive && !task.needsFile) queue.add(task);
  }

  function schedule(): void {
    const takesSmall = smallTasks.size <= SMALL_FILES_MAX / 2;
    for (const task of queue) {
      const canStartSmall = takesSmall && smallTasks.size < SMALL_FILES_MAX;
      if (isClosed || (activeCount >= filesMax && !canStartSmall)) break;
      if (task.isSmall ? !canStartSmall : activeCount >= filesMax) continue;
      queue.delete(task);
      if (task.state !== "waiting") continue;
      if (task.isSmall) smallTasks.add(task);
      else activeCount++;
      void task.start().then(() => {
        if (task.isSmall) smallTasks.delete(task);
        else activeCount--;
        // Paused and resumed while its requests were ending: it waits for the next run.
        enqueue(task);
        schedule();
      });
    }
    watchSpeed();
  }

  function tellWaiters(task: UploadTask): void {
    const told = waiters.get(task.id);
    waiters.delete(task.id);
    for (const tell of told ?? []) tell(task.snapshot);
  }

  function addTask(record: UploadRecord, file: Blob | null, isRestored: boolean): UploadTask {
    const task = new UploadTask(context, record, file, isRestored);
    tasks.set(task.id, task);
    sums.update(task);
    events.announce(task, "state");
    enqueue(task);
    return task;
  }

  function addSource(source: UploadSource, restored: readonly UploadTask[]): UploadTask {
    const local = describeSource(source);
    // The file of a restored upload was chosen again: go on with it.
    const waiting = restored.find((task) => task.needsFile && isMatch(task, source.file, local.relativePath));
    if (waiting !== undefined) {
      attach(waiting, source.file);
      return waiting;
    }
    const isMultipart = local.sizeBytes > singleMaxBytes;
    return addTask(
      {
        ...local,
        id: randomId(),
        scope,
        fileId: null,
        idempotencyKey: randomId(),
        isMultipart,
        hasPartDigests: isMultipart && options.multipartDigest === "part-sha256",
        addedAt: Date.now(),
      },
      source.file,
      false,
    );
  }

  function selected(id: string | undefined): UploadTask[] {
    if (id === undefined) return [...tasks.values()];
    const task = tasks.get(id);
    return task === undefined ? [] : [task];
  }

  function require(id: string): UploadTask {
    const task = tasks.get(id);
    if (task === undefined) throw new RangeError(`no upload has the id ${id}`);
    return task;
  }

  async function attachFromHandle(task: UploadTask, mayAsk: boolean): Promise<void> {
    const { handle } = task.local;
    if (!task.needsFile || handle === null) return;
    const file = await readHandle(handle, mayAsk);
    if (file === null) return;
    requireSameFile(file, task.local);
    attach(task, file);
    schedule();
  }

  function attach(task: UploadTask, file: Blob): void {
    task.attach(file);
    enqueue(task);
  }

  return {
    get items(): readonly UploadItem[] {
      return [...tasks.values()].map((task) => task.snapshot);
    },
    get totals() {
      return countTotals();
    },
    get: (id) => tasks.get(id)?.snapshot ?? null,
    add(sources) {
      const restored = [...tasks.values()].filter((task) => task.needsFile && !task.isSettled && task.state !== "cancelling");
      const added = [...sources].map((source) => addSource(source instanceof Blob ? { file: source } : source, restored));
      schedule();
      return added.map((task) => task.snapshot);
    },
    pause(id) {
      for (const task of selected(id)) task.pause();
      schedule();
    },
    resume(id) {
      for (const task of selected(id)) {
        if (task.state === "paused") task.queue();
        enqueue(task);
        // A handle that cannot be read leaves the upload waiting for its file.
        if (task.state === "waiting") void attachFromHandle(task, true).catch(() => undefined);
      }
      schedule();
    },
    async cancel(id) {
      const task = require(id);
      try {
        await task.cancel();
      } finally {
        schedule();
      }
    },
    retry(id) {
      const task = require(id);
      if (task.state === "failed") task.queue();
      enqueue(task);
      schedule();
    },
    remove(id) {
      for (const task of selected(id)) {
        const isRemovable = task.state === "verified" || task.state === "cancelled" || (task.state === "failed" && id !== undefined);
        if (!isRemovable) continue;
        tasks.delete(task.id);
        sums.remove(task);
        events.announceRemoval(task);
        // A failed upload may hold storage on the server. What cannot be deleted now, the server deletes later.
        void (task.state === "failed" ? task.cancel() : context.forget(task.id)).catch(() => undefined);
      }
    },
    async restore() {
      const restored: UploadTask[] = [];
      // Where nothing can be stored, nothing can be restored.
      const records = (await store?.list(scope).catch(() => [])) ?? [];
      for (const record of records) {
        if (tasks.has(record.id) || !(await claims.take(record.id))) continue;
        const task = addTask(record, null, true);
        restored.push(task);
        await attachFromHandle(task, false).catch(() => undefined);
      }
      schedule();
      return restored.map((task) => task.snapshot);
    },
    async attachFile(id, file) {
      const task = require(id);
      if (!task.needsFile || task.state === "cancelling") throw differentFile();
      requireSameFile(file, task.local);
      attach(task, file);
      schedule();
    },
    settled(id) {
      const task = require(id);
      if (task.isSettled) return Promise.resolve(task.snapshot);
      return new Promise((resolve) => waiters.set(id, [...(waiters.get(id) ?? []), resolve]));
    },
    subscribe: (listener) => events.subscribe(listener),
    close() {
      isClosed = true;
      for (const task of tasks.values()) task.close();
      claims.releaseAll();
      if (idleTimer !== null) clearInterval(idleTimer);
      events.close();
      hasher.close();
    },
  };
}

function isMatch(task: UploadTask, file: Blob, relativePath: string | null): boolean {
  try {
    requireSameFile(file, task.local);
    return task.local.relativePath === relativePath;
  } catch {
    return false;
  }
}

/** Return the calls, with those about many files where the client can make them. */
function withBatches({ files, http }: { readonly files: UploadCalls; readonly http?: Http }): UploadCalls {
  if (files.startUploads !== undefined || http === undefined) return files;
  return {
    ...files,
    async startUploads(body, options = {}) {
      const headers = { "Idempotency-Key": options.idempotencyKey };
      return (await http.call("post", "/api/v1/files/uploads", { body, headers, signal: options.signal })).results;
    },
    listStates: async (fileIds) => (await http.call("post", "/api/v1/files/status", { body: { file_ids: [...fileIds] } })).files,
    listByIds: async (fileIds) => (await http.page("/api/v1/files", { query: { ids: [...fileIds], limit: fileIds.length } })).items,
  };
}

function hasherOf(options: UploaderOptions): Hasher {
  if (options.createWorker === undefined) throw new TypeError("createUploader needs createWorker, or a hasher");
  return createWorkerHasher(options.createWorker);
}
