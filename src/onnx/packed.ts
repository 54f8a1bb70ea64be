/** @file Products with matrices of few bits (`MatMulNBits`): their tensors as weights of the graph, and the operator. */
import type { Site } from './dialects/dialect.js';
import type { PackedFormat, PackedPart, Value } from './types.js';

/** Which matrices are kept in few bits: by the weight's name in the graph and its shape `[out, in]`. */
export type Packing = (weight: string, shape: readonly [number, number]) => PackedFormat | undefined;

export interface PackedMatrix {
  readonly codes: Value;
  readonly scales: Value;
  readonly zeros: Value | undefined;
  readonly format: PackedFormat;
  /** out, in. */
  readonly shape: readonly [number, number];
}

/** Declares the tensors that stand for the matrix `name` (see {@link PackedPart}); scales have the type of the activations. */
export function packedMatrix(
  { g, dtype }: Site,
  name: string,
  shape: readonly [number, number],
  format: PackedFormat,
): PackedMatrix {
  const [out, columns] = shape;
  const blocks = Math.ceil(columns / format.block);
  const weight = (part: PackedPart['part'], size: readonly number[]): Value =>
    g.weight(name, size, { use: 'linear', dtype: part === 'scales' ? dtype : 'uint8', packed: { part, format } });
  return {
    codes: weight('codes', [out, blocks, (format.block * format.bits) / 8]),
    scales: weight('scales', [out * blocks]),
    zeros: format.zeros ? weight('zeros', [out * Math.ceil((blocks * format.bits) / 8)]) : undefined,
    format,
    shape,
  };
}

/** `x·Wᵀ + bias`; x `[rows, in]`. */
export function packedProduct({ g, scope }: Site, x: Value, w: PackedMatrix, bias: Value | undefined): Value {
  const [N, K] = w.shape;
  const { bits, block } = w.format;
  return g.call('MatMulNBits', [x, w.codes, w.scales, w.zeros, undefined, bias], {
    domain: 'com.microsoft',
    scope,
    attributes: { N, K, bits, block_size: block, accuracy_level: ACTIVATIONS_AS_THEY_ARE },
  });
}

/** `accuracy_level`: 4 would round activations to 8 bits. */
const ACTIVATIONS_AS_THEY_ARE = 1;
