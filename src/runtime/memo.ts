/** @file Remembers short verdicts between visits in IndexedDB. Where that is refused (private windows) nothing is remembered. */
import type { Memo } from './runtime.js';

const STORE = 'memo';

/** @param name of the database; one per origin is enough */
export function createIndexedDbMemo(name = 'darkroom'): Memo {
  const open = (): Promise<IDBDatabase> =>
    new Promise((resolve, reject) => {
      const request = indexedDB.open(name, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(new Error(request.error?.message ?? 'IndexedDB could not be opened'));
      request.onblocked = () => reject(new Error('IndexedDB is blocked by another tab'));
    });
  const transact = async <T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> => {
    const database = await open();
    try {
      return await new Promise<T>((resolve, reject) => {
        const request = work(database.transaction(STORE, mode).objectStore(STORE));
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(new Error(request.error?.message ?? 'IndexedDB failed'));
      });
    } finally {
      database.close();
    }
  };
  return {
    async get(key) {
      const value: unknown = await transact('readonly', (store) => store.get(key)).catch(() => undefined);
      return typeof value === 'string' ? value : undefined;
    },
    async set(key, value) {
      await transact('readwrite', (store) => store.put(value, key)).catch(() => undefined);
    },
  };
}
