/** @file float8, bfloat16 and float16 → float32 and float16: every value, against what torch's casts give. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { float8ToFloat16, float8ToFloat32, type Float8Type } from '../../../src/base/fp8.js';
import {
  bfloat16ToFloat16,
  bfloat16ToFloat32,
  float16ToFloat32,
  float16Value,
  float32ToFloat16,
} from '../../../src/base/half.js';
import { openGolden } from './goldens.js';

interface Case {
  readonly sha256: Readonly<Record<string, string>>;
  readonly tables: Readonly<Record<string, readonly number[]>>;
  readonly samples: number;
}

const folder = new URL('../../golden/unit/conversions/', import.meta.url);
const golden = JSON.parse(readFileSync(new URL('case.json', folder), 'utf8')) as Case;
const every = Uint16Array.from({ length: 65536 }, (_, i) => i);
const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);

/** Bits, every NaN as in the golden. */
const bits32 = (values: Float32Array): Uint32Array =>
  new Uint32Array(values.buffer).map((bits, i) => (Number.isNaN(values[i]) ? 0x7fc00000 : bits));
const bits16 = (halves: Uint16Array): Uint16Array => halves.map((bits) => ((bits & 0x7fff) > 0x7c00 ? 0x7e00 : bits));
const sha256 = ({ buffer }: Uint32Array | Uint16Array): string =>
  createHash('sha256').update(new Uint8Array(buffer)).digest('hex');

/** Into parts of one array, both of odd length. */
const inTwo = (convert: (bits: Uint16Array, out: Float32Array) => Float32Array): Float32Array => {
  const out = new Float32Array(every.length);
  for (const part of [[0, 32_767] as const, [32_767] as const]) convert(every.subarray(...part), out.subarray(...part));
  return out;
};

describe('16 bits, all 65,536', () => {
  it.each([
    ['bf16->f32', () => bits32(bfloat16ToFloat32(every))],
    ['bf16->f32', () => bits32(bfloat16ToFloat32(Uint16Array.of(1, ...every).subarray(1)))], // not at a word
    ['bf16->f32', () => bits32(inTwo(bfloat16ToFloat32))],
    ['bf16->f16', () => bits16(bfloat16ToFloat16(every))],
    ['f16->f32', () => bits32(float16ToFloat32(every))],
    ['f16->f32', () => bits32(float16ToFloat32(Uint16Array.of(1, ...every).subarray(1)))],
    ['f16->f32', () => bits32(inTwo(float16ToFloat32))],
    ['f16->f32', () => bits32(Float32Array.from(every, float16Value))],
  ])('%s', (name, convert) => {
    expect(sha256(convert())).toBe(golden.sha256[name]);
  });
});

describe.each([
  ['f8_e4m3fn', 'F8_E4M3'],
  ['f8_e5m2', 'F8_E5M2'],
] as const satisfies readonly (readonly [string, Float8Type])[])('%s, all 256', (name, type) => {
  it('→ float32', () => {
    expect([...bits32(float8ToFloat32(bytes, type))]).toEqual(golden.tables[`${name}->f32`]);
  });

  it('→ float16', () => {
    expect([...bits16(float8ToFloat16(bytes, type))]).toEqual(golden.tables[`${name}->f16`]);
  });
});

it('float32 → float16: ties, denormals, overflow and samples of all magnitudes', async () => {
  const tensors = await openGolden('unit/conversions/tensors.safetensors');
  const input = new Float32Array(tensors('input_bits').slice().buffer);
  expect(input).toHaveLength(golden.samples);
  const expected = new Uint16Array(tensors('f16_bits').slice().buffer);
  const got = bits16(float32ToFloat16(input));
  expect([...got].flatMap((bits, i) => (bits === expected[i] ? [] : [[input[i], bits, expected[i]]]))).toEqual([]);
});
