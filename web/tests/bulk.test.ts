import { ApiError, ConnectionError, type BatchResult, type FileInfo } from "@we-upload/client";
import { describe, expect, it, vi } from "vitest";
import { failureText } from "../src/files/failure-text";

const send = vi.hoisted(() => vi.fn());
vi.mock("../src/core/api", () => ({ api: { http: { call: send } } }));

const { bulkResult, deleteAll, emptyTrash, purgeAllOf, restoreAll, setAllPublic } = await import("../src/files/bulk");

function fileNamed(filename: string): FileInfo {
  return { id: `id of ${filename}`, filename, status: "available", is_public: false } as FileInfo;
}

const gone = new ApiError({ status: 404, code: "file_not_found", detail: "No such file." });
const forbidden = new ApiError({ status: 403, code: "file_forbidden", detail: "Not yours." });
const ended = new ApiError({ status: 401, code: "not_authenticated", detail: "Sign in." });
const [a, b, c] = ["a.txt", "b.txt", "c.txt"].map(fileNamed) as [FileInfo, FileInfo, FileInfo];

describe("what failed", () => {
  it("is named with its reason", () => {
    expect(failureText([{ file: a, error: gone }])).toBe("“a.txt”: This file does not exist any more.");
  });

  it("is counted where the reason is the same", () => {
    const failures = [a, b, c].map((file) => ({ file, error: new ConnectionError(null) }));
    expect(failureText(failures)).toMatch(/^“a\.txt” and 2 other files: /);
    expect(failureText(failures.slice(1))).toMatch(/^“b\.txt” and 1 other file: /);
  });

  it("has a sentence for each reason", () => {
    const text = failureText([
      { file: a, error: gone },
      { file: b, error: forbidden },
      { file: c, error: gone },
    ]);
    expect(text).toBe("“a.txt” and 1 other file: This file does not exist any more. “b.txt”: You have no access to this file.");
  });

  it("is not told after the session has ended", () => {
    expect(failureText([{ file: a, error: ended }])).toBe("");
  });
});

describe("the result of an action", () => {
  it("has the files with their new status, and those that failed", () => {
    const results: readonly BatchResult[] = [
      { id: a.id, status: "trashed", error: null },
      { id: b.id, status: null, error: gone },
      { id: c.id, status: "deleted", error: null },
    ];
    const result = bulkResult([a, b, c], results);
    expect(result.done).toEqual([{ ...a, status: "trashed" }, c]);
    expect(result.failed).toEqual([b]);
    expect(result.error).toBe(gone);
    expect(result.problem).toContain("“b.txt”");
  });

  it("counts a file without a result as failed", () => {
    expect(bulkResult([a, b], [{ id: a.id, status: "trashed", error: null }]).failed).toEqual([b]);
  });
});

describe("an action on many files", () => {
  it("is one request for 100 files", async () => {
    send.mockImplementation((_method: string, _path: string, { body }: { body: { file_ids: string[] } }) =>
      Promise.resolve({ results: body.file_ids.map((id) => ({ id, status: "available", error: null })) }),
    );
    const many = Array.from({ length: 150 }, (_, index) => fileNamed(`${index}.txt`));
    const results = [await deleteAll(many), await restoreAll(many), await purgeAllOf(many), await setAllPublic(many, true)];
    for (const { done, failed, error, problem } of results) expect([done.length, failed, error, problem]).toEqual([150, [], null, ""]);
    const sent = send.mock.calls.map(([method, path, { body }]) => [method, path, body.file_ids.length, body.is_public]);
    expect(sent).toEqual(
      ["delete", "restore", "purge", "visibility"].flatMap((name) =>
        [100, 50].map((count) => ["post", `/api/v1/files/${name}`, count, name === "visibility" ? true : undefined]),
      ),
    );
  });

  it("empties the trash until it is empty", async () => {
    send.mockReset();
    send.mockResolvedValueOnce({ deleted_files: 500, has_more: true }).mockResolvedValueOnce({ deleted_files: 20, has_more: false });
    expect(await emptyTrash()).toBe(520);
    expect(send).toHaveBeenCalledTimes(2);
  });
});
