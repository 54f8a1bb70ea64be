/** @file What runs in the page for `bench/download.ts`: it starts the worker that downloads, and kills it. */
import { wrap, type Remote } from 'comlink';
import type { Downloaded, Downloads } from './download-worker.js';

export interface DownloadBench {
  download(folder: string, file: string): Promise<Downloaded>;
  /** Bytes that are there by now. */
  arrived(): Promise<number>;
  read(start: number, end: number): Promise<readonly number[]>;
  /** Whatever the worker is doing; then starts a new one. */
  kill(): Promise<void>;
}

function openDownloadBench(): Promise<DownloadBench> {
  let worker: Worker | undefined;
  let downloads: Remote<Downloads> | undefined;
  const get = (): Remote<Downloads> => {
    worker ??= new Worker(new URL('./download-worker.ts', import.meta.url), { type: 'module' });
    return (downloads ??= wrap<Downloads>(worker));
  };
  return Promise.resolve({
    download: (folder, file) => get().download(folder, file),
    arrived: () => get().arrived(),
    read: (start, end) => get().read(start, end),
    async kill() {
      worker?.terminate();
      [worker, downloads] = [undefined, undefined];
      await get().arrived();
    },
  });
}

Object.assign(globalThis, { openDownloadBench });
