/** @file The most that JavaScript of a page, or of its worker, holds while something runs: objects and the memory behind typed arrays, not WebAssembly's. */
import type { CDPSession, Page } from 'playwright';

export interface Watched<T> {
  readonly result: T;
  /** Garbage that was not collected yet included. */
  readonly heapBytes: number;
}

/** The heap of one thread of a page. Chromium only. */
export interface Heap {
  collect(): Promise<void>;
  bytes(): Promise<number>;
}

const EVERY_MS = 20;

/** Looks at the heap while `work` runs, from a collected one on. */
export async function watchHeap<T>(heap: Heap, work: () => Promise<T>): Promise<Watched<T>> {
  await heap.collect();
  let heapBytes = 0;
  let running = true;
  const watch = async (): Promise<void> => {
    while (running) {
      heapBytes = Math.max(heapBytes, await heap.bytes());
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
  };
  const watching = watch();
  watching.catch(() => undefined); // when the page is gone, the work says so
  const result = await work().finally(() => (running = false));
  await watching;
  return { result, heapBytes };
}

/** Of the worker that the page starts next, or of the page itself while it has none. */
export async function openHeap(page: Page): Promise<Heap> {
  const devtools = await page.context().newCDPSession(page);
  const ofWorker = await watchWorker(devtools);
  const send = async (method: 'HeapProfiler.collectGarbage' | 'Runtime.getHeapUsage'): Promise<unknown> =>
    (await ofWorker(method)) ?? devtools.send(method);
  return {
    collect: async () => void (await send('HeapProfiler.collectGarbage')),
    bytes: async () => {
      const usage = (await send('Runtime.getHeapUsage')) as object; // of a known method
      const part = (name: string): number => Number(Reflect.get(usage, name) ?? 0);
      return part('usedSize') + part('backingStorageSize'); // newer protocols tell what lies behind typed arrays
    },
  };
}

/** Commands to a page's worker, which Playwright has no session for; they give `undefined` while there is none. */
async function watchWorker(devtools: CDPSession): Promise<(method: string) => Promise<unknown>> {
  let sessionId: string | undefined;
  let last = 0;
  const waiting = new Map<number, (result: unknown) => void>();
  devtools.on('Target.attachedToTarget', (target) => (sessionId = target.sessionId));
  devtools.on('Target.receivedMessageFromTarget', ({ message }) => {
    const { id, result } = JSON.parse(message) as { readonly id?: number; readonly result?: unknown };
    if (id !== undefined) waiting.get(id)?.(result);
  });
  await devtools.send('Target.setAutoAttach', { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
  return async (method) => {
    if (sessionId === undefined) return undefined;
    const id = ++last;
    const answer = new Promise((resolve) => waiting.set(id, resolve));
    await devtools.send('Target.sendMessageToTarget', { sessionId, message: JSON.stringify({ id, method }) });
    return answer.finally(() => waiting.delete(id));
  };
}
