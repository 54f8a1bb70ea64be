/** @file What changed weights must be: the published formulas in plain loops and float64, and changes of every kind to try them on. */
import type { AppliedChange, Delta, Matrix, Product } from '../../../src/assets/weight-change.js';
import { noise } from './fake-weight-file.js';

export const ROWS = 12;
export const COLUMNS = 10;

export type Numbers = readonly number[];

/** A change without its file. */
export interface Given {
  readonly delta: Delta;
  readonly strength: number;
  readonly scale: number;
  readonly rowNorms?: Float32Array;
  readonly inputNorms?: Float32Array;
}

export function matrix(rows: number, columns: number, seed: number): Matrix {
  return { rows, columns, values: noise(seed, rows * columns, 0.4) };
}

export function product(rank: number, seed: number): Product {
  return { left: matrix(ROWS, rank, seed), right: matrix(rank, COLUMNS, seed + 1) };
}

/** For ROWS×COLUMNS. */
export const KINDS: Readonly<Record<string, Delta>> = {
  'product of rank 4': { kind: 'product', factor: product(4, 1) },
  'product of rank 9': { kind: 'product', factor: product(9, 3) },
  'product of very different magnitudes': {
    kind: 'product',
    factor: {
      left: { rows: ROWS, columns: 3, values: noise(5, ROWS * 3, 1e-6) },
      right: { rows: 3, columns: COLUMNS, values: noise(6, COLUMNS * 3, 3e5) },
    },
  },
  hadamard: { kind: 'hadamard', first: product(3, 7), second: product(5, 9) },
  kronecker: { kind: 'kronecker', left: matrix(3, 5, 11), right: matrix(4, 2, 12) },
  full: { kind: 'full', values: matrix(ROWS, COLUMNS, 13) },
};

export const NORMS = noise(99, ROWS).map((value) => 1.5 + value);
/** Of a kernel with two places. */
export const INPUT_NORMS = noise(98, COLUMNS / 2).map((value) => 1.5 + value);

export function change(given: Given, id: string, tensor: string): AppliedChange {
  const { delta, strength, scale, rowNorms, inputNorms } = given;
  const read = { delta, ...(rowNorms && { rowNorms }), ...(inputNorms && { inputNorms }) };
  const rescales = (rowNorms ?? inputNorms) !== undefined;
  return { id, tensor, strength, scale, rescales, read: () => Promise.resolve(read) };
}

function multiply({ left, right }: Product): Numbers {
  return Array.from({ length: left.rows * right.columns }, (_, i) => {
    const [row, column] = [Math.floor(i / right.columns), i % right.columns];
    let sum = 0;
    for (let k = 0; k < left.columns; k++)
      sum += (left.values[row * left.columns + k] ?? NaN) * (right.values[k * right.columns + column] ?? NaN);
    return sum;
  });
}

function deltaOf(delta: Delta): Numbers {
  switch (delta.kind) {
    case 'product':
      return multiply(delta.factor);
    case 'hadamard': {
      const second = multiply(delta.second);
      return multiply(delta.first).map((value, i) => value * (second[i] ?? NaN));
    }
    case 'kronecker': {
      const { left, right } = delta;
      const columns = left.columns * right.columns;
      return Array.from({ length: left.rows * right.rows * columns }, (_, i) => {
        const [row, column] = [Math.floor(i / columns), i % columns];
        const block = Math.floor(row / right.rows) * left.columns + Math.floor(column / right.columns);
        const inside = (row % right.rows) * right.columns + (column % right.columns);
        return (left.values[block] ?? NaN) * (right.values[inside] ?? NaN);
      });
    }
    case 'full':
      return [...delta.values.values];
    default:
      return delta satisfies never;
  }
}

/** Groups of `x` brought to the given norms. */
function rescale(x: Numbers, norms: Float32Array, groupOf: (i: number) => number): Numbers {
  return x.map((value, i) => {
    const group = groupOf(i);
    const norm = Math.sqrt(x.reduce((sum, v, at) => sum + (groupOf(at) === group ? v * v : 0), 0));
    return ((norms[group] ?? NaN) * value) / norm;
  });
}

/** W + Σ strength·(W'ᵢ − W), where W'ᵢ is W + scale·Δᵢ, with its rows or inputs rescaled where the change has norms. */
export function changedWeight(base: Float32Array, all: readonly Given[]): Numbers {
  const sum = [...base];
  for (const { delta, strength, scale, rowNorms, inputNorms } of all) {
    const moved = deltaOf(delta).map((value, i) => (base[i] ?? NaN) + scale * value);
    const ofRow = (i: number): number => Math.floor(i / COLUMNS);
    const ofInput = (i: number): number => Math.floor((i % COLUMNS) / (COLUMNS / (inputNorms?.length ?? 1)));
    const byRow = rowNorms === undefined ? moved : rescale(moved, rowNorms, ofRow);
    const target = inputNorms === undefined ? byRow : rescale(moved, inputNorms, ofInput);
    target.forEach((value, i) => (sum[i] = (sum[i] ?? NaN) + strength * (value - (base[i] ?? NaN))));
  }
  return sum;
}

/** The largest difference; NaN where one is no number or the lengths differ. */
export function difference(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (got.length !== expected.length) return NaN;
  return Array.from(expected).reduce((most, value, i) => {
    const off = Math.abs(value - (got[i] ?? NaN));
    return off <= most ? most : off; // NaN is kept
  }, 0);
}
