/** Keeps two tabs from the same upload: one lock for each, held while this page has it. */

import type { Locks } from "../session.js";

export class UploadClaims {
  private readonly held = new Map<string, () => void>();

  /** Without locks (`null`), every upload may be taken. */
  constructor(private readonly locks: Locks | null) {}

  /** Take an upload. False if another tab has it. */
  take(id: string): Promise<boolean> {
    const { locks, held } = this;
    if (locks === null || held.has(id)) return Promise.resolve(true);
    return new Promise((resolve) => {
      locks
        .request(`we-upload-upload ${id}`, { ifAvailable: true }, (lock) => {
          resolve(lock !== null);
          return lock === null ? Promise.resolve() : new Promise<void>((release) => held.set(id, release));
        })
        // Some pages may not use locks; then two tabs are not kept apart.
        .catch(() => resolve(true));
    });
  }

  release(id: string): void {
    this.held.get(id)?.();
    this.held.delete(id);
  }

  releaseAll(): void {
    for (const id of [...this.held.keys()]) this.release(id);
  }
}
