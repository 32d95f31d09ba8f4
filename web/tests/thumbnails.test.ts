import type { FileInfo, PreviewResult } from "@we-upload/client";
import { signal } from "@preact/signals";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createLoader } from "../src/files/thumbnail-loader";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

const file = (id: string, status = "available") => ({ id, status }) as FileInfo;
const ready = (id: string) => ({ id, preview: { state: "ready", small: { url: `https://bucket/${id}` } }, error: null }) as PreviewResult;
const pending = (id: string) => ({ id, preview: { state: "pending", small: null }, error: null }) as PreviewResult;

function setUp(answer: (id: string, call: number) => PreviewResult) {
  const asked: string[][] = [];
  const thumbnails = signal<ReadonlyMap<string, string>>(new Map());
  const loader = createLoader(async (ids) => {
    asked.push([...ids]);
    return ids.map((id) => answer(id, asked.length));
  }, thumbnails);
  return { asked, thumbnails, loader };
}

test("the rows in view are asked for in one request, and once", async () => {
  const { asked, thumbnails, loader } = setUp(ready);

  loader.load([file("a"), file("b")]);
  loader.load([file("b"), file("c"), file("d", "pending")]);
  await vi.advanceTimersByTimeAsync(100);
  loader.load([file("a"), file("c")]);
  await vi.advanceTimersByTimeAsync(100);

  expect(asked).toEqual([["a", "b", "c"]]);
  expect([...thumbnails.value.keys()]).toEqual(["a", "b", "c"]);
});

test("a preview that is being made is asked for again, a few times", async () => {
  const { asked, thumbnails, loader } = setUp((id, call) => (call < 3 ? pending(id) : ready(id)));

  loader.load([file("a")]);
  await vi.advanceTimersByTimeAsync(10_000);

  expect(asked).toHaveLength(3);
  expect(thumbnails.value.get("a")).toBe("https://bucket/a");

  const endless = setUp(pending);
  endless.loader.load([file("a")]);
  await vi.advanceTimersByTimeAsync(600_000);
  expect(endless.asked).toHaveLength(6);
});

test("a thumbnail that cannot be shown is asked for again, but not without end", async () => {
  const { asked, thumbnails, loader } = setUp(ready);

  loader.load([file("a")]);
  for (let round = 0; round < 10; round += 1) {
    await vi.advanceTimersByTimeAsync(100);
    loader.forget(file("a"));
  }

  expect(asked).toHaveLength(5);
  expect(thumbnails.value.has("a")).toBe(false);
});
