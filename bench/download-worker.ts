/** @file What runs in a worker of headless Chromium for `bench/download.ts`: a download into the private file system, as the library does it. */
import { expose } from 'comlink';
import type { ByteSource } from '../src/assets/source.js';
import { webLocks } from '../src/assets/store/locks.js';
import { createModelStore } from '../src/assets/store/model-store.js';
import { openBrowserDisk } from '../src/assets/store/open-disk.js';

export interface Downloaded {
  readonly ms: number;
  readonly bytes: number;
  /** Of them, those that were there already. */
  readonly resumedBytes: number;
}

let source: ByteSource | undefined;
let arrived = 0;
let resumedBytes = 0;

const downloads = {
  async download(folder: string, file: string): Promise<Downloaded> {
    const store = createModelStore({
      openDisk: () => openBrowserDisk({ storage: navigator.storage, caches }),
      http: { fetch: (input, init) => fetch(input, init) },
      locks: webLocks(navigator.locks),
      estimate: () => navigator.storage.estimate(),
    });
    store.subscribe((event) => {
      arrived = event.bytes;
      if (event.state === 'done') resumedBytes = event.resumedBytes;
    });
    const start = performance.now();
    source = await store.tree(folder).open(file);
    await source?.download?.();
    return { ms: performance.now() - start, bytes: source?.size ?? 0, resumedBytes };
  },
  arrived: (): number => arrived,
  read: async (start: number, end: number): Promise<readonly number[]> => [
    ...((await source?.read(start, end)) ?? new Uint8Array(0)),
  ],
};
export type Downloads = typeof downloads;

expose(downloads);
