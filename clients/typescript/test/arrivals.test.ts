/** Many small files are verified by the events of the store, and one by one where the events do not come. */

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Hasher, Uploader } from "../src/index.js";
import { FakeServer, problem, sha256 } from "./support/fake-server.js";
import { file, setUp, stopClock, until } from "./support/upload-setup.js";

beforeEach(stopClock);
afterEach(() => vi.useRealTimers());

const COMPLETE = /complete$/;
const STATUS = /files\/status$/;

/** In this thread: the clock of the test does not run ahead of it. */
const hasher: Hasher = {
  sha256: async (blob) => sha256(new Uint8Array(await blob.arrayBuffer())),
  crc64nvme: () => Promise.reject(new Error("no file is sent in parts")),
  close: () => undefined,
};

function many(count: number): File[] {
  return Array.from({ length: count }, (_, index) => file(5 + (index % 7), `${index}.txt`));
}

async function finishAll(uploader: Uploader): Promise<Record<string, number>> {
  await until(() => uploader.items.every(({ state }) => ["verified", "failed", "cancelled"].includes(state)));
  const counts: Record<string, number> = {};
  for (const { state } of uploader.items) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
}

function withEvents(eventMs: number | null): FakeServer {
  return Object.assign(new FakeServer(), { eventMs });
}

describe("many small files", () => {
  test("are verified by events, with a few requests for their states", async () => {
    const { server, uploader } = setUp({ hasher }, withEvents(1000));
    uploader.add(many(300));
    expect(await finishAll(uploader)).toEqual({ verified: 300 });
    expect(server.calls("POST", COMPLETE)).toHaveLength(0);
    expect(server.calls("POST", STATUS).length).toBeLessThan(20);
    expect(uploader.items.map(({ file: stored }) => stored?.filename)).toEqual(many(300).map(({ name }) => name));
  }, 30_000);

  test("that wait for their events do not hold up the others", async () => {
    const { uploader } = setUp({ hasher }, withEvents(3500));
    uploader.add(many(300));
    let waitingMax = 0;
    uploader.subscribe(() => {
      waitingMax = Math.max(waitingMax, uploader.items.filter(({ state }) => state === "checking").length);
    });
    expect(await finishAll(uploader)).toEqual({ verified: 300 });
    expect(waitingMax).toBeGreaterThan(150);
  }, 30_000);

  test("are completed one by one when the events do not come", async () => {
    const { server, uploader } = setUp({ hasher }, withEvents(null));
    uploader.add(many(40));
    expect(await finishAll(uploader)).toEqual({ verified: 40 });
    expect(server.calls("POST", COMPLETE)).toHaveLength(40);
    // The next files do not wait.
    const asked = server.calls("POST", STATUS).length;
    expect(asked).toBeLessThan(12);
    uploader.add(many(40).map((each) => new File([each], `again-${each.name}`)));
    expect(await finishAll(uploader)).toEqual({ verified: 80 });
    expect(server.calls("POST", STATUS)).toHaveLength(asked);
  });

  test("whose event is lost are completed after the others", async () => {
    const { server, uploader } = setUp({ hasher }, withEvents(500));
    server.isEventLost = (name) => name.endsWith("7.txt");
    uploader.add(many(40));
    expect(await finishAll(uploader)).toEqual({ verified: 40 });
    expect(server.calls("POST", COMPLETE)).toHaveLength(4);
  });

  test("are completed one by one when their states cannot be read", async () => {
    const { server, uploader } = setUp({ hasher }, withEvents(600_000));
    server.fault = (request) => (STATUS.test(request.path) ? problem(404, "not_found") : undefined);
    uploader.add(many(20));
    expect(await finishAll(uploader)).toEqual({ verified: 20 });
    expect(server.calls("POST", COMPLETE)).toHaveLength(20);
  });

  test("that the server rejects have failed, and the others are verified", async () => {
    const { server, uploader } = setUp({ hasher }, withEvents(500));
    let rejections = 3;
    server.fault = (request) => {
      const stored = server.files.get(request.path.split("/")[2] ?? "");
      if (request.method === "PUT" && stored !== undefined && rejections-- > 0) stored.status = "rejected";
      return request.method === "PUT" && stored?.status === "rejected" ? new Response(null, { status: 200 }) : undefined;
    };
    uploader.add(many(20));
    expect(await finishAll(uploader)).toEqual({ verified: 17, failed: 3 });
    expect(uploader.items.find(({ state }) => state === "failed")?.error).toMatchObject({ code: "upload_rejected" });
  });

  test("that are cancelled while they wait are deleted", async () => {
    const { server, uploader } = setUp({ hasher }, withEvents(3000));
    const ids = uploader.add(many(12)).map(({ id }) => id);
    await until(() => uploader.items.every(({ state }) => state === "checking"));
    await uploader.cancel(ids[0] ?? "");
    expect(await finishAll(uploader)).toEqual({ verified: 11, cancelled: 1 });
    expect(server.files.size).toBe(11);
  });
});

test("a few small files are completed at once", async () => {
  const { server, uploader } = setUp({ hasher }, withEvents(10_000));
  uploader.add(many(3));
  expect(await finishAll(uploader)).toEqual({ verified: 3 });
  expect(server.calls("POST", COMPLETE)).toHaveLength(3);
  expect(server.calls("POST", STATUS)).toHaveLength(0);
});
