/** @file Pictures that were made, in IndexedDB. No view. */
import type { ImageInferenceRequest, ImageResult } from '../src/index.js';

/** One picture with what made it. `request` has the picture's own seed and asks for one, so it makes this picture again. */
export interface KeptPicture {
  readonly id: string;
  readonly createdMs: number;
  readonly blob: Blob;
  readonly request: ImageInferenceRequest;
  readonly seed: string;
  readonly width: number;
  readonly height: number;
  readonly backend: ImageResult['backend'];
  readonly tookMs: number;
  readonly warnings: readonly string[];
}

export interface HistoryStore {
  add(picture: KeptPicture): Promise<void>;
  /** Newest first. */
  all(): Promise<readonly KeptPicture[]>;
  delete(id: string): Promise<void>;
  clear(): Promise<void>;
}

const STORE = 'pictures';

/** Rejects where the browser keeps no data, e.g. in some private windows. */
export async function openHistory(): Promise<HistoryStore> {
  const opening = indexedDB.open('darkroom-demo', 1);
  opening.addEventListener('upgradeneeded', () => {
    opening.result.createObjectStore(STORE, { keyPath: 'id' }).createIndex('createdMs', 'createdMs');
  });
  const database = await answer(opening);
  const store = (mode: IDBTransactionMode): IDBObjectStore => database.transaction(STORE, mode).objectStore(STORE);
  return {
    add: async (picture) => void (await answer(store('readwrite').put(picture))),
    all: async () => {
      const pictures: readonly KeptPicture[] = await answer(store('readonly').index('createdMs').getAll());
      return pictures.toReversed();
    },
    delete: async (id) => answer(store('readwrite').delete(id)),
    clear: async () => answer(store('readwrite').clear()),
  };
}

function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.addEventListener('success', () => resolve(request.result));
    request.addEventListener('error', () => reject(request.error ?? new Error('IndexedDB failed.')));
  });
}
