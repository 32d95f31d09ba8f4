/** Keeps unfinished uploads in IndexedDB, so that a later page load can go on with them. */

import type { UploadRecord, UploadStateStore } from "./types.js";

const DATABASE = "we-upload";
const STORE = "uploads";
/** The server gives an upload up after days; a record this old leads nowhere. */
const RECORD_LIFETIME_MS = 14 * 24 * 3600 * 1000;

export function defaultStateStore(): UploadStateStore | null {
  return typeof indexedDB === "undefined" ? null : indexedDbStateStore();
}

export function indexedDbStateStore(factory: IDBFactory = indexedDB): UploadStateStore {
  let opened: Promise<IDBDatabase> | null = null;

  function open(): Promise<IDBDatabase> {
    opened ??= new Promise<IDBDatabase>((resolve, reject) => {
      const request = factory.open(DATABASE, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
      request.onsuccess = () => {
        request.result.onversionchange = () => {
          request.result.close();
          opened = null;
        };
        resolve(request.result);
      };
      request.onerror = () => reject(request.error);
    }).catch((error: unknown) => {
      opened = null;
      throw error;
    });
    return opened;
  }

  async function run<T>(mode: IDBTransactionMode, act: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
    const database = await open();
    return new Promise((resolve, reject) => {
      const transaction = database.transaction(STORE, mode);
      const request = act(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error);
      transaction.onerror = () => reject(transaction.error);
    });
  }

  let last: Promise<unknown> = Promise.resolve();
  let next: { readonly changes: ((store: IDBObjectStore) => void)[]; readonly written: Promise<void> } | null = null;

  /** Change a record. Changes that are made while others are written are written together: of many small files there are thousands. */
  function change(act: (store: IDBObjectStore) => unknown): Promise<void> {
    if (next === null) {
      const changes: ((store: IDBObjectStore) => void)[] = [];
      const written = last.then(async () => {
        next = null;
        await run("readwrite", (store) => {
          for (const each of changes) each(store);
          return store.count();
        });
      });
      next = { changes, written };
      last = written.catch(() => undefined);
    }
    const { changes, written } = next;
    return new Promise((resolve, reject) => {
      changes.push((store) => {
        try {
          act(store);
        } catch (error) {
          // A record that cannot be copied, which is no reason to lose the others.
          reject(error);
        }
      });
      written.then(resolve, reject);
    });
  }

  const remove = (id: string) => change((store) => store.delete(id));
  return {
    async list(scope) {
      const records = (await run("readonly", (store) => store.getAll())) as UploadRecord[];
      const oldest = Date.now() - RECORD_LIFETIME_MS;
      await Promise.all(records.filter((record) => record.addedAt < oldest).map((record) => remove(record.id)));
      return records.filter((record) => record.scope === scope && record.addedAt >= oldest).sort((a, b) => a.addedAt - b.addedAt);
    },
    put: (record) => change((store) => store.put(record)),
    delete: remove,
  };
}

/** Keeps records in memory, for tests and programs. */
export function memoryStateStore(): UploadStateStore {
  const records = new Map<string, UploadRecord>();
  return {
    list: async (scope) => [...records.values()].filter((record) => record.scope === scope),
    put: async (record) => {
      records.set(record.id, record);
    },
    delete: async (id) => {
      records.delete(id);
    },
  };
}
