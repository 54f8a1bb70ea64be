/** @file What the parts of the store share: the disk, the locks, the network, the clock, and whoever listens. */
import { DarkroomError, fail } from '../../base/errors.js';
import type { Expected } from '../download/download.js';
import type { Tuning } from '../download/transfer.js';
import type { HttpDeps } from '../http.js';
import { isFull, type Disk } from './disk.js';
import type { DownloadEvents } from './events.js';
import type { Locks } from './locks.js';

export interface StoreContext {
  readonly disk: Disk;
  readonly locks: Locks;
  readonly http: HttpDeps;
  readonly tuning: Partial<Tuning>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Bytes that the browser gives to this site, and those in use; absent: not known. */
  readonly estimate: (() => Promise<StorageEstimate>) | undefined;
  readonly events: DownloadEvents;
}

/** A model, as far as the store is concerned: the files below one address. */
export interface ModelOfStore {
  readonly id: string;
  /** Without query. */
  readonly address: string;
  readonly title: string;
}

/** A file of a model. */
export interface FileOfModel {
  readonly id: string;
  readonly url: URL;
  readonly model: ModelOfStore;
  readonly expected: Expected;
}

/** Locks: one download of a file; readers of its data (shared) or its deletion; changes to a model's record; making room. */
export const lockNames = {
  download: (id: string): string => `download/${id}`,
  data: (data: string): string => `data/${data}`,
  model: (id: string): string => `model/${id}`,
  room: 'room',
} as const;

/** Turns what the disk throws into a typed error. @throws storageFull, storageFailed */
export async function onDisk<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof DarkroomError) throw error;
    if (isFull(error)) throw storageFull('The browser has no room left for what is to be noted', error);
    const reason = error instanceof Error ? error.message : String(error);
    throw fail('storageFailed', `The browser's storage failed: ${reason}`, {
      hint: 'Reload the page; if it happens again, delete stored models or go on without the store.',
      cause: error,
    });
  }
}

/** @param what there is no room for, and how much there is; without a full stop */
export function storageFull(what: string, cause?: unknown): DarkroomError {
  return fail('storageFull', `${what}.`, {
    hint: 'Delete or unpin stored models, free space on the disk, or read the model without storing it (keepModels: false).',
    ...(cause === undefined ? {} : { cause }),
  });
}
