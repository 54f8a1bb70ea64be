/** @file Matrices of GGUF files in the layout of MatMulNBits, against gguf-py's values: exact where the formats say the same, else near. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { memorySource } from '../../../src/assets/byte-source.js';
import { packsExactly } from '../../../src/assets/gguf-packing.js';
import { readPackedWeight } from '../../../src/assets/packed-weight.js';
import { openWhole } from '../../../src/assets/weight-tensors.js';
import { viewWeights } from '../../../src/assets/weights.js';
import { isBlockType } from '../../../src/base/gguf-blocks.js';
import { unpackRows } from '../../../src/base/packed-matrix.js';
import { UNET_LAYOUT } from '../../../src/models/layouts/diffusers.js';
import { packingOf } from '../../../src/pipeline/flux/packing.js';
import { openGolden } from '../base/goldens.js';

const FOLDER = 'unit/gguf';
const bytes = readFileSync(new URL(`../../golden/${FOLDER}/all-types.gguf`, import.meta.url));
const golden = await openGolden(`${FOLDER}/tensors.safetensors`);
const source = memorySource('all-types.gguf', new Uint8Array(bytes));
const weights = viewWeights('g', await openWhole(source), UNET_LAYOUT);
const COLUMNS = 512;

const valuesOf = (name: string): Float32Array => {
  const stored = golden(name).slice();
  return new Float32Array(stored.buffer);
};

const EXACT = [
  ['Q4_0', 4],
  ['Q4_0', 8],
  ['Q5_0', 8],
  ['Q8_0', 8],
] as const;

describe.each([false, true])('formats around zero, with zero points: %s', (zeros) => {
  it.each(EXACT)("%s in %i bits holds gguf-py's values to the bit", async (type, bits) => {
    const format = { bits, zeros, block: 32 };
    expect(packsExactly(type, format)).toBe(true);
    const name = `tensor.${type}.weight`;
    const packed = await readPackedWeight(weights, name, format);
    expect(packed.zeros === undefined).toBe(!zeros);
    const got = unpackRows(packed, COLUMNS, format);
    // 0 and −0 are one value to a product
    expect(Array.from(got, (value) => value + 0)).toEqual(Array.from(valuesOf(name), (value) => value + 0));
  });
});

it('five bits do not fit into four, nor do other blocks', () => {
  expect(packsExactly('Q5_0', { bits: 4, zeros: false, block: 32 })).toBe(false);
  expect(packsExactly('Q8_0', { bits: 8, zeros: false, block: 64 })).toBe(false);
  expect(packsExactly('Q4_K', { bits: 4, zeros: true, block: 32 })).toBe(false);
  expect(packsExactly('F16', { bits: 8, zeros: false, block: 32 })).toBe(false);
});

describe('what a network keeps in few bits', () => {
  const names = [...weights.tensors.keys()];
  const none = new Set<string>();

  it.each(names)('%s: what its file keeps so, within a step of its values', async (name) => {
    const format = packingOf(weights, [''], { floats: none })(name, [3, COLUMNS]);
    expect(format !== undefined).toBe(isBlockType(weights.find(name)?.dtype ?? ''));
    if (format === undefined) return;
    const got = unpackRows(await readPackedWeight(weights, name, format), COLUMNS, format);
    const wanted = valuesOf(name);
    const step = 1 / (2 ** format.bits - 1);
    for (let at = 0; at < wanted.length; at += format.block) {
      const block = wanted.subarray(at, at + format.block);
      const range = Math.max(0, ...block) - Math.min(0, ...block);
      const worst = Math.max(...block.map((value, i) => Math.abs(value - (got[at + i] ?? NaN))));
      expect(worst).toBeLessThanOrEqual((format.zeros ? 1 : 2) * step * range);
    }
  });

  it('is the same for all blocks: the most bits of any, and none where one has floats or is changed', () => {
    const of = (types: readonly string[], floats = none, bits?: 4 | 8): unknown =>
      packingOf(
        weights,
        types.map((type) => `tensor.${type}.`),
        { floats, bits },
      )('weight', [3, COLUMNS]);
    expect(of(['Q4_0', 'Q4_0'])).toEqual({ bits: 4, zeros: false, block: 32 });
    expect(of(['Q4_0', 'Q8_0'])).toEqual({ bits: 8, zeros: false, block: 32 });
    expect(of(['Q8_0', 'Q4_1'])).toEqual({ bits: 8, zeros: true, block: 32 });
    expect(of(['Q4_0', 'F16'])).toBeUndefined();
    expect(of(['Q4_0', 'Q4_1'], new Set(['tensor.Q4_1.weight']))).toBeUndefined();
    expect(of(['Q4_0', 'absent'])).toBeUndefined();
    // floats that are to be rounded
    expect(of(['F16', 'F16'], none, 4)).toEqual({ bits: 4, zeros: false, block: 32 });
    expect(of(['F16', 'Q8_0'], none, 4)).toEqual({ bits: 8, zeros: false, block: 32 });
    expect(of(['F16', 'Q4_0'], new Set(['tensor.F16.weight']), 4)).toBeUndefined();
  });
});
