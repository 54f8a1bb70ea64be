/**
 * @file Products with matrices of few bits (`MatMulNBits`): their tensors as weights of the graph, and the operator; beside it, where that is asked for,
 * a branch of low rank, which changes the matrix without rounding it anew.
 */
import { gemm, type Site } from './dialects/dialect.js';
import type { BranchSide, PackedFormat, PackedPart, Value } from './types.js';

/** Which matrices are kept in few bits: by the weight's name in the graph and its shape `[out, in]`. */
export type Packing = (weight: string, shape: readonly [number, number]) => PackedFormat | undefined;

/** Which packed matrices have a branch, and of what rank. */
export type Branches = (weight: string) => number | undefined;

export interface PackedMatrix {
  readonly codes: Value;
  readonly scales: Value;
  readonly zeros: Value | undefined;
  readonly format: PackedFormat;
  /** out, in. */
  readonly shape: readonly [number, number];
  /** `[out, rank]` and `[rank, in]`; what is added to the matrix is their product. */
  readonly branch: Readonly<Record<BranchSide, Value>> | undefined;
}

/**
 * Declares the tensors that stand for the matrix `name` (see {@link PackedPart}); scales and factors have the type of the activations.
 * @param rank of its branch; absent: it has none
 */
export function packedMatrix(
  { g, dtype }: Site,
  name: string,
  shape: readonly [number, number],
  format: PackedFormat,
  rank?: number,
): PackedMatrix {
  const [out, columns] = shape;
  const blocks = Math.ceil(columns / format.block);
  const weight = (part: PackedPart['part'], size: readonly number[]): Value =>
    g.weight(name, size, { use: 'linear', dtype: part === 'scales' ? dtype : 'uint8', packed: { part, format } });
  const factor = (branch: BranchSide, size: readonly number[]): Value =>
    g.weight(name, size, { use: 'linear', dtype, branch });
  return {
    codes: weight('codes', [out, blocks, (format.block * format.bits) / 8]),
    scales: weight('scales', [out * blocks]),
    zeros: format.zeros ? weight('zeros', [out * Math.ceil((blocks * format.bits) / 8)]) : undefined,
    format,
    shape,
    branch:
      rank === undefined ? undefined : { left: factor('left', [out, rank]), right: factor('right', [rank, columns]) },
  };
}

/** `x·Wᵀ + bias`, and with a branch `+ (x·rightᵀ)·leftᵀ` (Hu et al. 2021, https://arxiv.org/abs/2106.09685, eq. 3); x `[rows, in]`. */
export function packedProduct(at: Site, x: Value, w: PackedMatrix, bias: Value | undefined): Value {
  const [N, K] = w.shape;
  const { bits, block } = w.format;
  const y = at.g.call('MatMulNBits', [x, w.codes, w.scales, w.zeros, undefined, bias], {
    domain: 'com.microsoft',
    scope: at.scope,
    attributes: { N, K, bits, block_size: block, accuracy_level: ACTIVATIONS_AS_THEY_ARE },
  });
  return w.branch === undefined ? y : gemm(at, gemm(at, x, w.branch.right, undefined), w.branch.left, y);
}

/** `accuracy_level`: 4 would round activations to 8 bits. */
const ACTIVATIONS_AS_THEY_ARE = 1;
