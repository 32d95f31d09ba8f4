import { describe, expect, test } from "vitest";
import { ApiError, BATCH_MAX_FILES, ConnectionError, createClient, createFileBatches } from "../src/index.js";
import { json, problem } from "./support/fake-server.js";

interface Sent {
  readonly method: string;
  readonly path: string;
  readonly body: Record<string, unknown>;
  readonly headers: Headers;
}

/** Calls of many files whose requests `answer` answers. */
function setUp(answer: (request: Sent, number: number) => Response | Promise<Response>) {
  const sent: Sent[] = [];
  const client = createClient({
    baseUrl: "https://files.example.com",
    getAccessToken: () => "token",
    fetch: async (input, init) => {
      const request = new Request(input, init);
      request.signal.throwIfAborted();
      const text = await request.text();
      const body = (text === "" ? {} : JSON.parse(text)) as Record<string, unknown>;
      const one = { method: request.method, path: new URL(request.url).pathname.replace("/api/v1", ""), body, headers: request.headers };
      sent.push(one);
      return answer(one, sent.length);
    },
  });
  return { batches: createFileBatches(client), sent };
}

function idsOf(request: Sent): string[] {
  return request.body["file_ids"] as string[];
}

/** The answer when all files are changed. */
function allChanged(request: Sent, status = "trashed"): Response {
  return json(200, { results: idsOf(request).map((id) => ({ id, status, error: null })) });
}

const ids = (count: number) => Array.from({ length: count }, (_, index) => `file-${index}`);

describe("changes of many files", () => {
  test("a request has at most 100 ids, and the results keep the order", async () => {
    const { batches, sent } = setUp((request) => allChanged(request));
    const results = await batches.delete(ids(2 * BATCH_MAX_FILES + 1));
    expect(sent.map((request) => idsOf(request).length)).toEqual([100, 100, 1]);
    expect(results.map((result) => result.id)).toEqual(ids(201));
    expect(results.every((result) => result.status === "trashed" && result.error === null)).toBe(true);
  });

  test("a change goes on when the page is left", async () => {
    const sent: (RequestInit | undefined)[] = [];
    const fetch = (_: unknown, init?: RequestInit) => Promise.resolve(sent.push(init)).then(() => json(200, { results: [] }));
    const client = createClient({ baseUrl: "https://files.example.com", getAccessToken: () => "token", fetch });
    await createFileBatches(client).delete(["a"]);
    expect(sent.map((init) => init?.keepalive)).toEqual([true]);
  });

  test("no ids need no request", async () => {
    const { batches, sent } = setUp(() => problem(422, "malformed_request"));
    expect(await batches.restore([])).toEqual([]);
    expect(sent).toEqual([]);
  });

  test("each change has its address and body", async () => {
    const { batches, sent } = setUp((request) => allChanged(request));
    await batches.delete(["a"]);
    await batches.purge(["b"]);
    await batches.restore(["c"]);
    await batches.setVisibility(["d"], true);
    await batches.setVisibility(["e"], false);
    expect(sent.map(({ method, path, body }) => [method, path, body])).toEqual([
      ["POST", "/files/delete", { file_ids: ["a"] }],
      ["POST", "/files/purge", { file_ids: ["b"] }],
      ["POST", "/files/restore", { file_ids: ["c"] }],
      ["POST", "/files/visibility", { file_ids: ["d"], is_public: true }],
      ["POST", "/files/visibility", { file_ids: ["e"], is_public: false }],
    ]);
  });

  test("the error of a file is the one that a call for this file would throw", async () => {
    const error = { status: 409, code: "not_in_trash", detail: "The file is not in the trash.", extra: { file_status: "pending" } };
    const { batches } = setUp(() => json(200, { results: [{ id: "a", status: "available", error: null }, { id: "b", status: null, error }] }));
    const [restored, refused] = await batches.restore(["a", "b"]);
    expect(restored).toEqual({ id: "a", status: "available", error: null });
    expect(refused?.status).toBeNull();
    expect(refused?.error).toBeInstanceOf(ApiError);
    expect(refused?.error).toMatchObject({ status: 409, code: "not_in_trash", problem: { file_status: "pending" } });
  });

  test("after a refused request the files of the earlier ones stay changed, and no further request is sent", async () => {
    const { batches, sent } = setUp((request, number) => (number === 2 ? problem(429, "too_many_requests") : allChanged(request)));
    const results = await batches.purge(ids(250));
    expect(sent).toHaveLength(2);
    expect(results.map((result) => result.id)).toEqual(ids(250));
    expect(results.filter((result) => result.error === null)).toHaveLength(100);
    expect(results.slice(100).every((result) => result.error instanceof ApiError && result.error.code === "too_many_requests")).toBe(true);
  });

  test("without a connection each file has the error of the connection", async () => {
    const { batches } = setUp(() => Promise.reject(new TypeError("network")));
    const results = await batches.delete(["a", "b"]);
    expect(results.map((result) => result.error instanceof ConnectionError)).toEqual([true, true]);
  });

  test("an abort rejects", async () => {
    const { batches, sent } = setUp((request) => allChanged(request));
    await expect(batches.delete(["a"], { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: "AbortError" });
    expect(sent).toEqual([]);
  });
});

describe("the trash", () => {
  test("is emptied by requests until there is no more", async () => {
    const { batches, sent } = setUp((_, number) => json(200, { deleted_files: number * 10, has_more: number < 3 }));
    expect(await batches.emptyTrash()).toBe(60);
    expect(sent.map(({ method, path }) => `${method} ${path}`)).toEqual(Array(3).fill("DELETE /files/trash"));
  });

  test("that cannot be emptied is an error", async () => {
    const { batches, sent } = setUp((_, number) => (number === 1 ? json(200, { deleted_files: 5, has_more: true }) : problem(503, "store_unavailable")));
    await expect(batches.emptyTrash()).rejects.toMatchObject({ code: "store_unavailable" });
    expect(sent).toHaveLength(2);
  });
});

describe("uploads of many files", () => {
  test("are declared in one request with its key", async () => {
    const quota = { status: 413, code: "quota_exceeded", detail: "Full.", extra: { bytes_left: 0 } };
    const { batches, sent } = setUp(() => json(200, { results: [{ upload: { file_id: "a" }, error: null }, { upload: null, error: quota }] }));
    const file = { filename: "a.txt", content_type: "text/plain", size_bytes: 1 };
    const results = await batches.startUploads({ files: [file, { ...file, filename: "b.txt" }] }, { idempotencyKey: "key" });
    expect(results.map((result) => result.upload?.file_id ?? result.error?.code)).toEqual(["a", "quota_exceeded"]);
    expect(sent[0]?.path).toBe("/files/uploads");
    expect(sent[0]?.headers.get("Idempotency-Key")).toBe("key");
  });

  test("have a status each, 100 in a request", async () => {
    const { batches, sent } = setUp((request) => json(200, { files: idsOf(request).map((id) => ({ id, status: "available" })) }));
    const states = await batches.statuses(ids(150));
    expect(sent.map((request) => idsOf(request).length)).toEqual([100, 50]);
    expect(states.map((state) => state.id)).toEqual(ids(150));
  });
});
