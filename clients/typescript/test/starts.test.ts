import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { memoryStateStore, type Uploader, type UploadItem } from "../src/index.js";
import { problem, storeError, type FakeServer, type Seen } from "./support/fake-server.js";
import { addOne, file, finish, setUp, stopClock, until } from "./support/upload-setup.js";

beforeEach(stopClock);
afterEach(() => vi.useRealTimers());

const BATCH = /files\/uploads$/;
const ALONE = /files\/upload$/;
const isBatch = ({ path }: Seen) => BATCH.test(path);
const keysOf = (requests: readonly Seen[]) => requests.map(({ headers }) => headers.get("Idempotency-Key"));

function many(count: number): File[] {
  return Array.from({ length: count }, (_, index) => file(5 + (index % 7), `${index}.txt`));
}

async function finishAll(uploader: Uploader): Promise<readonly UploadItem[]> {
  await until(() => uploader.items.every(({ state }) => ["verified", "failed", "cancelled"].includes(state)));
  return uploader.items;
}

function statesOf(items: readonly UploadItem[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { state } of items) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
}

function available(server: FakeServer): string[] {
  return [...server.files.values()].filter(({ status }) => status === "available").map(({ filename }) => filename);
}

describe("many small files", () => {
  test("are started by a few requests", async () => {
    const { server, uploader } = setUp();
    uploader.add(many(300));
    expect(statesOf(await finishAll(uploader))).toEqual({ verified: 300 });
    const starts = server.calls("POST", BATCH).length + server.calls("POST", ALONE).length;
    expect(starts).toBeLessThanOrEqual(50);
    expect(new Set(available(server)).size).toBe(300);
    expect(server.files.size).toBe(300);
  }, 30_000);

  test("use no more connections to the store than other files", async () => {
    const { server, uploader } = setUp({ lanesMax: 4 });
    server.putMs = 20;
    uploader.add(many(60));
    await finishAll(uploader);
    expect(server.putsMax).toBe(4);
  });

  test("are not started twice when the answer is lost", async () => {
    const { server, uploader } = setUp();
    let isLost = false;
    server.fault = async (request): Promise<Response | undefined> => {
      if (!isBatch(request) || isLost) return undefined;
      isLost = true;
      server.fault = () => undefined;
      await server.fetch(new Request(`${server.url}${request.path}`, { method: "POST", headers: request.headers, body: JSON.stringify(request.body) }));
      return Promise.reject(new TypeError("connection lost"));
    };
    uploader.add(many(40));
    expect(statesOf(await finishAll(uploader))).toEqual({ verified: 40 });
    const keys = keysOf(server.calls("POST", BATCH));
    // The lost request, the same as the server got it, and its repetition.
    expect(keys.filter((key) => key === keys[0])).toHaveLength(3);
    expect(server.files.size).toBe(40);
  });

  test("that do not fit are refused, and the others go on", async () => {
    const { server, uploader } = setUp();
    server.quotaBytes = 100;
    uploader.add(Array.from({ length: 15 }, (_, index) => file(10, `${index}.txt`)));
    const items = await finishAll(uploader);
    expect(statesOf(items)).toEqual({ verified: 10, failed: 5 });
    expect(items.find(({ state }) => state === "failed")?.error).toMatchObject({ code: "quota_exceeded", problem: { bytes_left: 0 } });
  });

  test("that did not fit are started alone by a retry", async () => {
    const { server, uploader } = setUp();
    server.quotaBytes = 100;
    uploader.add(Array.from({ length: 15 }, (_, index) => file(10, `${index}.txt`)));
    const refused = (await finishAll(uploader)).filter(({ state }) => state === "failed");
    const batches = server.calls("POST", BATCH).length;
    // A file that was the only one in the queue was started alone before.
    const alone = server.calls("POST", ALONE).length;
    server.quotaBytes = 1000;
    for (const { id } of refused) uploader.retry(id);
    expect(statesOf(await finishAll(uploader))).toEqual({ verified: 15 });
    // A repeated joint start would repeat its refusals.
    expect(server.calls("POST", BATCH)).toHaveLength(batches);
    expect(server.calls("POST", ALONE)).toHaveLength(alone + refused.length);
  });

  test("wait together when the server asks for it", async () => {
    const { server, uploader } = setUp();
    let refusals = 1;
    server.fault = (request) => (isBatch(request) && refusals-- > 0 ? problem(429, "too_many_requests", {}, { "Retry-After": "3" }) : undefined);
    uploader.add(many(30));
    expect(statesOf(await finishAll(uploader))).toEqual({ verified: 30 });
    const keys = keysOf(server.calls("POST", BATCH));
    expect(keys.filter((key) => key === keys[0])).toHaveLength(2);
    expect(keys.length).toBeLessThan(15);
  });

  test("get a new signature for the same file", async () => {
    const { server, uploader } = setUp();
    let refusals = 1;
    server.fault = (request) => (request.method === "PUT" && refusals-- > 0 ? storeError(403, "AccessDenied") : undefined);
    uploader.add(many(10));
    expect(statesOf(await finishAll(uploader))).toEqual({ verified: 10 });
    expect(server.files.size).toBe(10);
  });

  test("leave nothing on the server when they are cancelled", async () => {
    const { server, uploader } = setUp();
    server.putMs = 600_000;
    const items = uploader.add(many(8));
    await until(() => server.files.size === 8);
    await Promise.all(items.map(({ id }) => uploader.cancel(id)));
    expect(server.files.size).toBe(0);
  });

  test("do not hold up a large file, nor it them", async () => {
    const { server, uploader } = setUp({ filesMax: 1 });
    server.putMs = 5;
    const large = addOne(uploader, file(9000, "large.bin"));
    uploader.add(many(20));
    await until(() => available(server).some((name) => name.endsWith(".txt")));
    expect(await finish(uploader, large)).toMatchObject({ state: "verified" });
    expect(statesOf(await finishAll(uploader))).toEqual({ verified: 21 });
  });

  test("are started anew after a reload, and what was started before is deleted", async () => {
    const stateStore = memoryStateStore();
    const first = setUp({ stateStore });
    first.server.putMs = 600_000;
    const sources = many(6);
    const alone = addOne(first.uploader, file(77, "alone.txt"));
    await until(() => first.uploader.get(alone)?.fileId !== null);
    first.uploader.add(sources);
    await until(() => first.server.puts().length === 7);
    first.uploader.close();
    first.server.putMs = 0;

    const { server, uploader } = setUp({ stateStore }, first.server);
    await uploader.restore();
    uploader.add([...sources, file(77, "alone.txt")]);
    expect(statesOf(await finishAll(uploader))).toEqual({ verified: 7 });
    expect(available(server).sort()).toEqual([...sources.map(({ name }) => name), "alone.txt"].sort());
    expect(server.files.size).toBe(7);
  });
});
