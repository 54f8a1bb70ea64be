/**
 * @file What becomes of a LoRA on a matrix of few bits: added beside it, where it is exact, or rounded with it anew. The rows are those of a matrix
 * 3072 wide, of normal values, and the LoRA is of rank 16.
 */
import { packRows, unpackRows, type PackingFormat } from '../src/base/packed-matrix.js';
import { normal, uniform } from './int4-error.js';

const [ROWS, COLUMNS, RANK] = [256, 3072, 16];

const FORMATS: Readonly<Record<string, PackingFormat>> = {
  'int4, block 32': { bits: 4, block: 32, zeros: false },
  'int8, block 32': { bits: 8, block: 32, zeros: false },
};

/** Of the norm of the matrix. */
const SIZES = [0.01, 0.02, 0.05];

/** Δ = what was asked for; each way gives W' where the matrix alone gives Q. */
export function loraErrors(): readonly string[] {
  const random = uniform(2);
  const draw = (count: number): Float32Array => Float32Array.from({ length: count }, () => normal(random));
  const weight = draw(ROWS * COLUMNS);
  const direction = multiply(draw(ROWS * RANK), draw(RANK * COLUMNS));
  const lines = [
    '| format | Δ, of W | way | of Δ arrives | with noise, of Δ | W + Δ is missed by, of W |',
    '|---|---|---|---|---|---|',
  ];
  for (const [label, format] of Object.entries(FORMATS)) {
    const round = (values: Float32Array): Float32Array =>
      unpackRows(packRows(values, COLUMNS, format), COLUMNS, format);
    const packed = round(weight);
    for (const size of SIZES) {
      const factor = (size * norm(weight)) / norm(direction);
      const delta = direction.map((value) => value * factor);
      const ways = {
        'beside the matrix': sum(packed, delta),
        'floats rounded anew': round(sum(weight, delta)),
        'codes rounded anew': round(sum(packed, delta)),
      };
      for (const [way, got] of Object.entries(ways)) {
        const arrived = sum(got, packed, -1);
        const share = dot(arrived, delta) / dot(delta, delta);
        const noise = norm(sum(arrived, delta, -share)) / norm(delta);
        const off = norm(sum(got, sum(weight, delta), -1)) / norm(weight);
        lines.push(
          `| ${label} | ${percent(size)} | ${way} | ${percent(share)} | ${percent(noise)} | ${percent(off)} |`,
        );
      }
    }
  }
  return lines;
}

function multiply(left: Float32Array, right: Float32Array): Float32Array {
  const out = new Float32Array(ROWS * COLUMNS);
  for (let row = 0; row < ROWS; row++)
    for (let k = 0; k < RANK; k++)
      for (let i = 0; i < COLUMNS; i++)
        out[row * COLUMNS + i] =
          (out[row * COLUMNS + i] ?? 0) + (left[row * RANK + k] ?? 0) * (right[k * COLUMNS + i] ?? 0);
  return out;
}

function sum(a: Float32Array, b: Float32Array, factor = 1): Float32Array {
  return a.map((value, i) => value + factor * (b[i] ?? 0));
}

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((total, value, i) => total + value * (b[i] ?? 0), 0);
}

function norm(a: Float32Array): number {
  return Math.sqrt(dot(a, a));
}

function percent(value: number): string {
  return `${(100 * value).toFixed(2)} %`;
}
