/**
 * Waits until the server has verified small files by the events of the store: one request for the states of up to 100 files, in place of
 * one request to complete each of them.
 */

import type * as api from "../api-types.js";
import type { UploadCalls } from "./types.js";

const POLL_MS = 500;
const FILES_MAX = 100;
/** Without a verified file for this long, the server may have no events, or late ones: the uploads are completed one by one. */
const PATIENCE_MS = 4_000;

interface Waiter {
  /** Null: the upload must be completed by a request of its own, which also tells why it failed. */
  readonly resolve: (file: api.FileInfo | null) => void;
}

export class UploadArrivals {
  /** By the id of the file. The file that was asked about last is the last. */
  private readonly waiting = new Map<string, Waiter>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private verifiedAt = 0;
  private hasEvents = true;

  constructor(private readonly calls: UploadCalls) {}

  /** Wait for a file whose bytes were sent. Resolves with null if its upload must be completed by a request of its own. */
  wait(fileId: string, signal: AbortSignal): Promise<api.FileInfo | null> {
    if (!this.hasEvents || this.calls.listStates === undefined) return Promise.resolve(null);
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      const stop = () => {
        this.waiting.delete(fileId);
        reject(signal.reason);
      };
      signal.addEventListener("abort", stop, { once: true });
      if (this.waiting.size === 0) this.verifiedAt = performance.now();
      this.waiting.set(fileId, {
        resolve: (file) => {
          signal.removeEventListener("abort", stop);
          this.waiting.delete(fileId);
          resolve(file);
        },
      });
      this.timer ??= setTimeout(() => void this.poll(), POLL_MS);
    });
  }

  /** Never rejects. */
  private async poll(): Promise<void> {
    const asked = [...this.waiting.keys()].slice(0, FILES_MAX);
    try {
      await this.resolveEnded(asked);
      if (performance.now() - this.verifiedAt > PATIENCE_MS) this.giveUp();
    } catch {
      // The requests that complete the files are repeated, and report what is wrong.
      this.giveUp();
    }
    this.timer = this.waiting.size > 0 ? setTimeout(() => void this.poll(), POLL_MS) : undefined;
  }

  private async resolveEnded(asked: readonly string[]): Promise<void> {
    const states = asked.length > 0 ? ((await this.calls.listStates?.(asked)) ?? []) : [];
    const available = states.filter(({ status }) => status === "available").map(({ id }) => id);
    const files = available.length > 0 ? ((await this.calls.listByIds?.(available)) ?? []) : [];
    if (files.length > 0) this.verifiedAt = performance.now();
    for (const file of files) this.waiting.get(file.id)?.resolve(file);
    for (const { id, status } of states) {
      const waiter = this.waiting.get(id);
      if (waiter === undefined) continue;
      if (status !== "pending") waiter.resolve(null);
      // Asked again after the others.
      else this.waiting.delete(id), this.waiting.set(id, waiter);
    }
  }

  private giveUp(): void {
    this.hasEvents = false;
    for (const waiter of [...this.waiting.values()]) waiter.resolve(null);
  }
}
