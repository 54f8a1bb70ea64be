/**
 * @file Blocks with weights of their own on WebGPU in a real Chromium, against plain loops: all weights on the device, or two sets of buffers that are
 * filled while others are read; floats, and matrices of eight bits; and that nothing is left when they are freed.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openServedPage, type ServedPage } from '../../scripts/lib/served-page.js';
import type { BlockResult, BlockRun } from './blocks-page.js';

let served: ServedPage;
beforeAll(async () => {
  served = await openServedPage({ goldens: join(import.meta.dirname, '../golden') });
  await served.page.addScriptTag({ type: 'module', url: '/test/browser/blocks-page.ts' });
  await served.page.waitForFunction(() => 'blocksPage' in globalThis);
});
afterAll(() => served.close());

const run = (given: BlockRun): Promise<BlockResult> =>
  served.page.evaluate(
    (g) => (Reflect.get(globalThis, 'blocksPage') as { blocks(of: BlockRun): Promise<BlockResult> }).blocks(g),
    given,
  );

const WIDTH = 64;
const ROWS = 5;
const COUNT = 5;
const wave = (count: number, phase: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(0.7 * i + 0.013 * i * (i % 11) + phase));

/** Layer after layer, in double precision. */
function chain(x: Float32Array, matrices: readonly Float32Array[]): Float64Array {
  return matrices.reduce(
    (rows: Float64Array, w) =>
      Float64Array.from(rows, (_, at) => {
        const [row, out] = [Math.floor(at / WIDTH), at % WIDTH];
        let sum = 0;
        for (let i = 0; i < WIDTH; i++) sum += (rows[row * WIDTH + i] ?? NaN) * (w[out * WIDTH + i] ?? NaN);
        return sum;
      }),
    Float64Array.from(x),
  );
}

function expectClose(got: readonly number[] | undefined, wanted: Float64Array): void {
  const scale = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const worst = wanted.reduce((most, value, i) => Math.max(most, Math.abs(value - (got?.[i] ?? NaN)) || 0), 0);
  expect(got).toHaveLength(wanted.length);
  expect(worst).toBeLessThan(1e-4 * scale);
}

const x = wave(ROWS * WIDTH, 0.1);
const prefixes = Array.from({ length: COUNT }, (_, i) => `blocks.${i}.`);
const common = { prefixes, width: WIDTH, x: [...x], passes: 3 };

describe.each([COUNT, 1, 0])('blocks on WebGPU of which %i stay', (resident) => {
  it('give what plain loops give, changed by a LoRA too, and leave nothing behind', async () => {
    const matrices = prefixes.map((_, i) => wave(WIDTH * WIDTH, i));
    const bytes = matrices.map(({ buffer }) => [...new Uint8Array(buffer)]);
    const change = { left: [...wave(WIDTH, 7)], right: [...wave(WIDTH, 8)] };
    const { values, before, after } = await run({ ...common, matrices: bytes, dtype: 'F32', resident, change });
    const changed = matrices.map((w, i) =>
      i === COUNT - 1
        ? w.map((value, at) => value + (change.left[Math.floor(at / WIDTH)] ?? NaN) * (change.right[at % WIDTH] ?? NaN))
        : w,
    );
    for (const pass of values.slice(0, 2)) expectClose(pass, chain(x, matrices));
    expectClose(values[2], chain(x, changed));
    if (resident === COUNT) return; // the first run of all: what ONNX Runtime keeps for the next is new
    expect(after).toEqual(before);
  });

  it('give the same with matrices of eight bits', async () => {
    /** One block of 32 values: its scale 1/16 as a float16, then its codes. */
    const codes = prefixes.map((_, i) => wave(WIDTH * WIDTH, i).map((value) => Math.round(100 * value)));
    const matrices = codes.map((of) => of.map((code) => code / 16));
    const bytes = codes.map((of) =>
      Array.from({ length: (WIDTH * WIDTH) / 32 }, (_, b) => [
        0x00,
        0x2c,
        ...Array.from(of.subarray(32 * b, 32 * b + 32), (code) => code & 0xff),
      ]).flat(),
    );
    const { values } = await run({ ...common, matrices: bytes, dtype: 'Q8_0', resident });
    for (const pass of values) expectClose(pass, chain(x, matrices));
  });
});
