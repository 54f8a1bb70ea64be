/** @file Matrices of 4 and 8 bits: the bytes of ONNX Runtime's own block quantiser, the values of its operator, and what cannot be packed. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeFloats } from '../../../src/assets/floats.js';
import type { DType } from '../../../src/base/dtype.js';
import { float16ToFloat32, float32ToFloat16 } from '../../../src/base/half.js';
import {
  approximationError,
  packedSizes,
  packRows,
  unpackRows,
  type PackedRows,
  type PackingFormat,
} from '../../../src/base/packed-matrix.js';
import { problemOf } from '../assets/support.js';
import { openGolden } from './goldens.js';

interface Shape {
  readonly N: number;
  readonly K: number;
  readonly block: number;
  readonly bits: 4 | 8;
  readonly symmetric: boolean;
  readonly source: 'f32' | 'f16' | 'bf16';
  readonly scales: 'f32' | 'f16';
  readonly relativeWeightError: number;
}

const folder = 'unit/matmulnbits';
const golden = await openGolden(`${folder}/tensors.safetensors`);
const { shapes } = JSON.parse(readFileSync(new URL(`../../golden/${folder}/case.json`, import.meta.url), 'utf8')) as {
  readonly shapes: readonly Shape[];
};

const DTYPES: Readonly<Record<Shape['source'], DType>> = { f32: 'F32', f16: 'F16', bf16: 'BF16' };
const floats = (name: string, type: Shape['source']): Float32Array =>
  decodeFloats(golden(name).slice(), DTYPES[type], 'float32', name).slice();
const formatOf = ({ bits, block, symmetric }: Shape): PackingFormat => ({ bits, block, zeros: !symmetric });
const concat = <T extends Uint8Array | Float32Array>(make: (values: number[]) => T, parts: readonly T[]): T =>
  make(parts.flatMap((part) => [...part]));

describe.each(shapes.map((shape, i) => [i, shape] as const))('golden %i', (i, shape) => {
  const { N, K } = shape;
  const format = formatOf(shape);
  const weights = floats(`${i}.W`, shape.source);
  const packed = packRows(weights, K, format);

  it('has the bytes of the quantiser', () => {
    expect(packed.codes).toEqual(golden(`${i}.B`).slice());
    expect(packed.zeros).toEqual(shape.symmetric ? undefined : golden(`${i}.zero_points`).slice());
    const scales = shape.scales === 'f16' ? float16ToFloat32(float32ToFloat16(packed.scales)) : packed.scales;
    expect(scales).toEqual(floats(`${i}.scales`, shape.scales));
  });

  it('has the sizes that the operator expects', () => {
    const { codes, scales, zeros = [] } = packed;
    expect(packedSizes(N, K, format)).toEqual({ codes: codes.length, scales: scales.length, zeros: zeros.length });
  });

  it('gives the operator’s values back, as far off as it is', () => {
    const values = unpackRows({ ...packed, scales: floats(`${i}.scales`, shape.scales) }, K, format);
    expect(values).toEqual(floats(`${i}.dequantised`, 'f32'));
    expect(Number(approximationError(weights, values).relative.toPrecision(3))).toBe(shape.relativeWeightError);
  });

  it('may be packed some rows at a time', () => {
    const parts: PackedRows[] = [];
    for (let row = 0; row < N; row += 5) parts.push(packRows(weights.subarray(row * K, (row + 5) * K), K, format));
    const bytes = (values: number[]): Uint8Array => Uint8Array.from(values);
    expect(
      concat(
        bytes,
        parts.map(({ codes }) => codes),
      ),
    ).toEqual(packed.codes);
    expect(
      concat(
        (values) => Float32Array.from(values),
        parts.map(({ scales }) => scales),
      ),
    ).toEqual(packed.scales);
    expect(
      concat(
        bytes,
        parts.map(({ zeros }) => zeros ?? new Uint8Array()),
      ),
    ).toEqual(packed.zeros ?? new Uint8Array());
  });
});

describe('any matrix', () => {
  const formats: readonly PackingFormat[] = ([4, 8] as const).flatMap((bits) =>
    [false, true].map((zeros) => ({ bits, block: 32, zeros })),
  );

  it.each(formats)('comes back within half a step: %o', (format) => {
    const value = fc.float({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 });
    fc.assert(
      fc.property(fc.array(value, { minLength: 33, maxLength: 33 }), (values) => {
        const row = Float32Array.from(values);
        const packed = packRows(row, 33, format);
        const back = unpackRows(packed, 33, format);
        for (const [i, exact] of row.entries()) {
          const step = Math.abs(packed.scales[i >> 5] ?? 0);
          // without zero points the codes end one step short on one side, and zero points are rounded themselves
          expect(Math.abs((back[i] ?? 0) - exact)).toBeLessThanOrEqual(step * 1.001 + 1e-30);
        }
      }),
    );
  });

  it.each(formats)('of zeros, or of values too small for a scale, comes back as zeros: %o', (format) => {
    for (const value of [0, 1e-44]) {
      const back = unpackRows(packRows(new Float32Array(64).fill(value), 64, format), 64, format);
      expect(back.every((x) => Object.is(x, 0) || Math.abs(x) <= 1e-43)).toBe(true);
    }
  });

  it('may be empty', () => {
    const format: PackingFormat = { bits: 4, block: 32, zeros: true };
    expect(packRows(new Float32Array(), 0, format).codes).toHaveLength(0);
    expect(unpackRows(packRows(new Float32Array(), 7, format), 7, format)).toHaveLength(0);
  });

  it.each([NaN, Infinity, -Infinity])('refuses %d', async (value) => {
    const values = new Float32Array(64).fill(0.5).with(40, value);
    for (const format of formats) {
      expect(await problemOf(() => packRows(values, 64, format))).toMatchObject({ code: 'invalidModelFile' });
    }
  });
});

it('measures errors', () => {
  const of = (exact: readonly number[], approximate: readonly number[]): unknown =>
    approximationError(Float32Array.from(exact), Float32Array.from(approximate));
  expect(of([3, 4], [3, 4])).toEqual({ relative: 0, max: 0 });
  expect(of([3, 4], [3, 5])).toEqual({ relative: 0.2, max: 1 });
  expect(of([0, 0], [0, 2])).toEqual({ relative: 2, max: 2 });
});
