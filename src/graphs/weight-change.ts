/**
 * @file Changed weights: a weight and the factors of its changes → W + Σ strength·scale·Δ, as a graph of its own that runs once per change.
 * Plain matrix operators, the same in every dialect. Formulas and their sources: `assets/weight-change.ts`.
 */
import type { FloatType } from '../base/dtype.js';
import { createGraphBuilder, type GraphBuilder } from '../onnx/builder.js';
import { ELEMENT_TYPE_CODE, type Graph, type Value } from '../onnx/types.js';

/** Δ by its shapes: ranks of products, `[rows, columns]` of Kronecker factors. */
export type DeltaShape =
  | { readonly kind: 'product'; readonly rank: number }
  | { readonly kind: 'hadamard'; readonly ranks: readonly [number, number] }
  | {
      readonly kind: 'kronecker';
      readonly left: readonly [number, number];
      readonly right: readonly [number, number];
    }
  | { readonly kind: 'full' };

/** One change of a weight. */
export type ChangeShape = DeltaShape & {
  /** DoRA: W + Δ is brought to given norms. */
  readonly rescales: boolean;
  /** Where those are of inputs, and not of rows: how many there are. Each has columns/inputs columns, the places of a kernel. */
  readonly inputs?: number;
};

/** A weight `[O, I]`, or a kernel `[O, I, h, w]` as the matrix `[O, I·h·w]`. */
export interface MatrixSize {
  readonly rows: number;
  readonly columns: number;
}

/** Names of the graph's inputs and output. Change `i` reads `i.left`, `i.right` and so on, as {@link weightChangeGraph} says. */
export const CHANGE_IO = {
  weight: 'weight',
  /** What is left of W itself, `[1]`: 1 − Σ strength of the changes that rescale. Only where one does. */
  kept: 'kept',
  changed: 'changed',
  factor: (change: number, name: FactorName): string => `${change}.${name}`,
} as const;

export type FactorName = 'left' | 'right' | 'left2' | 'right2' | 'values' | 'norms';

/** Rows whose norm is smaller hold nothing that a norm could be given to; they stay zero. */
const SMALLEST_NORM = 1e-12;

/** What the graph computes in: norms need float32, since a float16 sum of squares overflows. */
export function changeType(changes: readonly ChangeShape[], dtype: FloatType): FloatType {
  return changes.some(({ rescales }) => rescales) ? 'float32' : dtype;
}

/**
 * W' of one weight. Inputs: `weight` `[rows, columns]` of `dtype`, and per change i, in {@link changeType} and with strength and scale
 * already in them: product `left` `[rows, rank]`, `right` `[rank, columns]`; hadamard those twice (`left2`, `right2`); kronecker `left`, `right`;
 * full `values` `[rows, columns]`; and where it rescales `norms`, `[rows, 1]` or `[1, inputs, 1]`. Output: `changed`, like `weight`.
 */
export function weightChangeGraph(size: MatrixSize, changes: readonly ChangeShape[], dtype: FloatType): Graph {
  const g = createGraphBuilder(`change of ${size.rows}×${size.columns}`);
  const type = changeType(changes, dtype);
  const shape = [size.rows, size.columns];
  const weight = cast(g, g.input(CHANGE_IO.weight, dtype, shape), type);
  const rescales = changes.some((change) => change.rescales);
  let sum = rescales ? g.call('Mul', [weight, g.input(CHANGE_IO.kept, type, [1])]) : weight;
  changes.forEach((change, i) => {
    const factor: Factor = (name, factorShape) => g.input(CHANGE_IO.factor(i, name), type, factorShape);
    if (!change.rescales) sum = plus(g, sum, change, size, factor);
    else sum = g.call('Add', [sum, rescale(g, plus(g, weight, change, size, factor), size, change.inputs, factor)]);
  });
  g.output(CHANGE_IO.changed, cast(g, sum, dtype));
  return g.finish();
}

/** Declares a factor of the change at hand. */
type Factor = (name: FactorName, shape: readonly number[]) => Value;

/** `x + Δ`. */
function plus(g: GraphBuilder, x: Value, change: DeltaShape, size: MatrixSize, factor: Factor): Value {
  const { rows, columns } = size;
  const product = (rank: number, left: FactorName, right: FactorName, c?: Value): Value =>
    g.call('Gemm', [factor(left, [rows, rank]), factor(right, [rank, columns]), c]);
  switch (change.kind) {
    case 'product':
      return product(change.rank, 'left', 'right', x);
    case 'hadamard': {
      const [first, second] = change.ranks;
      return g.call('Add', [x, g.call('Mul', [product(first, 'left', 'right'), product(second, 'left2', 'right2')])]);
    }
    case 'kronecker': {
      const [[a, b], [c, d]] = [change.left, change.right];
      const blocks = g.call('Mul', [factor('left', [a, 1, b, 1]), factor('right', [1, c, 1, d])]);
      return g.call('Add', [x, g.call('Reshape', [blocks, g.ints([rows, columns])])]);
    }
    case 'full':
      return g.call('Add', [x, factor('values', [rows, columns])]);
    default:
      return change satisfies never;
  }
}

/** The norms of rows, or of inputs. */
function rescale(
  g: GraphBuilder,
  x: Value,
  { rows, columns }: MatrixSize,
  inputs: number | undefined,
  factor: Factor,
): Value {
  if (inputs === undefined) return rescaled(g, x, factor('norms', [rows, 1]), [1]);
  const kernels = g.call('Reshape', [x, g.ints([rows, inputs, columns / inputs])]);
  return g.call('Reshape', [rescaled(g, kernels, factor('norms', [1, inputs, 1]), [0, 2]), g.ints([rows, columns])]);
}

/** `norms · x / ‖x‖`, the norm being over `axes` (DoRA, eq. 5). */
function rescaled(g: GraphBuilder, x: Value, norms: Value, axes: readonly number[]): Value {
  const found = g.call('ReduceL2', [x, g.ints(axes)], { attributes: { keepdims: 1 } });
  const safe = g.call('Max', [found, g.floats([SMALLEST_NORM], found.dtype)]);
  return g.call('Mul', [x, g.call('Div', [norms, safe])]);
}

function cast(g: GraphBuilder, x: Value, dtype: FloatType): Value {
  return x.dtype === dtype ? x : g.call('Cast', [x], { attributes: { to: ELEMENT_TYPE_CODE[dtype] } });
}
