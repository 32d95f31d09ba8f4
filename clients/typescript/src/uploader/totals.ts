/** Sums over all uploads, kept up to date change by change: there may be thousands. */

import type { UploadTask } from "./task.js";
import type { UploadTotals } from "./types.js";

type Sums = Omit<UploadTotals, "bytesPerSecond" | "secondsLeft"> & { readonly bytesLeft: number };

const FIELDS = ["count", "verifiedCount", "failedCount", "activeCount", "pausedCount", "sizeBytes", "sentBytes", "bytesLeft"] as const;

export class UploadSums {
  private readonly sums: Record<(typeof FIELDS)[number], number> = Object.fromEntries(FIELDS.map((field) => [field, 0])) as Sums;
  private readonly counted = new Map<UploadTask, Sums>();
  private readonly changed = new Set<UploadTask>();

  update(task: UploadTask): void {
    this.changed.add(task);
  }

  remove(task: UploadTask): void {
    this.changed.delete(task);
    this.add(this.counted.get(task), -1);
    this.counted.delete(task);
  }

  get current(): Sums {
    for (const task of this.changed) {
      this.add(this.counted.get(task), -1);
      const share = shareOf(task);
      this.counted.set(task, share);
      this.add(share, 1);
    }
    this.changed.clear();
    return this.sums;
  }

  private add(share: Sums | undefined, sign: 1 | -1): void {
    if (share !== undefined) for (const field of FIELDS) this.sums[field] += sign * share[field];
  }
}

function shareOf({ state, needsFile, local: { sizeBytes }, sentBytes }: UploadTask): Sums {
  const isOut = state === "failed" || state === "cancelling" || state === "cancelled";
  const isActive = !isOut && state !== "verified" && state !== "paused" && !needsFile;
  return {
    count: 1,
    verifiedCount: Number(state === "verified"),
    failedCount: Number(state === "failed"),
    pausedCount: Number(state === "paused"),
    activeCount: Number(isActive),
    sizeBytes: isOut ? 0 : sizeBytes,
    sentBytes: isOut ? 0 : sentBytes,
    bytesLeft: isActive ? sizeBytes - sentBytes : 0,
  };
}
