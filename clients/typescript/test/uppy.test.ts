import { describe, expect, test, vi } from "vitest";
import { createClient } from "../src/index.js";
import { uppyAdapter, type UppyFile } from "../src/uppy.js";
import { FakeServer } from "./support/fake-server.js";

const MIB = 1024 ** 2;

function setUp() {
  const server = new FakeServer();
  server.partSizeBytes = 8 * MIB;
  const token = server.issueToken();
  const client = createClient({ baseUrl: server.url, fetch: server.fetch, getAccessToken: () => token });
  const adapter = uppyAdapter(client);
  let finishUpload: (ids: string[]) => Promise<void> = () => Promise.resolve();
  let remove: (file: UppyFile) => void = () => undefined;
  const emit = vi.fn();
  adapter.install({
    addPostProcessor: (processor) => (finishUpload = processor),
    getFile: (id) => ({ id }),
    on: (_, listener) => (remove = listener),
    emit,
  });
  const put = async (signed: { url: string; headers: Record<string, string> }, body: BodyInit) =>
    expect((await server.fetch(signed.url, { method: "PUT", headers: signed.headers, body })).status).toBe(200);
  return {
    server,
    awsS3: adapter.awsS3,
    finishUpload: (ids: string[]) => finishUpload(ids),
    remove: (file: UppyFile) => remove(file),
    emit,
    put,
  };
}

describe("the adapter for Uppy 5", () => {
  test("a small file is sent by one request and completed after it", async () => {
    const { server, awsS3, finishUpload, emit, put } = setUp();
    const file = { id: "a", name: "a.txt", type: "text/plain", size: 5 };
    expect(awsS3.shouldUseMultipart(file)).toBe(false);
    const signed = await awsS3.getUploadParameters(file);
    expect(signed).toMatchObject({ method: "PUT", headers: { "Content-Type": "text/plain" } });
    expect(Object.keys(signed.headers)).not.toContain("Content-Length");
    await put(signed, "hello");
    await finishUpload(["a"]);
    expect([...server.files.values()].map((stored) => stored.status)).toEqual(["available"]);
    expect(emit).not.toHaveBeenCalled();
  });

  test("a second try of the same file leads to the same upload", async () => {
    const { server, awsS3 } = setUp();
    const file = { id: "a", size: 5 };
    await awsS3.getUploadParameters(file);
    await awsS3.getUploadParameters(file);
    expect(server.files.size).toBe(1);
  });

  test("a file that the server does not accept is an error of that file", async () => {
    const { awsS3, finishUpload, emit } = setUp();
    await awsS3.getUploadParameters({ id: "a", size: 5 });
    await finishUpload(["a", "unknown"]);
    expect(emit.mock.calls).toEqual([["upload-error", { id: "a" }, { name: "ApiError", message: "refused: upload_missing" }]]);
  });

  test("a large file goes in parts of the server's size", async () => {
    const { server, awsS3, put } = setUp();
    const file = { id: "a", name: "a.bin", size: 65 * MIB };
    expect(awsS3.shouldUseMultipart(file)).toBe(true);
    expect(awsS3.getChunkSize(file)).toBe(8 * MIB);
    const upload = await awsS3.createMultipartUpload(file);
    for (let partNumber = 1; partNumber <= 9; partNumber++) {
      await put(await awsS3.signPart(file, { ...upload, partNumber }), new Uint8Array(partNumber === 9 ? MIB : 8 * MIB));
    }
    expect(await awsS3.listParts(file, upload)).toHaveLength(9);
    expect((await awsS3.listParts(file, upload))[8]).toEqual({ PartNumber: 9, Size: MIB, ETag: "e" });
    await awsS3.completeMultipartUpload(file, upload);
    expect([...server.files.values()].map((stored) => stored.status)).toEqual(["available"]);
  });

  test("an upload whose parts have another size is refused at its start", async () => {
    const { server, awsS3 } = setUp();
    server.partSizeBytes = 16 * MIB;
    await expect(awsS3.createMultipartUpload({ id: "a", size: 65 * MIB })).rejects.toThrow("Update the client.");
    expect(server.files.size).toBe(0);
  });

  test("what is cancelled or removed leaves nothing on the server", async () => {
    const { server, awsS3, remove } = setUp();
    const large = { id: "a", size: 65 * MIB };
    const upload = await awsS3.createMultipartUpload(large);
    await awsS3.getUploadParameters({ id: "b", size: 5 });
    await awsS3.abortMultipartUpload(large, upload);
    await awsS3.abortMultipartUpload(large, upload);
    remove({ id: "b" });
    await vi.waitFor(() => expect(server.files.size).toBe(0));
  });

  test("what is removed while it is started leaves nothing on the server", async () => {
    const { server, awsS3, remove } = setUp();
    let answer = () => {};
    server.fault = ({ path }) => (path.endsWith("/upload") ? new Promise((resolve) => (answer = () => resolve(undefined))) : undefined);
    const started = awsS3.getUploadParameters({ id: "b", size: 5 });
    await vi.waitFor(() => expect(server.calls("POST", /upload$/)).toHaveLength(1));
    remove({ id: "b" });
    answer();
    await expect(started).rejects.toMatchObject({ name: "AbortError" });
    expect(server.files.size).toBe(0);
    expect(server.calls("DELETE", /files/)).toHaveLength(1);
  });
});
