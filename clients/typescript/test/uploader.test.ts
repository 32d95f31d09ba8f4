import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createHasher } from "../src/hashing.js";
import { createClient, memoryStateStore, type Hasher, type UploadItem, type UploadTotals } from "../src/index.js";
import { json, problem, sha256, storeError, FakeServer, type Seen } from "./support/fake-server.js";
import { fakeLocks } from "./support/locks.js";
import { addOne, ChangingFile, file, finish, setUp, stopClock, until } from "./support/upload-setup.js";

beforeEach(stopClock);
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const isPut = (request: Seen) => request.path.startsWith("/put/");
const partNumbers = (requests: Seen[]) => requests.map((request) => Number(request.path.split("/")[3])).sort((a, b) => a - b);

async function contentOf(source: Blob): Promise<Buffer> {
  return Buffer.from(await source.arrayBuffer());
}

function storedContent(server: FakeServer, item: UploadItem): Buffer | null | undefined {
  return server.files.get(item.fileId ?? "")?.object;
}

describe("one request", () => {
  test("a small file goes by one PUT with a digest and exact headers", async () => {
    const { server, uploader, states } = setUp();
    const source = new File(["hello"], "a.txt", { type: "text/plain" });
    const item = await finish(uploader, addOne(uploader, source));
    expect(item).toMatchObject({
      state: "verified",
      sentBytes: 5,
      sizeBytes: 5,
      error: null,
      file: { filename: "a.txt", status: "available" },
    });
    expect(states.get(item.id)).toEqual(["waiting", "hashing", "sending", "checking", "verified"]);
    const [start] = server.calls("POST", /files\/upload$/);
    expect(start?.body).toMatchObject({
      filename: "a.txt",
      content_type: "text/plain",
      size_bytes: 5,
      sha256: sha256(Buffer.from("hello")),
    });
    expect(start?.headers.get("Idempotency-Key")).toMatch(/^[0-9a-f]{32}$/);
    expect(server.puts()).toHaveLength(1);
    expect(server.puts()[0]?.headers.get("Content-Type")).toBe("text/plain");
    expect(server.puts()[0]?.headers.get("Authorization")).toBeNull();
  });

  test("an empty file is uploaded", async () => {
    const { server, uploader } = setUp();
    const item = await finish(uploader, addOne(uploader, file(0)));
    expect(item.state).toBe("verified");
    expect(storedContent(server, item)).toHaveLength(0);
  });

  test("412 means that an earlier try arrived", async () => {
    const { server, uploader } = setUp();
    let tries = 0;
    server.fault = async (request) => {
      if (!isPut(request) || ++tries > 1) return undefined;
      // The bytes arrive, the answer is lost.
      server.fault = () => undefined;
      await server.fetch(`${server.storeUrl}${request.path}?${request.query}`, {
        method: "PUT",
        body: new Uint8Array(request.body as Buffer),
      });
      throw new TypeError("connection reset");
    };
    const item = await finish(uploader, addOne(uploader, file(100)));
    expect(item.state).toBe("verified");
    expect(server.puts()).toHaveLength(3);
    expect(server.calls("POST", /files\/upload$/)).toHaveLength(2);
    expect(server.files.size).toBe(1);
  });

  test("an expired signature is replaced, for the same file", async () => {
    const { server, uploader } = setUp();
    server.fault = (request) => {
      if (!isPut(request)) return;
      server.expireSignatures();
      server.fault = () => undefined;
    };
    const item = await finish(uploader, addOne(uploader, file(100)));
    expect(item.state).toBe("verified");
    const starts = server.calls("POST", /files\/upload$/);
    expect(new Set(starts.map((start) => start.headers.get("Idempotency-Key"))).size).toBe(1);
    expect(starts).toHaveLength(2);
    expect(server.files.size).toBe(1);
  });
});

describe("parts", () => {
  test("a large file goes in parts, and the store compares a checksum of the whole", async () => {
    const { server, uploader, states } = setUp();
    const source = file(10_500);
    const item = await finish(uploader, addOne(uploader, source));
    expect(item.state).toBe("verified");
    expect(states.get(item.id)).toEqual(["waiting", "sending", "checking", "verified"]);
    expect(partNumbers(server.puts())).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    expect(storedContent(server, item)).toEqual(await contentOf(source));
    expect(server.calls("POST", /complete$/)[0]?.body).toMatchObject({ crc64nvme: expect.stringMatching(/^.{11}=$/) });
  });

  test("parts with digests of their own have no checksum of the whole", async () => {
    const { server, uploader } = setUp({ multipartDigest: "part-sha256" });
    const source = file(2500);
    const item = await finish(uploader, addOne(uploader, source));
    expect(item.state).toBe("verified");
    const content = await contentOf(source);
    const digests = server.puts().map((put) => [Number(put.path.split("/")[3]), put.headers.get("x-digest")]);
    expect(Object.fromEntries(digests)).toEqual({
      1: sha256(content.subarray(0, 1000)),
      2: sha256(content.subarray(1000, 2000)),
      3: sha256(content.subarray(2000)),
    });
    expect(server.calls("POST", /complete$/)[0]?.body).toEqual({});
  });

  test("350 parts need four calls for signatures", async () => {
    const { server, uploader } = setUp();
    await finish(uploader, addOne(uploader, file(350_000)));
    const calls = server.calls("POST", /parts$/);
    expect(calls.map((call) => (call.body as { parts: unknown[] }).parts.length)).toEqual([100, 100, 100, 50]);
  });

  test("no more requests run at once than all lanes together", async () => {
    const server = new FakeServer();
    server.putMs = 20;
    const { uploader } = setUp({ lanesMax: 5, filesMax: 3 }, server);
    const ids = uploader.add([file(30_000, "a"), file(30_001, "b"), file(30_002, "c"), file(500, "d")]).map((item) => item.id);
    for (const id of ids) expect((await finish(uploader, id)).state).toBe("verified");
    expect(server.putsMax).toBe(5);
  });

  test("one file starts with four lanes and gets up to ten", async () => {
    const server = new FakeServer();
    server.putMs = 20;
    const { uploader } = setUp({}, server);
    const id = addOne(uploader, file(200_000));
    await until(() => server.putsNow > 0);
    expect(server.putsMax).toBe(4);
    expect((await finish(uploader, id)).state).toBe("verified");
    // How fast lanes are added depends on the machine's load.
    expect(server.putsMax).toBeGreaterThan(6);
    expect(server.putsMax).toBeLessThanOrEqual(10);
  });

  test("no more of the file is read at once than the lanes hold", async () => {
    const server = new FakeServer();
    server.putMs = 20;
    const hasher = createHasher();
    let read = 0;
    let most = 0;
    const counting: Hasher = {
      ...hasher,
      sha256: (blob, options) => {
        most = Math.max(most, ++read - (server.puts().length - server.putsNow));
        return hasher.sha256(blob, options);
      },
    };
    const { uploader } = setUp({ multipartDigest: "part-sha256", lanes: { start: 3, max: 3 }, hasher: counting }, server);
    expect((await finish(uploader, addOne(uploader, file(20_000)))).state).toBe("verified");
    expect(read).toBe(20);
    expect(most).toBe(3);
  });

  test("parts that the server misses at the end are sent again", async () => {
    const { server, uploader } = setUp();
    server.fault = (request) => {
      if (!request.path.endsWith("/complete")) return;
      server.fault = () => undefined;
      for (const stored of server.files.values()) stored.parts.delete(2);
    };
    const item = await finish(uploader, addOne(uploader, file(3500)));
    expect(item.state).toBe("verified");
    expect(partNumbers(server.puts())).toEqual([1, 2, 2, 3, 4]);
  });

  test("an upload that was completed elsewhere is verified", async () => {
    const { server, uploader } = setUp();
    server.fault = (request) => {
      if (!isPut(request)) return;
      for (const stored of server.files.values()) stored.status = "available";
    };
    expect((await finish(uploader, addOne(uploader, file(3500)))).state).toBe("verified");
  });
});

describe("retries", () => {
  test("server errors, throttling and lost connections are tried again", async () => {
    const { server, uploader } = setUp();
    const faults = [
      () => storeError(503, "SlowDown"),
      () => storeError(500, "InternalError"),
      () => storeError(400, "RequestTimeout"),
      () => problem(429, "slow"),
      () => Promise.reject(new TypeError("reset")),
    ];
    server.fault = (request) => (isPut(request) ? faults.shift()?.() : undefined);
    const source = file(3500);
    const item = await finish(uploader, addOne(uploader, source));
    expect(item).toMatchObject({ state: "verified", isRetrying: false });
    expect(server.puts()).toHaveLength(9);
    expect(storedContent(server, item)).toEqual(await contentOf(source));
  });

  test("every try of a part has a signature of its own", async () => {
    const { server, uploader } = setUp();
    let failures = 3;
    server.fault = (request) => (isPut(request) && failures-- > 0 ? storeError(503, "SlowDown") : undefined);
    await finish(uploader, addOne(uploader, file(3500)));
    const signatures = server.puts().map((put) => put.query.get("signature"));
    expect(new Set(signatures).size).toBe(signatures.length);
  });

  test("the waits grow, and Retry-After is honoured", async () => {
    const { server, uploader } = setUp();
    const at: number[] = [];
    const answers = [
      storeError(503, "SlowDown"),
      storeError(503, "SlowDown"),
      new Response("", { status: 503, headers: { "Retry-After": "40" } }),
    ];
    server.fault = (request) => {
      if (!isPut(request)) return undefined;
      at.push(Date.now());
      return answers.shift();
    };
    await finish(uploader, addOne(uploader, file(100)));
    const waits = at.slice(1).map((time, index) => time - (at[index] ?? 0));
    expect(waits[0]).toBeGreaterThanOrEqual(250);
    expect(waits[0]).toBeLessThan(450);
    expect(waits[1]).toBeGreaterThanOrEqual(500);
    expect(waits[1]).toBeLessThan(700);
    expect(waits[2]).toBeGreaterThanOrEqual(40_000);
    expect(waits[2]).toBeLessThan(40_300);
  });

  test("while it waits for the next try, the upload shows it", async () => {
    const { server, uploader } = setUp();
    server.fault = (request) => (isPut(request) ? storeError(503, "SlowDown") : undefined);
    const id = addOne(uploader, file(100));
    await until(() => uploader.get(id)?.isRetrying === true);
    expect(uploader.get(id)?.state).toBe("sending");
    uploader.close();
  });

  test("an upload fails after so many tries, and goes on when tried again", async () => {
    const { server, uploader } = setUp({ triesMax: 3 });
    server.fault = (request) => (request.path.endsWith("/3") ? storeError(500, "InternalError") : undefined);
    const id = addOne(uploader, file(5500));
    const failed = await finish(uploader, id);
    expect(failed).toMatchObject({ state: "failed", error: { code: "storage_refused", isRetryable: true } });
    expect(failed.error?.message).toBe("The storage refused the upload (status 500, InternalError). Try again.");
    server.fault = () => undefined;
    const sent = server.puts().filter((put) => !put.path.endsWith("/3")).length;
    uploader.retry(id);
    await until(() => uploader.get(id)?.state === "verified");
    expect(server.puts().filter((put) => !put.path.endsWith("/3"))).toHaveLength(Math.max(sent, 5));
    expect(server.files.size).toBe(1);
  });

  test("without a network the upload waits, and goes on with the event", async () => {
    const { server, uploader } = setUp({ triesMax: 2 });
    const browser = { onLine: false };
    vi.stubGlobal("navigator", browser);
    const events = new EventTarget();
    vi.stubGlobal("addEventListener", events.addEventListener.bind(events));
    vi.stubGlobal("removeEventListener", events.removeEventListener.bind(events));
    server.fault = () => (browser.onLine ? undefined : Promise.reject(new TypeError("offline")));
    const id = addOne(uploader, file(3500));
    await until(() => uploader.get(id)?.isRetrying === true);
    await vi.advanceTimersByTimeAsync(10 * 60_000);
    expect(uploader.get(id)).toMatchObject({ error: null, isRetrying: true });
    browser.onLine = true;
    events.dispatchEvent(new Event("online"));
    expect((await finish(uploader, id)).state).toBe("verified");
  });

  test("signatures that are refused again and again end the upload", async () => {
    const { server, uploader } = setUp();
    server.fault = (request) => (isPut(request) ? storeError(403, "AccessDenied") : undefined);
    const item = await finish(uploader, addOne(uploader, file(100)));
    expect(item.error?.code).toBe("storage_refused");
    expect(server.puts()).toHaveLength(3);
  });

  test("a check that takes long is waited for", async () => {
    const { server, uploader } = setUp({ triesMax: 2 });
    let checks = 0;
    server.fault = (request) =>
      request.path.endsWith("/complete") && ++checks < 20 ? problem(409, "upload_withheld", {}, { "Retry-After": "5" }) : undefined;
    const id = addOne(uploader, file(100));
    await until(() => checks > 3);
    expect(uploader.get(id)?.state).toBe("checking");
    expect((await finish(uploader, id)).state).toBe("verified");
    expect(checks).toBe(20);
  });
});

describe("the access token", () => {
  test("is renewed in the middle of an upload", async () => {
    const server = new FakeServer();
    const client = createClient({ baseUrl: server.url, fetch: server.fetch, locks: null, session: "token" });
    await client.accounts.signIn({ email: "ada@example.com", password: "right" });
    const { uploader } = setUp({}, server, client);
    server.fault = (request) => {
      if (!isPut(request)) return;
      server.fault = () => undefined;
      server.accessTokens.clear();
    };
    expect((await finish(uploader, addOne(uploader, file(3500)))).state).toBe("verified");
    expect(server.refreshes).toBe(1);
  });
});

describe("refusals", () => {
  test("a full quota is final, in the words of the API", async () => {
    const server = new FakeServer();
    server.quotaBytes = 50;
    const { uploader } = setUp({}, server);
    const item = await finish(uploader, addOne(uploader, file(100)));
    expect(item.error).toEqual({
      code: "quota_exceeded",
      message: "refused: quota_exceeded",
      isRetryable: false,
      retryAfterSeconds: null,
      problem: expect.objectContaining({ bytes_left: 50 }),
    });
    expect(server.puts()).toHaveLength(0);
    expect(server.calls("POST", /files\/upload$/)).toHaveLength(1);
  });

  test("a session that has ended can be tried again after the next sign-in", async () => {
    const { server, uploader } = setUp();
    const tokens = [...server.accessTokens];
    server.accessTokens.clear();
    const id = addOne(uploader, file(100));
    expect((await finish(uploader, id)).error).toMatchObject({ code: "not_authenticated", isRetryable: true });
    for (const token of tokens) server.accessTokens.add(token);
    uploader.retry(id);
    await until(() => uploader.get(id)?.state === "verified");
  });

  test("a rejected upload is deleted, and a new try declares a new file", async () => {
    const { server, uploader } = setUp();
    server.fault = (request) => {
      if (request.path.endsWith("/complete")) for (const stored of server.files.values()) stored.status = "rejected";
    };
    const id = addOne(uploader, file(3500));
    const failed = await finish(uploader, id);
    expect(failed).toMatchObject({ fileId: null, sentBytes: 0, error: { code: "upload_rejected", isRetryable: true } });
    expect(server.files.size).toBe(0);
    server.fault = () => undefined;
    uploader.retry(id);
    await until(() => uploader.get(id)?.state === "verified");
    const keys = server.calls("POST", /files\/multipart$/).map((call) => call.headers.get("Idempotency-Key"));
    expect(new Set(keys).size).toBe(2);
  });

  test("a failed upload that is removed frees its storage", async () => {
    const { server, uploader } = setUp({ triesMax: 1 });
    server.fault = (request) => (isPut(request) ? storeError(500, "InternalError") : undefined);
    const id = addOne(uploader, file(100));
    await finish(uploader, id);
    expect(server.files.size).toBe(1);
    uploader.remove(id);
    expect(uploader.get(id)).toBeNull();
    await until(() => server.files.size === 0);
  });
});

describe("a file that changes on disk", () => {
  for (const size of [500, 5500]) {
    test(`is noticed while ${size} bytes are sent, and nothing is stored`, async () => {
      const { server, uploader } = setUp();
      const source = new ChangingFile([new Uint8Array(size)], "a.bin");
      server.fault = (request) => {
        if (!isPut(request)) return undefined;
        source.isChanged = true;
        return Promise.reject(new TypeError("upload file changed"));
      };
      const item = await finish(uploader, addOne(uploader, source));
      expect(item.error).toMatchObject({ code: "file_changed", isRetryable: false });
      expect(item.error?.message).toMatch(/^The file was changed, moved or deleted during the upload, so nothing was stored\./);
      expect(server.files.size).toBe(0);
    });
  }

  test("is noticed before the upload is completed", async () => {
    const { server, uploader } = setUp();
    const source = new ChangingFile([new Uint8Array(500)], "a.bin");
    server.fault = (request) => {
      if (isPut(request)) source.isChanged = true;
    };
    expect((await finish(uploader, addOne(uploader, source))).error?.code).toBe("file_changed");
    expect(server.calls("POST", /complete$/)).toHaveLength(0);
    expect(server.files.size).toBe(0);
  });

  test("is noticed by the size and time behind its handle", async () => {
    const { server, uploader } = setUp();
    let current = file(500, "a.bin", 1000);
    server.fault = (request) => {
      if (isPut(request)) current = file(500, "a.bin", 2000);
    };
    const id = uploader.add([{ file: current, handle: { getFile: async () => current } }])[0]?.id ?? "";
    expect((await finish(uploader, id)).error?.code).toBe("file_changed");
    expect(server.files.size).toBe(0);
  });
});

describe("a clock that is set while files are sent", () => {
  for (const days of [-1, 1]) {
    test(`by ${days} day changes neither the upload nor its speed`, async () => {
      const server = new FakeServer();
      server.putMs = 200;
      server.eventMs = 1000;
      const { uploader } = setUp({}, server);
      const id = addOne(uploader, file(200_000));
      const small = uploader.add(Array.from({ length: 12 }, (_, index) => file(10, `${index}.txt`))).map((item) => item.id);
      await until(() => (uploader.get(id)?.sentBytes ?? 0) >= 8000);
      vi.setSystemTime(Date.now() + days * 86_400_000);
      await until(() => (uploader.get(id)?.sentBytes ?? 0) >= 120_000);
      const { bytesPerSecond, secondsLeft } = uploader.get(id) ?? {};
      expect(bytesPerSecond).toBeGreaterThan(1000);
      expect(secondsLeft).toBeLessThan(60);
      for (const each of [id, ...small]) expect((await finish(uploader, each)).state).toBe("verified");
    });
  }
});

test("of a file of 5 GiB, no more is held than the lanes send", async () => {
  const partBytes = 8 * 1024 ** 2;
  const sizeBytes = 5 * 1024 ** 3;
  const server = new FakeServer();
  server.partSizeBytes = partBytes;
  // Ranges instead of bytes: what a part holds is counted, not allocated.
  const film = new File([], "film.mov");
  const slice = (start = 0, end = sizeBytes) => Object.assign(new Blob(["x"]), { range: end - start });
  Object.defineProperties(film, { size: { value: sizeBytes }, slice: { value: slice } });
  let heldBytes = 0;
  let heldMax = 0;
  const { uploader } = setUp(
    {
      hasher: { sha256: () => Promise.reject(new Error("too large")), crc64nvme: async () => "crc", close: () => undefined },
      transport: async ({ url, body, onProgress }) => {
        const { range = 0 } = body as Blob & { readonly range?: number };
        heldMax = Math.max(heldMax, (heldBytes += range));
        await new Promise((resolve) => setTimeout(resolve, 20));
        heldBytes -= range;
        onProgress(range);
        const [, id = "", number = ""] = /put\/([^/]+)\/(\d+)/.exec(url) ?? [];
        server.files.get(id)?.parts.set(Number(number), Buffer.alloc(0));
        return { status: 200, text: "", retryAfter: null };
      },
    },
    server,
  );
  server.fault = ({ path }) => (path.endsWith("/complete") ? json(200, { id: "f", filename: "film.mov", status: "available" }) : undefined);
  const item = await finish(uploader, addOne(uploader, film));
  expect(item).toMatchObject({ state: "verified", sentBytes: sizeBytes });
  expect([...server.files.values()][0]?.parts.size).toBe(640);
  expect(heldMax).toBeLessThanOrEqual(10 * partBytes);
});

describe("pause, resume and cancel", () => {
  test("a pause stops requests and keeps the parts that were sent", async () => {
    const server = new FakeServer();
    server.putMs = 100;
    const { uploader, states } = setUp({}, server);
    const source = file(20_000);
    const id = addOne(uploader, source);
    await until(() => (uploader.get(id)?.sentBytes ?? 0) >= 8000);
    uploader.pause(id);
    await until(() => server.putsNow === 0);
    const kept = [...(server.files.values().next().value?.parts.keys() ?? [])];
    const before = server.puts().length;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(server.puts()).toHaveLength(before);
    expect(uploader.get(id)).toMatchObject({ state: "paused", bytesPerSecond: 0, secondsLeft: null });
    expect(uploader.totals).toMatchObject({ pausedCount: 1, activeCount: 0 });
    uploader.resume(id);
    const item = await finish(uploader, id);
    expect(item.state).toBe("verified");
    const resent = partNumbers(server.puts().slice(before));
    expect(resent.filter((number) => kept.includes(number))).toEqual([]);
    expect(storedContent(server, item)).toEqual(await contentOf(source));
    expect(states.get(id)).toEqual(["waiting", "sending", "paused", "waiting", "sending", "checking", "verified"]);
  });

  test("a pause and a resume at once lose nothing", async () => {
    const server = new FakeServer();
    server.putMs = 100;
    const { uploader } = setUp({}, server);
    const id = addOne(uploader, file(5500));
    await until(() => server.putsNow > 0);
    for (let i = 0; i < 5; i++) {
      uploader.pause(id);
      uploader.resume(id);
    }
    expect((await finish(uploader, id)).state).toBe("verified");
  });

  test("a paused upload lets the next one run", async () => {
    const server = new FakeServer();
    server.putMs = 100;
    const { uploader } = setUp({ filesMax: 1 }, server);
    const [first, second] = uploader.add([file(5500, "a"), file(5501, "b")]).map((item) => item.id);
    await until(() => server.putsNow > 0);
    expect(uploader.get(second ?? "")?.state).toBe("waiting");
    uploader.pause(first);
    expect((await finish(uploader, second ?? "")).state).toBe("verified");
    expect(uploader.get(first ?? "")?.state).toBe("paused");
  });

  test("all uploads are paused and resumed together", async () => {
    const { uploader } = setUp({ filesMax: 1 });
    const ids = uploader.add([file(100, "a"), file(101, "b")]).map((item) => item.id);
    uploader.pause();
    await until(() => uploader.items.every((item) => item.state === "paused"));
    uploader.resume();
    for (const id of ids) await until(() => uploader.get(id)?.state === "verified");
  });

  for (const size of [100, 5500]) {
    test(`a cancelled upload of ${size} bytes leaves nothing on the server`, async () => {
      const server = new FakeServer();
      server.putMs = 1000;
      const { uploader } = setUp({}, server);
      const id = addOne(uploader, file(size));
      await until(() => server.putsNow > 0);
      const cancelled = uploader.cancel(id);
      expect(uploader.get(id)?.state).toBe("cancelling");
      await cancelled;
      expect(uploader.get(id)?.state).toBe("cancelled");
      expect(server.files.size).toBe(0);
      expect(server.calls("DELETE", /files/)[0]?.query.get("permanent")).toBe("true");
      expect(server.putsNow).toBe(0);
    });
  }

  test("an upload that is cancelled while it is declared is deleted too", async () => {
    const { server, uploader } = setUp();
    let answer = () => {};
    server.fault = (request) =>
      request.path.endsWith("/multipart") ? new Promise((resolve) => (answer = () => resolve(undefined))) : undefined;
    const id = addOne(uploader, file(5500));
    await until(() => server.calls("POST", /multipart$/).length === 1);
    const cancelled = uploader.cancel(id);
    answer();
    await cancelled;
    expect(server.files.size).toBe(0);
    expect(server.puts()).toHaveLength(0);
  });

  test("an upload whose declaration got no answer is found and deleted", async () => {
    const { server, uploader } = setUp();
    let isLost = true;
    server.fault = async (request) => {
      if (!request.path.endsWith("/multipart") || !isLost) return undefined;
      isLost = false;
      await server.fetch(`${server.url}${request.path}`, { method: "POST", headers: request.headers, body: JSON.stringify(request.body) });
      throw new TypeError("reset");
    };
    const id = addOne(uploader, file(5500));
    await until(() => uploader.get(id)?.isRetrying === true);
    expect(server.files.size).toBe(1);
    await Promise.all([uploader.cancel(id), until(() => server.files.size === 0)]);
    expect(server.files.size).toBe(0);
  });

  test("an upload that is cancelled before it starts asks the server for nothing", async () => {
    const { server, uploader } = setUp({ filesMax: 1 });
    const [, second] = uploader.add([file(5500, "a"), file(100, "b")]).map((item) => item.id);
    await uploader.cancel(second ?? "");
    await until(() => uploader.totals.verifiedCount === 1);
    expect(server.requests.filter((request) => request.path.endsWith("/upload"))).toHaveLength(0);
  });
});

describe("after a reload", () => {
  /** Send a part of a file, then close the page. */
  async function interrupted(options: Parameters<typeof setUp>[0] = {}, source: File = file(20_000)) {
    const server = new FakeServer();
    server.putMs = 100;
    const stateStore = memoryStateStore();
    const shared = { stateStore, scope: "ada", ...options };
    const first = setUp(shared, server);
    const id = addOne(first.uploader, source);
    await until(() => (first.uploader.get(id)?.sentBytes ?? 0) >= 8000);
    first.uploader.close();
    await until(() => server.putsNow === 0);
    return {
      server,
      shared,
      id,
      stateStore,
      before: server.puts().length,
      sent: [...(server.files.values().next().value?.parts.keys() ?? [])],
    };
  }

  test("the file is asked for, and only the missing parts are sent", async () => {
    const { server, shared, id, before, sent, stateStore } = await interrupted();
    const { uploader } = setUp(shared, server);
    const [restored] = await uploader.restore();
    expect(restored).toMatchObject({ id, name: "a.bin", state: "waiting", needsFile: true, sizeBytes: 20_000 });
    await vi.advanceTimersByTimeAsync(5000);
    expect(server.puts()).toHaveLength(before);
    await uploader.attachFile(id, file(20_000));
    const item = await finish(uploader, id);
    expect(item.state).toBe("verified");
    expect(sent.length).toBeGreaterThanOrEqual(8);
    expect(partNumbers(server.puts().slice(before))).toEqual(
      Array.from({ length: 20 }, (_, index) => index + 1).filter((number) => !sent.includes(number)),
    );
    expect(storedContent(server, item)).toEqual(await contentOf(file(20_000)));
    expect(await stateStore.list("ada")).toEqual([]);
  });

  test("another file is refused: by name, size or time", async () => {
    const { server, shared, id } = await interrupted();
    const { uploader } = setUp(shared, server);
    await uploader.restore();
    for (const other of [file(20_000, "b.bin"), file(20_001), file(20_000, "a.bin", 2000)]) {
      await expect(uploader.attachFile(id, other)).rejects.toMatchObject({ code: "different_file" });
    }
    expect(uploader.get(id)?.needsFile).toBe(true);
  });

  test("another file with the same name, size and time is rejected at the end", async () => {
    const { server, shared, id } = await interrupted();
    const { uploader } = setUp(shared, server);
    await uploader.restore();
    await uploader.attachFile(id, new File([new Uint8Array(20_000)], "a.bin", { lastModified: 1000 }));
    expect((await finish(uploader, id)).error?.code).toBe("upload_rejected");
    expect(server.files.size).toBe(0);
  });

  test("parts with digests are compared before the rest is sent", async () => {
    const { server, shared, id } = await interrupted({ multipartDigest: "part-sha256" });
    const { uploader } = setUp(shared, server);
    await uploader.restore();
    const other = new File([new Uint8Array(20_000)], "a.bin", { lastModified: 1000 });
    await uploader.attachFile(id, other);
    const item = await finish(uploader, id);
    expect(item.state).toBe("verified");
    expect(storedContent(server, item)).toEqual(await contentOf(other));
  });

  test("adding the same file again goes on with the upload", async () => {
    const { server, shared, id } = await interrupted();
    const { uploader } = setUp(shared, server);
    await uploader.restore();
    expect(addOne(uploader, file(20_000))).toBe(id);
    expect((await finish(uploader, id)).state).toBe("verified");
    expect(server.files.size).toBe(1);
  });

  test("a handle that may be read goes on by itself", async () => {
    const source = file(20_000);
    const handle = { getFile: async () => source, queryPermission: async (): Promise<PermissionState> => "granted" };
    const server = new FakeServer();
    server.putMs = 100;
    const shared = { stateStore: memoryStateStore() };
    const first = setUp(shared, server);
    const id = first.uploader.add([{ file: source, handle }])[0]?.id ?? "";
    await until(() => (first.uploader.get(id)?.sentBytes ?? 0) >= 8000);
    first.uploader.close();
    await until(() => server.putsNow === 0);
    const { uploader } = setUp(shared, server);
    await uploader.restore();
    expect((await finish(uploader, id)).state).toBe("verified");
  });

  test("a handle that needs permission is asked for on resume", async () => {
    const source = file(20_000);
    const requestPermission = vi.fn(async (): Promise<PermissionState> => "granted");
    const handle = { getFile: async () => source, queryPermission: async (): Promise<PermissionState> => "prompt", requestPermission };
    const server = new FakeServer();
    server.putMs = 100;
    const shared = { stateStore: memoryStateStore() };
    const first = setUp(shared, server);
    const id = first.uploader.add([{ file: source, handle }])[0]?.id ?? "";
    await until(() => (first.uploader.get(id)?.sentBytes ?? 0) >= 8000);
    first.uploader.close();
    const { uploader } = setUp(shared, server);
    await uploader.restore();
    expect(requestPermission).not.toHaveBeenCalled();
    expect(uploader.get(id)?.needsFile).toBe(true);
    uploader.resume(id);
    expect((await finish(uploader, id)).state).toBe("verified");
  });

  test("a restored upload can be cancelled without its file", async () => {
    const { server, shared, id, stateStore } = await interrupted();
    const { uploader } = setUp(shared, server);
    await uploader.restore();
    await uploader.cancel(id);
    expect(server.files.size).toBe(0);
    expect(await stateStore.list("ada")).toEqual([]);
  });

  test("a browser that stores nothing uploads all the same", async () => {
    const refuse = () => Promise.reject(new DOMException("private window", "SecurityError"));
    const { uploader } = setUp({ stateStore: { list: refuse, put: refuse, delete: refuse } });
    expect(await uploader.restore()).toEqual([]);
    expect((await finish(uploader, addOne(uploader, file(3500)))).state).toBe("verified");
  });

  test("the uploads of another account are not shown", async () => {
    const { server, shared } = await interrupted();
    const { uploader } = setUp({ ...shared, scope: "grace" }, server);
    expect(await uploader.restore()).toEqual([]);
  });

  test("an upload that another tab has is left to it", async () => {
    const server = new FakeServer();
    server.putMs = 100;
    const shared = { stateStore: memoryStateStore(), locks: fakeLocks() };
    const first = setUp(shared, server);
    const id = addOne(first.uploader, file(20_000));
    await until(() => server.putsNow > 0);
    const second = setUp(shared, server);
    expect(await second.uploader.restore()).toEqual([]);
    first.uploader.close();
    await until(() => shared.locks.held.size === 0);
    expect((await second.uploader.restore()).map((item) => item.id)).toEqual([id]);
  });

  test("an upload whose declaration was not answered leads to the same file", async () => {
    const server = new FakeServer();
    const shared = { stateStore: memoryStateStore() };
    const first = setUp(shared, server);
    server.fault = (request) => {
      if (!request.path.endsWith("/multipart")) return undefined;
      server.fault = () => undefined;
      return server
        .fetch(`${server.url}${request.path}`, { method: "POST", headers: request.headers, body: JSON.stringify(request.body) })
        .then(() => {
          first.uploader.close();
          throw new TypeError("page closed");
        });
    };
    const id = addOne(first.uploader, file(3500));
    await until(() => server.files.size === 1);
    const { uploader } = setUp(shared, server);
    await uploader.restore();
    await uploader.attachFile(id, file(3500));
    expect((await finish(uploader, id)).state).toBe("verified");
    expect(server.files.size).toBe(1);
  });
});

describe("events", () => {
  test("progress grows to the size, with a speed and a time left, not more often than ten times a second", async () => {
    const server = new FakeServer();
    server.putMs = 200;
    const { uploader } = setUp({}, server);
    const seen: { at: number; item: UploadItem; totals: UploadTotals }[] = [];
    uploader.subscribe(({ changed, totals }) => {
      for (const item of changed) if (item.state === "sending") seen.push({ at: Date.now(), item, totals });
    });
    const id = addOne(uploader, file(100_000));
    expect((await finish(uploader, id)).state).toBe("verified");
    const sent = seen.map(({ item }) => item.sentBytes);
    expect([...sent].sort((a, b) => a - b)).toEqual(sent);
    expect(seen.some(({ item, totals }) => item.bytesPerSecond > 10_000 && item.secondsLeft !== null && totals.bytesPerSecond > 0)).toBe(
      true,
    );
    const gaps = seen.slice(2).map(({ at }, index) => at - (seen[index + 1]?.at ?? 0));
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(100);
  });

  test("totals leave out what failed or was cancelled", async () => {
    const server = new FakeServer();
    server.quotaBytes = 600;
    const { uploader } = setUp({ filesMax: 1 }, server);
    const ids = uploader.add([file(500, "a"), file(501, "b"), file(50, "c")]).map((item) => item.id);
    for (const id of ids) await finish(uploader, id);
    expect(uploader.totals).toMatchObject({ count: 3, verifiedCount: 2, failedCount: 1, activeCount: 0, sizeBytes: 550, sentBytes: 550 });
    let removed: readonly string[] = [];
    uploader.subscribe(({ removedIds }) => (removed = removedIds));
    uploader.remove();
    await until(() => removed.length > 0);
    expect(removed).toEqual([ids[0], ids[2]]);
    expect(uploader.items.map((item) => item.id)).toEqual([ids[1]]);
  });

  test("a folder's file keeps its path", () => {
    const { uploader } = setUp();
    const [item] = uploader.add([{ file: file(1, "a.jpg"), relativePath: "photos/2026/a.jpg" }]);
    expect(item).toMatchObject({ name: "a.jpg", relativePath: "photos/2026/a.jpg" });
    uploader.close();
  });
});
