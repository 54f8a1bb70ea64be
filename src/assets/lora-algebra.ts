/** @file The few matrix products that LoRA factors need before they go to the device: small ones, summed in float64. Pure. */
import type { Matrix } from './weight-change.js';

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
