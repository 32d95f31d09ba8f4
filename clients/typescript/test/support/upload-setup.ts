/** An uploader on a fake server, on a clock that the test moves. */

import { vi } from "vitest";
import { createHasher } from "../../src/hashing.js";
import {
  type Client,
  createClient,
  createUploader,
  fetchTransport,
  memoryStateStore,
  type Uploader,
  type UploaderOptions,
  type UploadItem,
} from "../../src/index.js";
import { FakeServer } from "./fake-server.js";

export interface Setup {
  readonly server: FakeServer;
  readonly uploader: Uploader;
  readonly states: Map<string, string[]>;
}

/** Timers stand still unless `until` moves them, so that waits of minutes take no time. */
export function stopClock(): void {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date", "performance"] });
}

function keyedClient(server: FakeServer): Client {
  const token = server.issueToken();
  return createClient({ baseUrl: server.url, fetch: server.fetch, locks: null, getAccessToken: () => token });
}

export function setUp(options: Partial<UploaderOptions> = {}, server = new FakeServer(), client = keyedClient(server)): Setup {
  const uploader = createUploader(client, {
    hasher: createHasher(),
    transport: fetchTransport(server.fetch),
    stateStore: memoryStateStore(),
    locks: null,
    singleMaxBytes: 1000,
    random: () => 0,
    ...options,
  });
  const states = new Map<string, string[]>();
  uploader.subscribe(({ changed }) => {
    for (const { id, state } of changed) {
      const seen = states.get(id) ?? [];
      if (seen.at(-1) !== state) seen.push(state);
      states.set(id, seen);
    }
  });
  return { server, uploader, states };
}

/** Let requests and timers run until `condition` holds. */
export async function until(condition: () => boolean, limitMs = 30 * 60_000): Promise<void> {
  for (let passed = 0; !condition(); passed += 50) {
    if (passed > limitMs) throw new Error("the condition did not come true");
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    if (condition()) return;
    await vi.advanceTimersByTimeAsync(50);
  }
}

export async function finish(uploader: Uploader, id: string): Promise<UploadItem> {
  await until(() => ["verified", "failed", "cancelled"].includes(uploader.get(id)?.state ?? ""));
  return uploader.get(id) as UploadItem;
}

export function file(size: number, name = "a.bin", lastModified = 1000): File {
  return new File([Uint8Array.from({ length: size }, (_, index) => (index * 31 + size) % 251)], name, { lastModified });
}

export function addOne(uploader: Uploader, source: File): string {
  return uploader.add([source])[0]?.id ?? "";
}

/** A file that changes on disk: browsers then fail to read it. */
export class ChangingFile extends File {
  isChanged = false;

  override slice(start?: number, end?: number, type?: string): Blob {
    const piece = super.slice(start, end, type);
    const read = piece.arrayBuffer.bind(piece);
    piece.arrayBuffer = () => (this.isChanged ? Promise.reject(new DOMException("changed", "NotReadableError")) : read());
    return piece;
  }
}
