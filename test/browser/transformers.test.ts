/**
 * @file The graphs of FLUX.1 and T5, and matrices of few bits, on WebGPU in a real Chromium: the goldens' numbers, no operator on the CPU, and as
 * many dispatches as our arithmetic says.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memorySource } from '../../src/assets/byte-source.js';
import { openSafetensors } from '../../src/assets/safetensors.js';
import { openServedPage, type ServedPage } from '../../scripts/lib/served-page.js';
import { readGoldenJson, readTensors } from '../golden-runner/files.js';
import { nodeFolder } from '../golden-runner/node.js';
import { compare } from '../golden-runner/report.js';
import { compareByStd, floats, outOfTolerance } from '../graph/block-sessions.js';
import type { PackedRun, PageResult } from './transformers-page.js';

const GOLDEN = join(import.meta.dirname, '../golden');
const folder = nodeFolder(GOLDEN);

let served: ServedPage;
beforeAll(async () => {
  served = await openServedPage({ goldens: GOLDEN });
  await served.page.addScriptTag({ type: 'module', url: '/test/browser/transformers-page.ts' });
  await served.page.waitForFunction(() => 'transformersPage' in globalThis);
});
afterAll(() => served.close());

const call = <T>(name: string, ...args: readonly unknown[]): Promise<T> =>
  served.page.evaluate(
    ([n, a]) =>
      (Reflect.get(globalThis, 'transformersPage') as Record<string, (...values: readonly unknown[]) => unknown>)[n]?.(
        ...a,
      ),
    [name, args] as const,
  ) as Promise<T>;

describe('transformers on WebGPU', () => {
  it("FLUX.1 gives diffusers' velocity", async () => {
    const { values, counted, expected } = await call<PageResult>('flux');
    const golden = await readTensors(folder, 'cases/flux-dev-default/tensors.safetensors');
    expect(outOfTolerance([compareByStd('velocity', values, golden.get('step.0.velocity'), 1e-4)])).toEqual([]);
    expect(counted).toBe(expected);
  });

  it("T5 gives transformers' states, with tokens hidden", async () => {
    const { values, counted, expected } = await call<PageResult>('t5');
    const golden = await readTensors(folder, 'unit/t5-encoder-large-activations/tensors.safetensors');
    const first = floats(golden.get('with_mask')).subarray(0, values.length);
    expect(outOfTolerance([compareByStd('states', values, first, 1e-4)])).toEqual([]);
    expect(counted).toBe(expected);
  });

  it('matrices of few bits, bound as inputs, give the products of the CPU kernel', async () => {
    const { shapes } = (await readGoldenJson(folder, 'unit/matmulnbits/case.json')) as {
      readonly shapes: readonly Readonly<Record<'N' | 'K' | 'M' | 'block' | 'bits' | 'scales' | 'bias', unknown>>[];
    };
    const bytes = await folder.read('unit/matmulnbits/tensors.safetensors');
    const { tensors } = await openSafetensors(memorySource('tensors', bytes));
    const raw = (name: string): ArrayBuffer | undefined => {
      const found = tensors.get(name);
      return found && bytes.slice(found.start, found.end).buffer;
    };
    const results = [];
    for (const [i, { N, K, M, block, bits, scales }] of shapes.entries()) {
      if (scales !== 'f32') continue; // this adapter has no float16
      const float = (name: string): readonly number[] => [
        ...new Float32Array(raw(`${i}.${name}`) ?? new ArrayBuffer()),
      ];
      const [zeros, bias] = [raw(`${i}.zero_points`), raw(`${i}.bias`)];
      const run = {
        x: float('A'),
        rows: M,
        shape: [N, K],
        format: { bits, block, zeros: zeros !== undefined },
        codes: [...new Uint8Array(raw(`${i}.B`) ?? new ArrayBuffer())],
        scales: float('scales'),
        ...(zeros && { zeros: [...new Uint8Array(zeros)] }),
        ...(bias && { bias: float('bias') }),
      } as PackedRun;
      const y = await call<readonly number[]>('packed', run);
      results.push(compare(`${i}: ${JSON.stringify(run.format)}`, y, float('Y'), { absolute: 0, relative: 1e-5 }));
    }
    expect(results.length).toBeGreaterThan(3);
    expect(outOfTolerance(results)).toEqual([]);
  });
});
