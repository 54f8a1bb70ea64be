/** @file Latents as flat arrays, and the one operation that all sampling consists of: linear combinations of them. Pure. */
import { assert, fail } from '../base/errors.js';

/** A latent, flattened. Pictures are sampled in float32; float64 exists to test the formulas beyond its rounding. */
export type Latent = Float32Array | Float64Array;

/** How to make a zeroed array of a precision, e.g. `(n) => new Float32Array(n)`. */
export type Allocate<L extends Latent> = (n: number) => L;

/** `factor · array`, one summand of a combination. */
export type Term<L extends Latent> = readonly [factor: number, array: L];

/** `a·x + b·y + …` into a new array. Factors and sums are doubles; every element is rounded once. */
export type Combine<L extends Latent> = (...terms: readonly Term<L>[]) => L;

/** `out = Σ factor·array` for one to four terms; longer sums go through it in pieces. */
function combineInto(out: Latent, terms: readonly Term<Latent>[]): void {
  const n = out.length;
  const [[a, x] = [0, out], [b, y] = [0, out], [c, z] = [0, out], [d, w] = [0, out]] = terms;
  if (terms.length === 1) for (let i = 0; i < n; i++) out[i] = a * (x[i] ?? 0);
  else if (terms.length === 2) for (let i = 0; i < n; i++) out[i] = a * (x[i] ?? 0) + b * (y[i] ?? 0);
  else if (terms.length === 3)
    for (let i = 0; i < n; i++) out[i] = a * (x[i] ?? 0) + b * (y[i] ?? 0) + c * (z[i] ?? 0);
  else
    for (let i = 0; i < n; i++)
      out[i] = a * (x[i] ?? 0) + b * (y[i] ?? 0) + c * (z[i] ?? 0) + d * (w[i] ?? 0);
}

/** `Σ factor·array` of any length, summed in double before the one rounding. */
function combineMany(out: Latent, terms: readonly Term<Latent>[]): void {
  const n = out.length;
  const sum = new Float64Array(n);
  for (const [factor, array] of terms) for (let i = 0; i < n; i++) sum[i] = (sum[i] ?? 0) + factor * (array[i] ?? 0);
  out.set(sum);
}

/** Linear combinations in the precision of `allocate`. All arrays of one call must have one length. */
export function combiner<L extends Latent>(allocate: Allocate<L>): Combine<L> {
  return (...terms) => {
    const n = terms[0]?.[1].length;
    assert(
      n !== undefined && terms.every(([, array]) => array.length === n),
      `latents of lengths ${terms.map(([, array]) => array.length).join(', ')} cannot be added`,
    );
    const out = allocate(n);
    if (terms.length <= 4) combineInto(out, terms);
    else combineMany(out, terms);
    return out;
  };
}

/** Every element held within [−limit, limit], in place. */
export function clamp(x: Latent, limit: number): void {
  for (let i = 0; i < x.length; i++) x[i] = Math.min(limit, Math.max(-limit, x[i] ?? 0));
}

/** True when no element is NaN or infinite (`0·x` is 0 exactly for the finite ones). */
export function allFinite(x: Latent): boolean {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += 0 * (x[i] ?? 0);
  return sum === 0;
}

/**
 * Throws `notFinite` when `x` has NaN or infinite elements, saying how many and where the run stood.
 *
 * @param what the thing checked and the place, e.g. `network output of step 3 of 20`
 */
export function requireFinite(x: Latent, what: string): void {
  if (allFinite(x)) return;
  const bad = Array.from(x).filter((value) => !Number.isFinite(value)).length;
  throw fail('notFinite', `${what}: ${bad} of ${x.length} values are NaN or infinite; all must be finite.`, {
    hint: 'A network in half precision overflowed, or the weights are damaged. Try it in single precision, or another model file.',
  });
}
