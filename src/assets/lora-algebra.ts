/** @file The few matrix products that LoRA factors need before they go to the device: small ones, summed in float64. Pure. */
import type { ChangeRows } from '../models/lora/flux-addresses.js';
import type { Delta, Matrix } from './weight-change.js';

/** `left · right`. */
export function multiply(left: Matrix, right: Matrix): Matrix {
  const [rows, inner, columns] = [left.rows, left.columns, right.columns];
  const values = new Float32Array(rows * columns);
  const sums = new Float64Array(columns);
  for (let row = 0; row < rows; row++) {
    sums.fill(0);
    for (let k = 0; k < inner; k++) {
      const factor = left.values[row * inner + k] ?? 0;
      for (let column = 0; column < columns; column++) {
        sums[column] = (sums[column] ?? 0) + factor * (right.values[k * columns + column] ?? 0);
      }
    }
    values.set(sums, row * columns);
  }
  return { rows, columns, values };
}

export function transpose({ rows, columns, values }: Matrix): Matrix {
  const turned = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      turned[column * rows + row] = values[row * columns + column] ?? 0;
    }
  }
  return { rows: columns, columns: rows, values: turned };
}

/**
 * One side of a Tucker decomposition: out[i, (x, k)] = Σⱼ core[i, j, k] · factor[j, x].
 * @param core `[i, j·k]`: a kernel `[i, j, h, w]` as a matrix, k being (h, w)
 * @param factor `[j, x]`
 */
export function expandCore(core: Matrix, factor: Matrix): Matrix {
  const places = core.columns / factor.rows;
  const columns = factor.columns * places;
  const values = new Float32Array(core.rows * columns);
  const sums = new Float64Array(columns);
  for (let i = 0; i < core.rows; i++) {
    sums.fill(0);
    for (let j = 0; j < factor.rows; j++) {
      for (let x = 0; x < factor.columns; x++) {
        const scale = factor.values[j * factor.columns + x] ?? 0;
        for (let k = 0; k < places; k++) {
          const at = x * places + k;
          sums[at] = (sums[at] ?? 0) + scale * (core.values[i * core.columns + j * places + k] ?? 0);
        }
      }
    }
    values.set(sums, i * columns);
  }
  return { rows: core.rows, columns, values };
}

/** One number a row. */
export function asColumn(values: Float32Array): Matrix {
  return { rows: values.length, columns: 1, values };
}

/** The rows of a matrix that are a layer's, in its order. Shares memory where they lie together. */
export function pickRows(matrix: Matrix, rows: ChangeRows | undefined): Matrix {
  if (rows === undefined) return matrix;
  const { first, end } = rangeOf(matrix.rows, rows);
  const { columns, values } = matrix;
  const picked = values.subarray(first * columns, end * columns);
  return { rows: end - first, columns, values: rows.swapped === true ? swapHalves(picked) : picked };
}

/**
 * Rows of `left ⊗ right`: a Kronecker product again where they are those of whole rows of `left`, else multiplied out.
 * Row r is left[⌊r/p⌋] ⊗ right[r mod p], p being the rows of `right`.
 */
export function kroneckerRows(left: Matrix, right: Matrix, rows: ChangeRows | undefined): Delta {
  if (rows === undefined) return { kind: 'kronecker', left, right };
  const { first, end } = rangeOf(left.rows * right.rows, rows);
  const step = rows.swapped === true ? (end - first) / 2 : end - first;
  const aligned = first % right.rows === 0 && step % right.rows === 0;
  if (aligned) return { kind: 'kronecker', left: pickRows(left, rows), right };
  const columns = left.columns * right.columns;
  const values = new Float32Array((end - first) * columns);
  for (let row = first; row < end; row++) {
    const [l, r] = [Math.floor(row / right.rows) * left.columns, (row % right.rows) * right.columns];
    for (let x = 0; x < left.columns; x++) {
      const factor = left.values[l + x] ?? 0;
      const at = (row - first) * columns + x * right.columns;
      for (let y = 0; y < right.columns; y++) values[at + y] = factor * (right.values[r + y] ?? 0);
    }
  }
  const ordered = rows.swapped === true ? swapHalves(values) : values;
  return { kind: 'full', values: { rows: end - first, columns, values: ordered } };
}

function rangeOf(height: number, { part }: ChangeRows): { readonly first: number; readonly end: number } {
  const { index = 0, of = 1, count = 1 } = part ?? {};
  return { first: (index * height) / of, end: ((index + count) * height) / of };
}

function swapHalves(values: Float32Array): Float32Array {
  const out = new Float32Array(values.length);
  out.set(values.subarray(values.length / 2));
  out.set(values.subarray(0, values.length / 2), values.length / 2);
  return out;
}
