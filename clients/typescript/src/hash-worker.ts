/** The hash worker: computes digests beside the page. Built as a worker of its own by the app. */

import { createHasher } from "./hashing.js";
import type { HashAnswer, HashRequest } from "./uploader/hash-messages.js";

/** What this module uses of a worker's global scope; the DOM types describe a page's. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<HashRequest>) => void) | null;
  postMessage(answer: HashAnswer): void;
}

const scope = globalThis as unknown as WorkerScope;
const hasher = createHasher();
const running = new Map<number, AbortController>();

scope.onmessage = ({ data: request }) => {
  if (request.kind === "cancel") {
    running.get(request.id)?.abort();
    return;
  }
  void answer(request.id, request.kind, request.blob);
};

async function answer(id: number, kind: "sha256" | "crc64nvme", blob: Blob): Promise<void> {
  const controller = new AbortController();
  running.set(id, controller);
  const onProgress = (hashedBytes: number) => scope.postMessage({ id, kind: "progress", hashedBytes });
  try {
    const digest = await hasher[kind](blob, { signal: controller.signal, onProgress });
    scope.postMessage({ id, kind: "digest", digest });
  } catch (error) {
    const { name, message } = error instanceof Error || error instanceof DOMException ? error : new Error(String(error));
    scope.postMessage({ id, kind: "error", name, message });
  } finally {
    running.delete(id);
  }
}
