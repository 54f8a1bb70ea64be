/** @file Stored floats → float32 and float16, all 65,536 halves against the formulas of IEEE 754 and of bfloat16. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeFloats } from '../../../src/assets/floats.js';
import { problemOf } from './support.js';

/** IEEE 754-2019 §3.4 for a binary format of `exponentBits` and `fractionBits`. */
function decodeBinary(bits: number, exponentBits: number, fractionBits: number): number {
  const fraction = bits % 2 ** fractionBits;
  const exponent = Math.floor(bits / 2 ** fractionBits) % 2 ** exponentBits;
  const sign = bits >= 2 ** (exponentBits + fractionBits) ? -1 : 1;
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Infinity : NaN;
  const [lead, power] = exponent === 0 ? [0, 1 - bias] : [1, exponent - bias];
  return sign * (lead + fraction / 2 ** fractionBits) * 2 ** power;
}

const allHalves = Uint16Array.from({ length: 65536 }, (_, i) => i);
const bytesOf = (array: ArrayBufferView): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

describe('decodeFloats', () => {
  it.each([
    ['F16', 5, 10],
    ['BF16', 8, 7],
  ] as const)('%s → float32, every value', (dtype, exponentBits, fractionBits) => {
    const values = decodeFloats(bytesOf(allHalves), dtype, 'float32', 't');
    const wrong = [...allHalves].filter(
      (bits) => !Object.is(values[bits], decodeBinary(bits, exponentBits, fractionBits)),
    );
    expect(wrong).toEqual([]);
  });

  it('F16 → float16, every bit pattern', () => {
    const halves = decodeFloats(bytesOf(allHalves), 'F16', 'float16', 't');
    expect([...allHalves].filter((bits) => halves[bits] !== bits)).toEqual([]);
  });

  it('BF16 → float16: the nearest float16, ties to even', () => {
    const inRange = allHalves.filter((bits) => Math.abs(decodeBinary(bits, 8, 7)) <= 65504);
    const halves = decodeFloats(bytesOf(inRange), 'BF16', 'float16', 't');
    const wrong = [...inRange].filter((bits, i) => !isNearest(decodeBinary(bits, 8, 7), halves[i] ?? NaN));
    expect(wrong).toEqual([]);
  });

  it('F32 → float16: the nearest float16, ties to even', () => {
    const float = fc.float({ noNaN: true, noDefaultInfinity: true, min: -65504, max: 65504 });
    const tie = fc.tuple(fc.integer({ min: 0, max: 0x7bfe }), fc.constantFrom(0, 1)).map(([bits, side]) => {
      const middle = (decodeBinary(bits, 5, 10) + decodeBinary(bits + 1, 5, 10)) / 2; // exact in float32
      return side === 0 ? middle : -middle;
    });
    fc.assert(
      fc.property(fc.array(fc.oneof(float, tie), { minLength: 1 }), (values) => {
        const halves = decodeFloats(bytesOf(Float32Array.from(values)), 'F32', 'float16', 't');
        expect(values.filter((value, i) => !isNearest(value, halves[i] ?? NaN))).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  it('keeps infinities and NaN of the file', () => {
    const halves = decodeFloats(bytesOf(Float32Array.of(Infinity, -Infinity, NaN)), 'F32', 'float16', 't');
    expect([...halves].map((bits) => decodeBinary(bits, 5, 10))).toEqual([Infinity, -Infinity, NaN]);
  });

  it('F64 → float32 and float16', () => {
    const values = [1 / 3, -0, 1e-40, 65504, 2 ** -24];
    expect(decodeFloats(bytesOf(Float64Array.from(values)), 'F64', 'float32', 't')).toEqual(Float32Array.from(values));
    expect([...decodeFloats(bytesOf(Float64Array.from([1, -2, 0.5])), 'F64', 'float16', 't')]).toEqual([
      0x3c00, 0xc000, 0x3800,
    ]);
  });

  it('does not mind where the bytes begin', () => {
    const shifted = new Uint8Array(1 + 16);
    shifted.set(bytesOf(Float32Array.of(1, 2, 3, 4)), 1);
    expect(decodeFloats(shifted.subarray(1), 'F32', 'float32', 't')).toEqual(Float32Array.of(1, 2, 3, 4));
    expect([...decodeFloats(shifted.subarray(1), 'F64', 'float32', 't')]).toHaveLength(2);
    expect([...decodeFloats(shifted.subarray(1), 'F16', 'float16', 't')]).toEqual([
      0, 0x3f80, 0, 0x4000, 0, 0x4040, 0, 0x4080,
    ]);
  });

  it('refuses what is not a float, and what float16 cannot hold', async () => {
    const integers = await problemOf(() => decodeFloats(new Uint8Array(8), 'I64', 'float32', 'unet: tensor "w"'));
    expect(integers).toMatchObject({
      code: 'invalidModelFile',
      message: 'unet: tensor "w" has dtype I64; expected F32, F16, BF16, F8_E4M3, F8_E5M2, F64.',
    });
    const large = await problemOf(() =>
      decodeFloats(bytesOf(Float32Array.of(1, 65520)), 'F32', 'float16', 'unet: tensor "w"'),
    );
    expect(large).toMatchObject({
      code: 'invalidModelFile',
      message: 'unet: tensor "w" holds 65520, which float16 (up to 65504) cannot.',
    });
    expect([...decodeFloats(bytesOf(Float32Array.of(65519)), 'F32', 'float16', 't')]).toEqual([0x7bff]);
  });
});

/** Whether `bits` is the float16 nearest to `value`; of two, the one with an even last bit; with the sign of `value`. */
function isNearest(value: number, bits: number): boolean {
  const distance = (candidate: number): number => Math.abs(decodeBinary(candidate, 5, 10) - value);
  const own = distance(bits);
  const neighbours = [bits - 1, bits + 1].filter(
    (other) => other >= 0 && !((other ^ bits) & 0x8000) && (other & 0x7fff) < 0x7c00,
  );
  const beaten = neighbours.some((other) => distance(other) < own || (distance(other) === own && bits % 2 === 1));
  return !beaten && (bits & 0x7fff) <= 0x7bff && (Object.is(value, -0) || value < 0) === bits >= 0x8000;
}
