/** @file The GPU runtime in a real Chromium: the device it chooses, and what it owns. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openServedPage, type ServedPage } from '../../scripts/lib/served-page.js';
import type { Harness } from '../../scripts/page/harness.js';
import { writeMicroModel } from '../micro-model.js';
import type { AdaptReport, HandOverReport } from './runtime-page.js';

let served: ServedPage;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'darkroom-micro-'));
  await writeMicroModel(folder);
  served = await openServedPage({ micro: folder });
  await served.page.addScriptTag({ type: 'module', url: '/test/browser/runtime-page.ts' });
  await served.page.waitForFunction(() => 'runtimePage' in globalThis);
});
afterAll(async () => {
  await served.close();
  await rm(folder, { recursive: true });
});

const call = <T>(object: 'harness' | 'runtimePage', name: string, ...args: readonly unknown[]): Promise<T> =>
  served.page.evaluate(
    ([o, n, a]) =>
      (Reflect.get(globalThis, o) as Record<string, (...values: readonly unknown[]) => unknown>)[n]?.(...a),
    [object, name, args] as const,
  ) as Promise<T>;
const harness = <T>(name: keyof Harness, ...args: readonly unknown[]): Promise<T> => call('harness', name, ...args);

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

  it('makes ten pictures of changing size with the same number of buffers, and frees every byte at the end', async () => {
    const counts = await harness<Awaited<ReturnType<Harness['countBuffers']>>>('countBuffers', 'micro', 10);
    expect(counts.pictures).toBe(10);
    // From the third picture on (both sizes were seen) each size has its own steady number.
    const [evens, odds] = [0, 1].map((parity) => counts.after.filter((_, i) => i >= 2 && i % 2 === parity));
    expect(new Set(evens?.map((m) => `${m.gpuBuffers}/${m.gpuBytes}`)).size).toBe(1);
    expect(new Set(odds?.map((m) => `${m.gpuBuffers}/${m.gpuBytes}`)).size).toBe(1);
    expect(counts.disposed).toEqual({ gpuBuffers: 0, gpuBytes: 0 });
  });

  it('stops within one step of an abort and frees nothing that the next picture needs', async () => {
    expect(await harness('abortRun', 'micro')).toEqual({ errors: ['aborted'], stepsAfter: 0, next: [] });
  });
});

// The second build is chosen for good once it was asked for.
describe.each(['jspi', 'asyncify'] as const)('changed weights, %s', (build) => {
  it('are those of a file with the changes in it, need nothing of the file again, and leave nothing behind', async () => {
    const report = await call<AdaptReport>('runtimePage', 'adapt', build);
    expect(report.build).toBe(build);
    for (const key of ['linear', 'kernel', 'kernelOfStrength2', 'otherSize'] as const)
      expect(report[key], key).toBeLessThan(2e-4);
    expect(report.moved).toBeGreaterThan(0.05);
    expect(report.restored).toEqual([0, 0]);
    const [first, ofLinear, ofKernel, last] = report.bindings;
    expect(ofLinear).toBe(first);
    // Kernels are constants of a session until they are first changed; without JSPI they are inputs from the start.
    if (build === 'jspi') expect(ofKernel).not.toBe(first);
    else expect(ofKernel).toBe(first);
    expect(last).toBe(ofKernel);
    expect(report.memory[1]).toEqual(report.memory[0]);
    expect(report.failures.map(([code]) => code)).toEqual(['incompatibleLora', 'aborted']);
    for (const [, before, after, off] of report.failures) {
      expect(after).toEqual(before);
      expect(off).toBe(0);
    }
    expect(new Set(Object.values(report.reads))).toEqual(new Set([1]));
    expect(report.ends[1]).toEqual(report.ends[0]);
  });

  it('follow the formulas, every kind', async () => {
    const off = await call<Readonly<Record<string, number>>>('runtimePage', 'kinds', build);
    expect(Object.keys(off)).toHaveLength(13);
    expect(Object.entries(off).filter(([, value]) => !(value < 5e-6))).toEqual([]);
  });

  it('pass results from session to session without reading them', async () => {
    const report = await call<HandOverReport>('runtimePage', 'handOver', build);
    expect(report).toMatchObject({ off: 0, offInto: 0 });
    expect(report.memory[1]).toEqual(report.memory[0]);
    expect(report.ends[1]).toEqual(report.ends[0]);
  });
});
