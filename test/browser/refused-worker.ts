/** @file Runs inside the browser, in a worker: the store as the pipeline worker makes it, where something was taken away before. */
import { expose } from 'comlink';
import { sha256 } from '../../src/assets/download/sha256.js';
import { createBrowserStore } from '../../src/assets/store/browser-store.js';
import type { StoreStatus } from '../../src/assets/store/model-store.js';
import { takeAway, type TakenAway } from './take-away.js';

export interface Looked extends StoreStatus {
  readonly hash: string;
  readonly models: number;
}

const worker = {
  async read(taken: readonly TakenAway[], address: string, path: string): Promise<Looked> {
    takeAway(taken);
    const store = createBrowserStore({ fetch: (input, init) => fetch(input, init) });
    const tree = store.tree(address);
    const file = await tree.open(path);
    const hash = sha256((await file?.read(0, file.size)) ?? new Uint8Array());
    tree.close?.();
    return { ...(await store.status()), hash, models: (await store.list()).length };
  },
};
export type RefusedWorker = typeof worker;

expose(worker);
