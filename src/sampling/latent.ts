/**
 * @file Latents as flat arrays, and the one operation that all sampling consists of: linear combinations of them. Pure.
 *
 * A combination is written down before it is computed: nested sums are multiplied out and equal arrays merged, so that a
 * whole step is one pass over its arrays and is rounded once.
 */
import { assert, fail } from '../base/errors.js';
import { BLOCK, addRange, type AddRange } from './combine-loops.js';

/** A latent, flattened. Pictures are sampled in float32; float64 exists to test the formulas beyond its rounding. */
export type Latent = Float32Array | Float64Array;

/** How to get an array of a precision to write over, e.g. `(n) => new Float32Array(n)`. */
export type Allocate<L extends Latent> = (n: number) => L;

/** `Σ factor·array`, not computed yet; no array twice. */
export type Sum<L extends Latent> = readonly (readonly [factor: number, array: L])[];

/** An array, or a sum that stands for one. */
export type Vector<L extends Latent> = L | Sum<L>;

/** One summand of a combination. */
export type Term<L extends Latent> = readonly [factor: number, vector: Vector<L>];

/** `a·x + b·y + …` into a new array. Factors and sums are doubles; every element is rounded once. */
export type Combine<L extends Latent> = (...terms: readonly Term<L>[]) => L;

const isSum = <L extends Latent>(vector: Vector<L>): vector is Sum<L> => Array.isArray(vector);

/** What is left of a factor when its parts cancel is rounding, not information. */
const CANCELLED = 4 * Number.EPSILON;

/** `a·x + b·y + …` written down: sums multiplied out, factors of equal arrays added. */
export function sum<L extends Latent>(...terms: readonly Term<L>[]): Sum<L> {
  const factors = new Map<L, { total: number; size: number }>();
  for (const [outer, vector] of terms)
    for (const [inner, array] of isSum(vector) ? vector : ([[1, vector]] as const)) {
      const part = outer * inner;
      const known = factors.get(array) ?? { total: 0, size: 0 };
      factors.set(array, { total: known.total + part, size: known.size + Math.abs(part) });
    }
  const flat = [...factors].map(
    ([array, f]) => [Math.abs(f.total) <= CANCELLED * f.size ? 0 : f.total, array] as const,
  );
  const kept = flat.filter(([factor]) => factor !== 0);
  return kept.length > 0 ? kept : flat.slice(0, 1);
}

/** The largest float32. Numbers whose magnitudes add up to less are finite, in float32 as well. */
const LARGEST = (2 - 2 ** -23) * 2 ** 127;

/**
 * Computes a sum into `out`, which may be one of its own arrays. Returns whether every element is finite.
 *
 * @param add computes a block; what it computes is the same for all that there are
 */
export function computeInto(out: Latent, terms: Sum<Latent>, add: AddRange = addRange): boolean {
  const n = out.length;
  assert(
    terms.every(([, array]) => array.length === n),
    `latents of lengths ${terms.map(([, array]) => array.length).join(', ')} cannot be added into ${n}`,
  );
  let size = 0;
  for (let begin = 0; begin < n; begin += BLOCK) size += add(out, begin, Math.min(n, begin + BLOCK), terms);
  return size < LARGEST || allFinite(out);
}

/**
 * Linear combinations in the precision of `allocate`. All arrays of one call must have one length.
 *
 * @param compute writes a sum into an array
 */
export function combiner<L extends Latent>(
  allocate: Allocate<L>,
  compute: (out: L, terms: Sum<L>) => unknown = (out, terms) => computeInto(out, terms),
): Combine<L> {
  return (...terms) => {
    const flat = sum(...terms);
    const out = allocate(flat[0]?.[1].length ?? 0);
    compute(out, flat);
    return out;
  };
}

/** The arrays that a vector is made of. */
export const arraysOf = <L extends Latent>(vector: Vector<L>): readonly L[] =>
  isSum(vector) ? vector.map(([, array]) => array) : [vector];

/** The array that a vector is, computed only if it is more than one array. */
export function settled<L extends Latent>(vector: Vector<L>, combine: Combine<L>): L {
  if (!isSum(vector)) return vector;
  const [only, ...others] = vector;
  return only !== undefined && only[0] === 1 && others.length === 0 ? only[1] : combine([1, vector]);
}

/** A copy with every element held within [−limit, limit]. */
export function clamped<L extends Latent>(vector: Vector<L>, limit: number, combine: Combine<L>): L {
  const x = combine([1, vector]);
  const out: Latent = x;
  for (let i = 0; i < out.length; i++) out[i] = Math.min(limit, Math.max(-limit, out[i] ?? 0));
  return x;
}

/** True when no element is NaN or infinite (`0·x` is 0 exactly for the finite ones). */
export function allFinite(x: Latent): boolean {
  let [a, b, c, d] = [0, 0, 0, 0];
  const n = x.length;
  const whole = n - (n % 4);
  for (let i = 0; i < whole; i += 4) {
    a += 0 * (x[i] ?? 0);
    b += 0 * (x[i + 1] ?? 0);
    c += 0 * (x[i + 2] ?? 0);
    d += 0 * (x[i + 3] ?? 0);
  }
  for (let i = whole; i < n; i++) a += 0 * (x[i] ?? 0);
  return a + b + c + d === 0;
}

/**
 * Throws `notFinite` when `x` has NaN or infinite elements, saying how many and where the run stood.
 *
 * @param what the thing checked and the place, e.g. `Network output of step 3 of 20`
 */
export function requireFinite(x: Latent, what: string): void {
  if (allFinite(x)) return;
  const bad = Array.from(x).filter((value) => !Number.isFinite(value)).length;
  throw fail('notFinite', `${what}: ${bad} of ${x.length} values are NaN or infinite; all must be finite.`, {
    hint: 'A network in half precision overflowed, or the weights are damaged. Try it in single precision, or another model file.',
  });
}
