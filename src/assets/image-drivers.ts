/** @file Where kept pictures lie: IndexedDB, which all tabs of a site share, or this page's memory. Which of them go is decided elsewhere. */
import type { PreProcessorType } from '../request/preprocessors.js';

/** What is known of a kept picture without reading it. */
export interface ImageInfo {
  /** Lower case. */
  readonly imageUUID: string;
  readonly mime: string;
  readonly width: number;
  readonly height: number;
  /** Of the file. */
  readonly bytes: number;
  /** Of guides that were drawn here, what drew them. */
  readonly preProcessorType?: PreProcessorType;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  /** The same; pictures that were not used for long go first. */
  readonly lastUsed: number;
}

export interface KeptImage {
  readonly info: ImageInfo;
  readonly data: Uint8Array<ArrayBuffer>;
}

/** Names the pictures that must go before another can come. Called in the middle of a transaction, so it must not wait for anything. */
export type ChooseEvicted = (kept: readonly ImageInfo[]) => readonly string[];

/** A place for pictures. Each call happens as a whole or not at all, also between tabs. */
export interface ImageDriver {
  list(): Promise<readonly ImageInfo[]>;
  /** Deletes what `choose` names, then adds. @returns what was deleted */
  put(image: KeptImage, choose: ChooseEvicted): Promise<readonly string[]>;
  /** Reads a picture and notes when it was used. */
  get(imageUUID: string, usedAt: number): Promise<KeptImage | undefined>;
  delete(imageUUID: string): Promise<boolean>;
  clear(): Promise<void>;
}

export function createMemoryDriver(): ImageDriver {
  const images = new Map<string, KeptImage>();
  const infos = (): readonly ImageInfo[] => [...images.values()].map(({ info }) => info);
  return {
    list: () => Promise.resolve(infos()),
    put(image, choose) {
      const evicted = choose(infos()).filter((uuid) => images.delete(uuid));
      images.set(image.info.imageUUID, { info: image.info, data: image.data.slice() });
      return Promise.resolve(evicted);
    },
    get(imageUUID, usedAt) {
      const found = images.get(imageUUID);
      if (found === undefined) return Promise.resolve(undefined);
      const used = { ...found, info: { ...found.info, lastUsed: usedAt } };
      images.set(imageUUID, used);
      return Promise.resolve({ ...used, data: used.data.slice() });
    },
    delete: (imageUUID) => Promise.resolve(images.delete(imageUUID)),
    clear: () => Promise.resolve(images.clear()),
  };
}

/** Apart, so that the list can be read without reading a single picture. */
const INFO = 'info';
const DATA = 'data';

/**
 * Pictures in IndexedDB. Every call opens the database and closes it again: a tab that is left open stands in nobody's way.
 * Calls reject with the browser's error, e.g. `QuotaExceededError`, or where there is no IndexedDB.
 * @param name of the database; one per origin is enough
 */
export function createIndexedDbDriver(name = 'darkroom-images'): ImageDriver {
  const transact = async <T>(mode: IDBTransactionMode, work: (stores: Stores) => Promise<T>): Promise<T> => {
    const database = await open(name);
    try {
      const transaction = database.transaction([INFO, DATA], mode);
      const done = completion(transaction);
      const result = work({ info: transaction.objectStore(INFO), data: transaction.objectStore(DATA) });
      result.catch(() => abort(transaction)); // else what was asked for before the failure would be written
      const [value] = await Promise.all([result, done]);
      return value;
    } finally {
      database.close();
    }
  };
  const readInfos = async ({ info }: Stores): Promise<readonly ImageInfo[]> =>
    (await answer(info.getAll())).filter(isInfo);

  return {
    list: () => transact('readonly', readInfos),
    put: ({ info, data }, choose) =>
      transact('readwrite', async (stores) => {
        const evicted = choose(await readInfos(stores));
        for (const uuid of evicted) remove(stores, uuid);
        stores.info.put(info, info.imageUUID);
        stores.data.put(data, info.imageUUID);
        return evicted;
      }),
    get: (imageUUID, usedAt) =>
      transact('readwrite', async ({ info, data }) => {
        const [found, bytes] = await Promise.all<unknown>([answer(info.get(imageUUID)), answer(data.get(imageUUID))]);
        if (!isInfo(found) || !(bytes instanceof Uint8Array)) return undefined;
        const used: ImageInfo = { ...found, lastUsed: usedAt };
        info.put(used, imageUUID);
        return { info: used, data: new Uint8Array(bytes) };
      }),
    delete: (imageUUID) =>
      transact('readwrite', async (stores) => {
        const count = await answer(stores.info.count(imageUUID));
        remove(stores, imageUUID);
        return count > 0;
      }),
    clear: () =>
      transact('readwrite', ({ info, data }) => {
        info.clear();
        data.clear();
        return Promise.resolve();
      }),
  };
}

interface Stores {
  readonly info: IDBObjectStore;
  readonly data: IDBObjectStore;
}

function remove({ info, data }: Stores, imageUUID: string): void {
  info.delete(imageUUID);
  data.delete(imageUUID);
}

function open(name: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(INFO);
      request.result.createObjectStore(DATA);
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(reasonOf(request.error));
    request.onblocked = () => reject(new Error('IndexedDB is blocked by another tab'));
  });
}

/** The transaction is written, or nothing of it is. */
function completion(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(reasonOf(transaction.error));
    transaction.onerror = () => undefined; // it aborts after this
  });
}

function abort(transaction: IDBTransaction): void {
  try {
    transaction.abort();
  } catch {
    return; // it has ended already, by the failure that brought us here
  }
}

/** Promises of requests keep their transaction alive: their continuations run before it is committed. */
function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(reasonOf(request.error));
  });
}

function reasonOf(error: DOMException | null): Error {
  return error ?? new Error('IndexedDB failed without a reason');
}

/** Another version of this code may have written something else. */
function isInfo(value: unknown): value is ImageInfo {
  if (typeof value !== 'object' || value === null) return false;
  const isText = (name: string): boolean => typeof Reflect.get(value, name) === 'string';
  const isNumber = (name: string): boolean => typeof Reflect.get(value, name) === 'number';
  return ['imageUUID', 'mime'].every(isText) && ['width', 'height', 'bytes', 'createdAt', 'lastUsed'].every(isNumber);
}
