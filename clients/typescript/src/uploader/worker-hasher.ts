/** A hasher that sends its work to a worker. */

import type { HashAnswer, HashRequest } from "./hash-messages.js";
import type { Hasher, HashOptions } from "./types.js";

interface Job {
  readonly resolve: (digest: string) => void;
  readonly reject: (error: unknown) => void;
  readonly onProgress: ((hashedBytes: number) => void) | undefined;
}

/** The worker is made for the first digest, and made anew after it failed. */
export function createWorkerHasher(createWorker: () => Worker): Hasher {
  const jobs = new Map<number, Job>();
  let worker: Worker | null = null;
  let lastId = 0;

  function failAll(message: string): void {
    const failed = [...jobs.values()];
    jobs.clear();
    worker?.terminate();
    worker = null;
    for (const job of failed) job.reject(new HashWorkerError(message));
  }

  function start(): Worker {
    const started = createWorker();
    started.onmessage = ({ data }: MessageEvent<HashAnswer>) => {
      const job = jobs.get(data.id);
      if (job === undefined) return;
      if (data.kind === "progress") {
        job.onProgress?.(data.hashedBytes);
        return;
      }
      jobs.delete(data.id);
      if (data.kind === "digest") job.resolve(data.digest);
      else job.reject(new DOMException(data.message, data.name));
    };
    started.onerror = (event) => failAll(event.message || "The hash worker failed to load.");
    return started;
  }

  function digest(kind: "sha256" | "crc64nvme", blob: Blob, { signal, onProgress }: HashOptions = {}): Promise<string> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      worker ??= start();
      const id = ++lastId;
      const cancel = () => {
        jobs.delete(id);
        worker?.postMessage({ id, kind: "cancel" } satisfies HashRequest);
        reject(signal?.reason);
      };
      const end = () => signal?.removeEventListener("abort", cancel);
      signal?.addEventListener("abort", cancel, { once: true });
      jobs.set(id, {
        resolve: (value) => (end(), resolve(value)),
        reject: (error) => (end(), reject(error)),
        onProgress,
      });
      worker.postMessage({ id, kind, blob } satisfies HashRequest);
    });
  }

  return {
    sha256: (blob, options) => digest("sha256", blob, options),
    crc64nvme: (blob, options) => digest("crc64nvme", blob, options),
    close: () => failAll("The uploader was closed."),
  };
}

/** The worker failed, not the file. */
export class HashWorkerError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "HashWorkerError";
  }
}
