/** @file Small numerics that must agree with numpy and torch to the last bit: rounding, ranges, interpolation. Imports nothing but errors. */
import { assert } from '../base/errors.js';

/** Element `i`, which must exist. */
export function at<T>(list: ArrayLike<T>, i: number): T {
  const value = list[i];
  assert(value !== undefined, `index ${i} of a list of ${list.length}`);
  return value;
}

/** Rounds to the nearest integer, ties to the even one, as numpy does (166.5 → 166). */
export function roundHalfEven(x: number): number {
  const rounded = Math.round(x);
  return Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : rounded;
}

/** [f(0), …, f(n−1)]. */
export function tabulate(n: number, f: (i: number) => number): number[] {
  return Array.from({ length: n }, (_, i) => f(i));
}

/** `numpy.linspace(first, last, n)`: n ≥ 0 points, both ends included. */
export function linspace(first: number, last: number, n: number): number[] {
  const step = n > 1 ? (last - first) / (n - 1) : 0;
  return tabulate(n, (i) => (i > 0 && i === n - 1 ? last : first + i * step));
}

/** `torch.linspace(first, last, n)` in float32: every element is rounded once, and the two halves start from the two ends. */
export function linspaceFloat32(first: number, last: number, n: number): Float32Array {
  const [a, b] = [Math.fround(first), Math.fround(last)];
  const step = n > 1 ? Math.fround(Math.fround(b - a) / (n - 1)) : 0;
  return Float32Array.from({ length: n }, (_, i) => (i < n / 2 ? a + step * i : b - step * (n - 1 - i)));
}

/** Piecewise linear interpolation of `table` (given at 0, 1, 2, …) at `x`, held constant outside. `numpy.interp`. */
export function interpolate(table: ArrayLike<number>, x: number): number {
  const last = table.length - 1;
  if (x <= 0) return at(table, 0);
  if (x >= last) return at(table, last);
  const i = Math.floor(x);
  const low = at(table, i);
  return (at(table, i + 1) - low) * (x - i) + low;
}
