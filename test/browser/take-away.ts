/** @file Runs inside the browser, in a worker: takes away what some browsers, windows and frames do not give, as they do it. */

export type TakenAway =
  /** `getDirectory()` rejects, as in Firefox's private windows. */
  | 'private file system'
  /** Files cannot be written in place, as in old Safaris. */
  | 'access handles'
  /** `caches.open()` rejects, as in Firefox's private windows. */
  | 'cache'
  /** Even to name `caches` throws, as in sandboxed frames. */
  | 'caches'
  /** There are none, as on pages without HTTPS. */
  | 'storage and caches'
  | 'locks'
  /** `locks.request()` and `query()` reject, as in sandboxed frames. */
  | 'use of locks'
  | 'channels'
  /** `estimate()` rejects. */
  | 'estimates';

const refuse = (): Promise<never> => Promise.reject(new DOMException('The operation is insecure.', 'SecurityError'));

function define(of: object, name: string, value: unknown): void {
  Object.defineProperty(of, name, { value, configurable: true });
}

const ACTIONS: Readonly<Record<TakenAway, () => void>> = {
  'private file system': () => define(StorageManager.prototype, 'getDirectory', refuse),
  'access handles': () => void Reflect.deleteProperty(FileSystemFileHandle.prototype, 'createSyncAccessHandle'),
  cache: () => define(CacheStorage.prototype, 'open', refuse),
  caches: () =>
    Object.defineProperty(globalThis, 'caches', {
      get() {
        throw new DOMException('The context is sandboxed.', 'SecurityError');
      },
    }),
  'storage and caches': () => {
    define(navigator, 'storage', undefined);
    define(globalThis, 'caches', undefined);
  },
  locks: () => define(navigator, 'locks', undefined),
  'use of locks': () => {
    define(LockManager.prototype, 'request', refuse);
    define(LockManager.prototype, 'query', refuse);
  },
  channels: () => define(globalThis, 'BroadcastChannel', undefined),
  estimates: () => define(StorageManager.prototype, 'estimate', refuse),
};

export function takeAway(what: readonly TakenAway[]): void {
  for (const one of what) ACTIONS[one]();
}
