/** A lock manager as of the Web Locks API, shared by the "tabs" of one test. */

import type { Locks } from "../../src/index.js";

export function fakeLocks(): Locks & { readonly held: ReadonlySet<string> } {
  const tails = new Map<string, Promise<unknown>>();
  const held = new Set<string>();
  return {
    held,
    async request<T>(name: string, options: { ifAvailable?: boolean }, callback: (lock: unknown) => Promise<T>): Promise<T> {
      if (options.ifAvailable && held.has(name)) return callback(null);
      const before = tails.get(name) ?? Promise.resolve();
      if (options.ifAvailable) held.add(name);
      const run = before.then(async () => {
        held.add(name);
        try {
          return await callback({ name });
        } finally {
          held.delete(name);
        }
      });
      tails.set(
        name,
        run.catch(() => undefined),
      );
      return run;
    },
  };
}
