/**
 * @file Blocks with weights of their own on WebGPU in a real Chromium, against plain loops: all weights on the device, or two sets of buffers that are
 * filled while others are read; floats of all codings, and matrices of eight bits; and that nothing is left when they are freed.
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
function chain(x: Float32Array, matrices: readonly Float32Array[], width = WIDTH): Float64Array {
  return matrices.reduce(
    (rows: Float64Array, w) =>
      Float64Array.from(rows, (_, at) => {
        const [row, out] = [Math.floor(at / width), at % width];
        let sum = 0;
        for (let i = 0; i < width; i++) sum += (rows[row * width + i] ?? NaN) * (w[out * width + i] ?? NaN);
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

const base64 = (bytes: readonly number[]): string => Buffer.from(bytes).toString('base64');

const x = wave(ROWS * WIDTH, 0.1);
const prefixes = Array.from({ length: COUNT }, (_, i) => `blocks.${i}.`);
const common = { prefixes, width: WIDTH, x: [...x], passes: 3 };

describe.each([COUNT, 1, 0])('blocks on WebGPU of which %i stay', (resident) => {
  it('give what plain loops give, changed by a LoRA too, and leave nothing behind', async () => {
    const matrices = prefixes.map((_, i) => wave(WIDTH * WIDTH, i));
    const bytes = matrices.map(({ buffer }) => Buffer.from(buffer).toString('base64'));
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
      base64(
        Array.from({ length: (WIDTH * WIDTH) / 32 }, (_, b) => [
          0x00,
          0x2c,
          ...Array.from(of.subarray(32 * b, 32 * b + 32), (code) => code & 0xff),
        ]).flat(),
      ),
    );
    const { values } = await run({ ...common, matrices: bytes, dtype: 'Q8_0', resident });
    for (const pass of values) expectClose(pass, chain(x, matrices));
  });
});

/** Enough values that the device converts them. */
const WIDE = 256;

/** Bits of `count` small floats and what they mean (IEEE 754; arXiv:2209.05433, table 1). */
const CODINGS = {
  // 1.fraction times 2^-5…2^-2
  F16: (i: number) => {
    const [sign, exponent, fraction] = [i & 1, 10 + (i % 4), (37 * i) & 0x3ff];
    return { bits: (sign << 15) | (exponent << 10) | fraction, value: (1 + fraction / 1024) * 2 ** (exponent - 15) };
  },
  BF16: (i: number) => {
    const [sign, exponent, fraction] = [i & 1, 122 + (i % 4), (37 * i) & 0x7f];
    return { bits: (sign << 15) | (exponent << 7) | fraction, value: (1 + fraction / 128) * 2 ** (exponent - 127) };
  },
  F8_E4M3: (i: number) => {
    const [sign, exponent, fraction] = [i & 1, 2 + (i % 4), (37 * i) & 7];
    return { bits: (sign << 7) | (exponent << 3) | fraction, value: (1 + fraction / 8) * 2 ** (exponent - 7) };
  },
  F8_E5M2: (i: number) => {
    const [sign, exponent, fraction] = [i & 1, 10 + (i % 4), (37 * i) & 3];
    return { bits: (sign << 7) | (exponent << 2) | fraction, value: (1 + fraction / 4) * 2 ** (exponent - 15) };
  },
} as const;

describe.each([
  ['F16', undefined],
  ['BF16', undefined],
  ['F8_E4M3', undefined],
  ['F8_E4M3', 0.375],
  ['F8_E5M2', undefined],
] as const)('blocks of %s on WebGPU, times %s', (dtype, scale) => {
  const codes = prefixes.map((_, block) =>
    Array.from({ length: WIDE * WIDE }, (_, i) => CODINGS[dtype](i * 7919 + (i >> 3) + block)),
  );
  const matrices = codes.map((of) =>
    Float32Array.from(
      of,
      ({ bits, value }) => (bits >> (dtype.startsWith('F8') ? 7 : 15) ? -1 : 1) * value * (scale ?? 1),
    ),
  );
  const bytes = codes.map((of) => {
    const bits = of.map((code) => code.bits);
    return base64(dtype.startsWith('F8') ? bits : bits.flatMap((both) => [both & 0xff, both >> 8]));
  });
  const wide = { prefixes, width: WIDE, x: [...wave(2 * WIDE, 0.1)], passes: 3, matrices: bytes, dtype };

  it('are converted by the device wherever they are, and give the same', async () => {
    const wanted = chain(Float32Array.from(wide.x), matrices, WIDE);
    const all: BlockResult[] = [];
    for (const resident of [COUNT, 1, 0]) {
      const result = await run({ ...wide, ...(scale === undefined ? {} : { scale }), resident });
      expect(result.madeHere).toEqual([]);
      for (const pass of result.values) expectClose(pass, wanted);
      expect(result.values).toEqual(all[0]?.values ?? result.values);
      all.push(result);
    }
    const matrix = 4 * WIDE * WIDE;
    expect(all[0]?.brought).toBe(COUNT * matrix);
    // One stays; four take turns in three passes, of which at most the next two were brought already for a fourth.
    expect(all[1]?.brought).toBeGreaterThanOrEqual((1 + 3 * 4) * matrix);
    expect(all[1]?.brought).toBeLessThanOrEqual((1 + 3 * 4 + 2) * matrix);
  });
});
