/** @file The GPU runtime in a real Chromium: the device it chooses, what it owns, and what happens when the device is lost. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openServedPage, type ServedPage } from '../../scripts/lib/served-page.js';
import type { Harness } from '../../scripts/page/harness.js';
import { writeMicroModel } from '../micro-model.js';

let served: ServedPage;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'darkroom-micro-'));
  await writeMicroModel(folder);
  served = await openServedPage({ micro: folder });
});
afterAll(async () => {
  await served.close();
  await rm(folder, { recursive: true });
});

const harness = <T>(name: keyof Harness, ...args: readonly unknown[]): Promise<T> =>
  served.page.evaluate(
    ([n, a]) =>
      (Reflect.get(globalThis, 'harness') as Record<string, (...values: readonly unknown[]) => unknown>)[n as string]?.(
        ...a,
      ),
    [name, args] as const,
  ) as Promise<T>;

describe('the GPU runtime', () => {
  it('chooses WebGPU, says why, and withholds what gives wrong numbers on this adapter', async () => {
    const info = await harness<Awaited<ReturnType<Harness['device']>>>('device', 'auto');
    expect(info).toMatchObject({ backend: 'webgpu', why: 'WebGPU is available.', build: 'jspi' });
    // Known: attention is wrong with subgroups on this software adapter.
    if (info.adapter?.architecture === 'swiftshader') {
      expect(info.withheld).toEqual([{ feature: 'subgroups', why: expect.stringContaining('attention') as string }]);
      expect(info.dtype).toBe('float32');
    }
  });

  it('says plainly that the CPU was asked for', async () => {
    expect(await harness('device', 'wasm')).toMatchObject({
      backend: 'wasm',
      why: 'The CPU was asked for.',
      dtype: 'float32',
    });
  });

  it('makes 20 pictures of changing size with the same number of buffers, and frees every byte at the end', async () => {
    const counts = await harness<Awaited<ReturnType<Harness['countBuffers']>>>('countBuffers', 'micro', 20);
    expect(counts.pictures).toBe(20);
    // From the third picture on (both sizes were seen) each size has its own steady number.
    const [evens, odds] = [0, 1].map((parity) => counts.after.filter((_, i) => i >= 2 && i % 2 === parity));
    expect(new Set(evens?.map((m) => `${m.gpuBuffers}/${m.gpuBytes}`)).size).toBe(1);
    expect(new Set(odds?.map((m) => `${m.gpuBuffers}/${m.gpuBytes}`)).size).toBe(1);
    expect(counts.disposed).toEqual({ gpuBuffers: 0, gpuBytes: 0 });
  });

  it('reports a lost device as a typed error and makes the next picture on a new one', async () => {
    const { lost, next } = await harness<Awaited<ReturnType<Harness['loseDevice']>>>('loseDevice', 'micro');
    expect(lost).toEqual(['deviceLost']);
    expect(next).toEqual([]);
  });

  it('stops within one step of an abort and frees nothing that the next picture needs', async () => {
    expect(await harness('abortRun', 'micro')).toEqual({ errors: ['aborted'], stepsAfter: 0, next: [] });
  });
});
