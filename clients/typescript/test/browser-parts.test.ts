/** What the uploader uses of a browser: a worker, XMLHttpRequest, IndexedDB. */

import { IDBDatabase, IDBFactory } from "fake-indexeddb";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ConnectionError, createUploader, indexedDbStateStore, xhrTransport, type PutRequest, type UploadRecord } from "../src/index.js";
import type { HashAnswer, HashRequest } from "../src/uploader/hash-messages.js";
import { createWorkerHasher, HashWorkerError } from "../src/uploader/worker-hasher.js";
import { sha256 } from "./support/fake-server.js";

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("the hash worker", () => {
  /** A Worker that runs the worker's module in this thread. */
  class LocalWorker {
    onmessage: ((event: { data: HashAnswer }) => void) | null = null;
    onerror: ((event: { message: string }) => void) | null = null;
    readonly requests: HashRequest[] = [];
    isTerminated = false;

    postMessage(request: HashRequest): void {
      this.requests.push(request);
      deliver({ data: request });
    }

    terminate(): void {
      this.isTerminated = true;
    }
  }

  let deliver: (event: { data: HashRequest }) => void = () => undefined;
  let workers: LocalWorker[] = [];
  const createWorker = () => {
    const worker = new LocalWorker();
    workers.push(worker);
    return worker as unknown as Worker;
  };

  beforeEach(async () => {
    workers = [];
    const scope = globalThis as { onmessage?: unknown };
    vi.stubGlobal("postMessage", (data: HashAnswer) => queueMicrotask(() => workers.at(-1)?.onmessage?.({ data })));
    vi.stubGlobal("onmessage", null);
    vi.resetModules();
    await import("../src/hash-worker.js");
    deliver = scope.onmessage as typeof deliver;
  });

  test("is made for the first digest, and computes digests with progress", async () => {
    const hasher = createWorkerHasher(createWorker);
    expect(workers).toHaveLength(0);
    const hashed: number[] = [];
    const digests = await Promise.all([
      hasher.sha256(new Blob(["abc"]), { onProgress: (bytes) => hashed.push(bytes) }),
      hasher.crc64nvme(new Blob(["123456789"])),
    ]);
    expect(digests).toEqual([sha256(Buffer.from("abc")), Buffer.from("ae8b14860a799888", "hex").toString("base64")]);
    expect(hashed).toEqual([3]);
    expect(workers).toHaveLength(1);
  });

  test("hands on why a file cannot be read", async () => {
    const unreadable = new Blob(["abc"]);
    unreadable.arrayBuffer = () => Promise.reject(new DOMException("changed", "NotReadableError"));
    await expect(createWorkerHasher(createWorker).sha256(unreadable)).rejects.toMatchObject({ name: "NotReadableError" });
  });

  test("stops a digest that is not wanted any more", async () => {
    const controller = new AbortController();
    const piece = new Blob([new Uint8Array(64 * 1024 ** 2)]);
    const digest = createWorkerHasher(createWorker).crc64nvme(piece, {
      signal: controller.signal,
      onProgress: () => controller.abort(new Error("paused")),
    });
    await expect(digest).rejects.toThrow("paused");
    expect(workers[0]?.requests.map((request) => request.kind)).toEqual(["crc64nvme", "cancel"]);
  });

  test("that fails to load fails its digests, and the next digest makes another", async () => {
    const hasher = createWorkerHasher(createWorker);
    const load = deliver;
    deliver = () => undefined;
    const digest = hasher.sha256(new Blob(["abc"]));
    workers[0]?.onerror?.({ message: "blocked by the policy" });
    await expect(digest).rejects.toEqual(new HashWorkerError("blocked by the policy"));
    expect(workers[0]?.isTerminated).toBe(true);
    deliver = load;
    expect(await hasher.sha256(new Blob(["abc"]))).toBe(sha256(Buffer.from("abc")));
    expect(workers).toHaveLength(2);
  });

  test("an uploader needs one, or a hasher", () => {
    expect(() => createUploader({ files: {} as never }, {})).toThrow("createUploader needs createWorker, or a hasher");
  });
});

describe("XMLHttpRequest", () => {
  class FakeXhr {
    static last: FakeXhr;
    readonly upload: { onprogress: ((event: { loaded: number }) => void) | null } = { onprogress: null };
    onload: (() => void) | null = null;
    onerror: (() => void) | null = null;
    onabort: (() => void) | null = null;
    readonly headers: [string, string][] = [];
    withCredentials = false;
    status = 0;
    responseText = "";
    responseHeaders = "";
    body: unknown;
    target = "";

    constructor() {
      FakeXhr.last = this;
    }
    open(method: string, url: string): void {
      this.target = `${method} ${url}`;
    }
    setRequestHeader(name: string, value: string): void {
      this.headers.push([name, value]);
    }
    getAllResponseHeaders(): string {
      return this.responseHeaders;
    }
    send(body: unknown): void {
      this.body = body;
    }
    abort(): void {
      this.onabort?.();
    }
  }

  const body = new Blob(["hello"]);
  function start(init: Partial<PutRequest> = {}) {
    vi.stubGlobal("XMLHttpRequest", FakeXhr);
    const sent: number[] = [];
    const answer = xhrTransport()({
      url: "https://store/x",
      method: "PUT",
      headers: { "Content-Length": "5", "If-None-Match": "*" },
      body,
      signal: new AbortController().signal,
      onProgress: (bytes) => sent.push(bytes),
      ...init,
    });
    return { answer, sent, xhr: FakeXhr.last };
  }

  test("sends the headers that a page may set, and tells its progress", async () => {
    const { answer, sent, xhr } = start();
    expect(xhr.target).toBe("PUT https://store/x");
    expect(xhr.headers).toEqual([["If-None-Match", "*"]]);
    expect(xhr.body).toBe(body);
    // A browser that blocks third-party cookies changes nothing: the store gets none.
    expect(xhr.withCredentials).toBe(false);
    xhr.upload.onprogress?.({ loaded: 3 });
    Object.assign(xhr, { status: 503, responseText: "<Error/>", responseHeaders: "etag: x\r\nretry-after: 7\r\n" });
    xhr.onload?.();
    expect(await answer).toEqual({ status: 503, text: "<Error/>", retryAfter: "7" });
    expect(sent).toEqual([3]);
  });

  test("a failed request is a lost connection", async () => {
    const { answer, xhr } = start();
    xhr.onerror?.();
    await expect(answer).rejects.toBeInstanceOf(ConnectionError);
  });

  test("a stopped request rejects with the reason", async () => {
    const controller = new AbortController();
    const { answer } = start({ signal: controller.signal });
    controller.abort(new Error("paused"));
    await expect(answer).rejects.toThrow("paused");
  });

  test("a request that stops moving is a lost connection; one that waits for its turn is not", async () => {
    vi.useFakeTimers();
    const { answer, xhr } = start();
    let isOver = false;
    answer.catch(() => (isOver = true));
    await vi.advanceTimersByTimeAsync(3_600_000);
    expect(isOver).toBe(false);
    xhr.upload.onprogress?.({ loaded: 1 });
    await vi.advanceTimersByTimeAsync(121_000);
    await expect(answer).rejects.toBeInstanceOf(ConnectionError);
  });
});

describe("IndexedDB", () => {
  const record = (id: string, scope: string, addedAt: number) => ({ id, scope, addedAt, name: `${id}.bin`, handle: null }) as UploadRecord;

  test("keeps the unfinished uploads of an account, oldest first, over page loads", async () => {
    const factory = new IDBFactory();
    const store = indexedDbStateStore(factory);
    const now = Date.now();
    await store.put(record("b", "ada", now));
    await store.put(record("a", "ada", now - 1000));
    await store.put(record("c", "grace", now));
    await store.put({ ...record("b", "ada", now), fileId: "f1" });
    const later = indexedDbStateStore(factory);
    expect((await later.list("ada")).map(({ id, fileId }) => [id, fileId])).toEqual([
      ["a", undefined],
      ["b", "f1"],
    ]);
    await later.delete("a");
    expect((await store.list("ada")).map(({ id }) => id)).toEqual(["b"]);
  });

  test("writes many changes in a few transactions, in their order", async () => {
    const factory = new IDBFactory();
    const store = indexedDbStateStore(factory);
    await store.list("ada");
    const transactions = vi.spyOn(IDBDatabase.prototype, "transaction");
    const now = Date.now();
    const ids = Array.from({ length: 200 }, (_, index) => `${index}`);
    await Promise.all(ids.flatMap((id) => [store.put(record(id, "ada", now)), store.put({ ...record(id, "ada", now), fileId: `f${id}` })]));
    await Promise.all(ids.slice(1).map((id) => store.delete(id)));
    expect(transactions.mock.calls.length).toBeLessThan(5);
    transactions.mockRestore();
    expect((await store.list("ada")).map(({ id, fileId }) => [id, fileId])).toEqual([["0", "f0"]]);
  });

  test("a record that cannot be stored does not lose the others", async () => {
    const store = indexedDbStateStore(new IDBFactory());
    const now = Date.now();
    const broken = { ...record("broken", "ada", now), handle: { getFile: () => Promise.reject(new Error("not a handle")) } } as UploadRecord;
    const stored = [record("a", "ada", now), broken, record("b", "ada", now)].map((each) => store.put(each).then(() => true, () => false));
    expect(await Promise.all(stored)).toEqual([true, false, true]);
    expect((await store.list("ada")).map(({ id }) => id)).toEqual(["a", "b"]);
  });

  test("forgets uploads that the server has given up", async () => {
    const store = indexedDbStateStore(new IDBFactory());
    await store.put(record("old", "ada", Date.now() - 15 * 24 * 3600 * 1000));
    expect(await store.list("ada")).toEqual([]);
    await store.put(record("new", "ada", Date.now()));
    expect((await store.list("ada")).map(({ id }) => id)).toEqual(["new"]);
  });

  test("a database that cannot be opened is an error, and is opened again later", async () => {
    const factory = new IDBFactory();
    const open = vi.spyOn(factory, "open").mockImplementationOnce(() => {
      throw new DOMException("private window", "SecurityError");
    });
    const store = indexedDbStateStore(factory);
    await expect(store.list("ada")).rejects.toThrow("private window");
    expect(await store.list("ada")).toEqual([]);
    expect(open).toHaveBeenCalledTimes(2);
  });
});
