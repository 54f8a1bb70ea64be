/** @file The store of models with the parts of a browser's worker. */
import type { HttpDeps } from '../http.js';
import { webLocks } from './locks.js';
import { createModelStore, type ModelStore } from './model-store.js';
import { openBrowserDisk } from './open-disk.js';

/** Lib types say that all of these are always there; they are not in every browser, nor on pages without HTTPS. */
type Parts = Partial<Pick<typeof globalThis, 'caches' | 'BroadcastChannel'>>;
type OfNavigator = Partial<Pick<Navigator, 'storage' | 'locks'>>;

/** What even to ask for is refused in some places: `caches` in a sandboxed frame. */
function ask<T>(get: () => T): T | undefined {
  try {
    return get();
  } catch {
    return undefined;
  }
}

/** One for each worker; tabs of a site share what is stored, and each download. */
export function createBrowserStore(http: HttpDeps): ModelStore {
  const { storage, locks } = navigator as OfNavigator;
  const { BroadcastChannel } = globalThis as Parts;
  const caches = ask(() => (globalThis as Parts).caches);
  return createModelStore({
    http,
    openDisk: () => openBrowserDisk({ storage, caches }),
    ...(locks === undefined ? {} : { locks: webLocks(locks) }),
    ...(BroadcastChannel === undefined ? {} : { channel: new BroadcastChannel('darkroom-downloads') }),
    ...(storage?.estimate === undefined ? {} : { estimate: () => storage.estimate() }),
  });
}
