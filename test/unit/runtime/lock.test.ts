/** @file The lock around ONNX Runtime: one after the other, failures keep nobody out, and the thread hears what comes in meanwhile. */
import { expect, it } from 'vitest';
import { createLock } from '../../../src/runtime/lock.js';

/** Blocks the thread, as a run on the CPU does. */
function block(ms: number): Promise<number> {
  const end = performance.now() + ms;
  while (performance.now() < end);
  return Promise.resolve(ms);
}

it('runs one after the other, also behind one that fails', async () => {
  const lock = createLock();
  const order: string[] = [];
  const slow = lock(async () => {
    await new Promise((resolve) => setTimeout(resolve, 20));
    order.push('slow');
  });
  const failing = lock(() => Promise.reject(new Error('no')));
  const quick = lock(() => Promise.resolve(order.push('quick')));
  await expect(failing).rejects.toThrow('no');
  await Promise.all([slow, quick]);
  expect(order).toEqual(['slow', 'quick']);
});

it('a timer fires between runs that block: an abort need not wait for the last of a hundred', async () => {
  const lock = createLock();
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 1);
  let runs = 0;
  while (!controller.signal.aborted && runs < 100) {
    await lock(() => block(10));
    runs++;
  }
  expect(runs).toBeLessThan(10);
});

it('many short runs take no turn each', async () => {
  const lock = createLock();
  let turns = 0;
  let going = true;
  const count = (): void => {
    turns++;
    if (going) setImmediate(count);
  };
  setImmediate(count);
  for (let n = 0; n < 2000; n++) await lock(() => Promise.resolve(n));
  going = false;
  expect(turns).toBeLessThan(200);
});
