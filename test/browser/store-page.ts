/** @file Runs inside the browser: a page whose worker has a store, asked by messages. */
import type { StoreAnswer, StoreQuestion } from './store-worker.js';

const worker = new Worker(new URL('./store-worker.ts', import.meta.url), { type: 'module' });
let asked = 0;

/** Asks the worker; rejects with what it throws. */
function ask(question: StoreQuestion): Promise<unknown> {
  const id = asked++;
  return new Promise((resolve, reject) => {
    const hear = ({ data }: MessageEvent<StoreAnswer>): void => {
      if (data.id !== id) return;
      worker.removeEventListener('message', hear);
      if (data.error === undefined) resolve(data.value);
      else reject(new Error(data.error));
    };
    worker.addEventListener('message', hear);
    worker.postMessage({ id, question });
  });
}

/** Bytes of the download that is under way. */
let bytes = 0;
worker.addEventListener('message', ({ data }: MessageEvent<StoreAnswer>) => {
  if (data.bytes !== undefined) bytes = data.bytes;
});

Object.assign(globalThis, { storePage: { ask, bytes: () => bytes } });
