/** @file The most that a page's JavaScript holds while something runs: objects and the memory behind typed arrays, not WebAssembly's. */
import type { CDPSession } from 'playwright';

export interface Watched<T> {
  readonly result: T;
  /** Garbage that was not collected yet included. */
  readonly heapBytes: number;
}

const EVERY_MS = 20;

/** Looks at the heap while `work` runs, from a collected one on. Chromium only. */
export async function watchHeap<T>(devtools: CDPSession, work: () => Promise<T>): Promise<Watched<T>> {
  await devtools.send('HeapProfiler.collectGarbage');
  let heapBytes = 0;
  let running = true;
  const watch = async (): Promise<void> => {
    while (running) {
      heapBytes = Math.max(heapBytes, heapOf(await devtools.send('Runtime.getHeapUsage')));
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
  };
  const watching = watch();
  watching.catch(() => undefined); // when the page is gone, the work says so
  const result = await work().finally(() => (running = false));
  await watching;
  return { result, heapBytes };
}

/** Newer protocols tell what lies behind typed arrays. */
function heapOf(usage: { readonly usedSize: number }): number {
  const behind: unknown = Reflect.get(usage, 'backingStorageSize');
  return usage.usedSize + (typeof behind === 'number' ? behind : 0);
}
