/** Tells listeners what changed: state at once, progress at most ten times a second. */

import type { UploadTask } from "./task.js";
import type { UploaderEvent, UploadTotals } from "./types.js";

const PROGRESS_EVENT_MS = 100;

export class UploadEvents {
  private readonly listeners = new Set<(event: UploaderEvent) => void>();
  private readonly changed = new Set<UploadTask>();
  private removedIds: string[] = [];
  private progressTimer: ReturnType<typeof setTimeout> | null = null;
  private isQueued = false;

  constructor(private readonly countTotals: () => UploadTotals) {}

  /** Returns the function that ends it. */
  subscribe(listener: (event: UploaderEvent) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  announce(task: UploadTask, kind: "state" | "progress"): void {
    this.changed.add(task);
    if (kind === "state") this.queueFlush();
    else this.progressTimer ??= setTimeout(() => this.flush(), PROGRESS_EVENT_MS);
  }

  announceRemoval(task: UploadTask): void {
    this.changed.delete(task);
    this.removedIds.push(task.id);
    this.queueFlush();
  }

  close(): void {
    if (this.progressTimer !== null) clearTimeout(this.progressTimer);
    this.listeners.clear();
  }

  private queueFlush(): void {
    if (this.isQueued) return;
    this.isQueued = true;
    queueMicrotask(() => this.flush());
  }

  private flush(): void {
    this.isQueued = false;
    if (this.progressTimer !== null) clearTimeout(this.progressTimer);
    this.progressTimer = null;
    if (this.changed.size === 0 && this.removedIds.length === 0) return;
    const changed = [...this.changed].map((task) => task.snapshot);
    const event: UploaderEvent = { changed, removedIds: this.removedIds, totals: this.countTotals() };
    this.changed.clear();
    this.removedIds = [];
    for (const listener of [...this.listeners]) listener(event);
  }
}
