/** @file What becomes of arrays on a GPU device that is lost: freeing one fails there, and nothing may come of that. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createGpuArrays } from '../../../src/runtime/device-array.js';
import { createLock } from '../../../src/runtime/lock.js';
import type { Ort } from '../../../src/runtime/ort.js';

const unhandled: unknown[] = [];
const note = (reason: unknown): void => void unhandled.push(reason);
beforeEach(() => {
  unhandled.length = 0;
  process.on('unhandledRejection', note);
});
afterEach(() => void process.off('unhandledRejection', note));

/** An output of a session, and an array that took it over. */
function adopted(dispose: () => void) {
  const lock = createLock();
  // Neither ONNX Runtime nor the device is asked for anything here, but to dispose the tensor.
  const arrays = createGpuArrays({} as Ort, {} as GPUDevice, lock);
  const tensor = { gpuBuffer: {}, dispose } as unknown as Parameters<typeof arrays.adopt>[0];
  return { array: arrays.adopt(tensor, [2], 'float32'), lock };
}

describe('an output that stays on the device', () => {
  it('is given back once, when what was asked for before is done', async () => {
    const done: string[] = [];
    const { array, lock } = adopted(() => void done.push('given back'));
    const before = lock(() => Promise.resolve(void done.push('run')));
    array.dispose();
    array.dispose();
    await before;
    await lock(() => Promise.resolve());
    expect(done).toEqual(['run', 'given back']);
  });

  it('of a lost device cannot be given back: nobody is told, and the lock goes on', async () => {
    const { array, lock } = adopted(() => {
      throw new Error('Instance dropped.');
    });
    array.dispose();
    expect(await lock(() => Promise.resolve('goes on'))).toBe('goes on');
    await new Promise((resolve) => setTimeout(resolve, 20)); // rejections are told of after a turn
    expect(unhandled).toEqual([]);
  });
});
