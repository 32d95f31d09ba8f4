/** Cancelled uploads: the server deletes what it knows of them, and what they held is free for the next upload. */

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { memoryStateStore, type Uploader } from "../src/index.js";
import { FakeServer, type Seen } from "./support/fake-server.js";
import { addOne, file, finish, setUp, stopClock, until } from "./support/upload-setup.js";

beforeEach(stopClock);
afterEach(() => vi.useRealTimers());

const START = /files\/(upload|uploads|multipart)$/;
const isStart = ({ path }: Seen) => START.test(path);
const isDeletion = ({ method }: Seen) => method === "DELETE";

/** Hold back the answers to some requests; the server has acted on them. */
function hold(server: FakeServer, matches: (request: Seen) => boolean): () => void {
  let release = () => {};
  const held = new Promise<undefined>((resolve) => (release = () => resolve(undefined)));
  const repeat = (request: Seen) =>
    server.fetch(`${server.url}${request.path}`, { method: request.method, headers: request.headers, body: JSON.stringify(request.body) });
  server.fault = async (request) => {
    if (!matches(request)) return undefined;
    server.fault = () => undefined;
    const answer = request.method === "DELETE" ? undefined : await repeat(request);
    await held;
    return answer;
  };
  return () => release();
}

describe("a cancelled upload", () => {
  test("is cancelled once the server has deleted what was sent", async () => {
    const server = new FakeServer();
    server.putMs = 1000;
    const { uploader, states } = setUp({}, server);
    const id = addOne(uploader, file(5500));
    await until(() => server.putsNow > 0);
    const release = hold(server, isDeletion);
    const settled = uploader.settled(id);
    const cancelled = uploader.cancel(id);
    await until(() => server.calls("DELETE", /files/).length === 1);
    expect(uploader.get(id)?.state).toBe("cancelling");
    release();
    await cancelled;
    expect((await settled).state).toBe("cancelled");
    await until(() => states.get(id)?.at(-1) === "cancelled");
    expect(states.get(id)?.slice(-2)).toEqual(["cancelling", "cancelled"]);
    expect(server.files.size).toBe(0);
  });

  test("is deleted once when it is cancelled twice", async () => {
    const server = new FakeServer();
    server.putMs = 1000;
    const { uploader } = setUp({}, server);
    const id = addOne(uploader, file(5500));
    await until(() => server.putsNow > 0);
    await Promise.all([uploader.cancel(id), uploader.cancel(id)]);
    expect(server.calls("DELETE", /files/)).toHaveLength(1);
  });

  test("that cannot be deleted has failed, and goes on with a retry", async () => {
    const server = new FakeServer();
    server.putMs = 1000;
    const { uploader } = setUp({ triesMax: 2 }, server);
    const id = addOne(uploader, file(5500));
    await until(() => server.putsNow > 0);
    server.putMs = 0;
    server.fault = (request) => (isDeletion(request) ? Promise.reject(new TypeError("no connection")) : undefined);
    const outcome = uploader.cancel(id).catch((error: unknown) => error);
    await until(() => uploader.get(id)?.state === "failed");
    expect(await outcome).toMatchObject({ code: "connection_lost" });
    expect(uploader.get(id)?.error).toMatchObject({ code: "connection_lost", isRetryable: true });
    server.fault = () => undefined;
    uploader.retry(id);
    expect((await finish(uploader, id)).state).toBe("verified");
    expect(server.files.size).toBe(1);
  });

  test("is not taken for the file that is chosen again", async () => {
    const server = new FakeServer();
    server.putMs = 600_000;
    const shared = { stateStore: memoryStateStore() };
    const first = setUp(shared, server);
    const id = addOne(first.uploader, file(5500));
    await until(() => server.putsNow > 0);
    first.uploader.close();
    server.putMs = 0;
    const { uploader } = setUp(shared, server);
    await uploader.restore();
    const release = hold(server, isDeletion);
    const cancelled = uploader.cancel(id);
    const again = addOne(uploader, file(5500));
    expect(again).not.toBe(id);
    release();
    await cancelled;
    expect((await finish(uploader, again)).state).toBe("verified");
    expect(server.files.size).toBe(1);
  });
});

/** Expect that the server keeps no file of the cancelled uploads, and got no bytes of them. */
async function expectCancelled(uploader: Uploader, server: FakeServer, cancellations: readonly Promise<void>[]): Promise<void> {
  const count = (wanted: string) => uploader.items.filter(({ state }) => state === wanted).length;
  // On a slow machine, a file that was not part of the joint request is verified before the cancellation.
  await Promise.all([...cancellations, until(() => server.files.size === count("verified"))]);
  expect(count("cancelled")).toBeGreaterThan(0);
  expect(count("cancelled") + count("verified")).toBe(uploader.items.length);
  expect(server.puts()).toHaveLength(count("verified"));
}

describe("a cancellation during the start", () => {
  for (const [kind, count, size] of [
    ["one request", 1, 100],
    ["a joint request", 8, 100],
    ["parts", 1, 5500],
  ] as const) {
    test(`of ${kind} waits for the answer, and deletes the upload`, async () => {
      const { server, uploader } = setUp();
      const release = hold(server, isStart);
      const ids = uploader.add(Array.from({ length: count }, (_, index) => file(size, `${index}`))).map(({ id }) => id);
      await until(() => server.files.size > 0);
      const cancelled = ids.map((id) => uploader.cancel(id));
      await vi.advanceTimersByTimeAsync(1000);
      // On a slow machine, some files of the joint request were not part of it.
      expect(uploader.items.some(({ state }) => state === "cancelling")).toBe(true);
      release();
      await expectCancelled(uploader, server, cancelled);
    });

    test(`of ${kind} finds the upload whose answer was lost`, async () => {
      const { server, uploader } = setUp();
      let isLost = true;
      server.fault = async (request): Promise<Response | undefined> => {
        if (!isStart(request) || !isLost) return undefined;
        isLost = false;
        await server.fetch(`${server.url}${request.path}`, { method: "POST", headers: request.headers, body: JSON.stringify(request.body) });
        throw new TypeError("reset");
      };
      const ids = uploader.add(Array.from({ length: count }, (_, index) => file(size, `${index}`))).map(({ id }) => id);
      await until(() => uploader.items.some(({ isRetrying }) => isRetrying));
      expect(server.files.size).toBeGreaterThan(0);
      await expectCancelled(uploader, server, ids.map((id) => uploader.cancel(id)));
    });
  }

  test("whose answer cannot be found has failed", async () => {
    const { server, uploader } = setUp({ triesMax: 2 });
    server.fault = (request) => (isStart(request) ? Promise.reject(new TypeError("no connection")) : undefined);
    const id = addOne(uploader, file(5500));
    await until(() => uploader.get(id)?.isRetrying === true);
    const outcome = uploader.cancel(id).catch((error: unknown) => error);
    await until(() => uploader.get(id)?.state === "failed");
    expect(await outcome).toMatchObject({ code: "connection_lost" });
  });

  test("of files that wait for others sends no request for them", async () => {
    const { server, uploader } = setUp();
    let hash = () => {};
    const slow = file(50, "slow");
    const bytes = slow.arrayBuffer.bind(slow);
    slow.arrayBuffer = async () => {
      await new Promise<void>((resolve) => (hash = resolve));
      return bytes();
    };
    const [first, second] = uploader.add([file(10, "a"), slow]).map(({ id }) => id);
    await vi.advanceTimersByTimeAsync(100);
    await uploader.cancel(first ?? "");
    expect(server.calls("POST", START)).toHaveLength(0);
    hash();
    expect((await finish(uploader, second ?? "")).state).toBe("verified");
    expect([...server.files.values()].map(({ filename }) => filename)).toEqual(["slow"]);
  });

  test("of a failed upload that is removed deletes it", async () => {
    const { server, uploader } = setUp({ triesMax: 1 });
    let isLost = true;
    server.fault = async (request): Promise<Response | undefined> => {
      if (!isStart(request) || !isLost) return undefined;
      isLost = false;
      await server.fetch(`${server.url}${request.path}`, { method: "POST", headers: request.headers, body: JSON.stringify(request.body) });
      throw new TypeError("reset");
    };
    const id = addOne(uploader, file(100));
    expect((await finish(uploader, id)).state).toBe("failed");
    expect(server.files.size).toBe(1);
    uploader.remove(id);
    await until(() => server.files.size === 0);
  });
});

/** Cancel an upload that takes most of the quota. The server answers its deletion after `release`. */
async function cancelLargeUpload() {
  const server = new FakeServer();
  server.quotaBytes = 1500;
  server.putMs = 600_000;
  const { uploader } = setUp({}, server);
  const id = addOne(uploader, file(1400, "large"));
  await until(() => server.putsNow > 0);
  const release = hold(server, isDeletion);
  return { server, uploader, release, cancelled: uploader.cancel(id) };
}

describe("quota that a cancelled upload holds", () => {
  for (const [kind, count, size] of [
    ["one request", 1, 600],
    ["a joint request", 6, 100],
    ["parts", 1, 1200],
  ] as const) {
    test(`is free for an upload of ${kind} that starts meanwhile`, async () => {
      const { server, uploader, release, cancelled } = await cancelLargeUpload();
      server.putMs = 0;
      const ids = uploader.add(Array.from({ length: count }, (_, index) => file(size, `${index}`))).map((item) => item.id);
      await until(() => server.calls("POST", START).length > 1);
      const later = Date.now() + 1000;
      await until(() => Date.now() >= later);
      release();
      await cancelled;
      for (const each of ids) expect((await finish(uploader, each)).state).toBe("verified");
      expect(server.files.size).toBe(count);
    });
  }

  test("does not stop two uploads that are cancelled while they wait for each other", async () => {
    const { server, uploader, release, cancelled: first } = await cancelLargeUpload();
    const cancelled = [first];
    const ids = uploader.add([file(1200, "b"), file(1300, "c")]).map((item) => item.id);
    await until(() => server.calls("POST", START).length === 3);
    cancelled.push(...ids.map((each) => uploader.cancel(each)));
    release();
    await Promise.all([...cancelled, until(() => uploader.items.every(({ state }) => state === "cancelled"))]);
    expect(server.files.size).toBe(0);
  });
});
