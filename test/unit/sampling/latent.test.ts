/** @file Linear combinations: every number of arrays, lengths around the blocks, one rounding, and what is said of non-finite results. */
import { describe, expect, it } from 'vitest';
import { combiner, computeInto, requireFinite, type Term } from '../../../src/sampling/latent.js';
import { createGenerator } from '../../../src/sampling/noise.js';

const allocate = (n: number): Float32Array => new Float32Array(n);
const FACTORS = [0.3, -1.7, 2.25, 0.011, -0.5, 1, 4];

/** The result of a combination, and what was said of it. */
function combined(...terms: readonly Term<Float32Array>[]): { readonly out: Float32Array; readonly finite: boolean } {
  let finite = false;
  const combine = combiner(allocate, (out, sum) => (finite = computeInto(out, sum)));
  return { out: combine(...terms), finite };
}

describe('combiner', () => {
  const lengths = [1, 7, 8, 9, 4095, 4096, 4097, 8201];
  const cases = lengths.flatMap((n) => FACTORS.map((_, i) => [i + 1, n] as const));
  it.each(cases)('adds %i arrays of %i numbers in double and rounds once', (count, n) => {
    const generator = createGenerator(BigInt(n));
    const arrays = FACTORS.slice(0, count).map((factor) => [factor, generator.randn(n)] as const);
    const { out, finite } = combined(...arrays);
    const expected = Float32Array.from({ length: n }, (_, i) =>
      arrays.reduce((total, [factor, array]) => total + factor * (array[i] ?? NaN), 0),
    );
    expect(out).toEqual(expected);
    expect(finite).toBe(true);
  });

  const places = [0, 5, 4095, 4096, 8200];
  it.each(FACTORS.flatMap((_, i) => places.map((place) => [i + 1, place] as const)))(
    'of %i arrays: one NaN, infinity or overflow at %i is found',
    (count, place) => {
      for (const bad of [NaN, Infinity, -Infinity, 3.4e38]) {
        const arrays = FACTORS.slice(0, count).map(() => new Float32Array(8201).fill(1));
        arrays.at(-1)?.fill(bad, place, place + 1);
        // 3.4e38 is a float32, but 1.5 times as much is none.
        const { out, finite } = combined(...arrays.map((array) => [1.5, array] as const));
        expect(Number.isFinite(out[place])).toBe(false);
        expect(finite).toBe(false);
        expect(() => {
          requireFinite(out, 'Latents');
        }).toThrow(/1 of 8201 values/);
      }
    },
  );

  it('does not take large numbers for infinite ones', () => {
    const large = new Float32Array(100).fill(3e38);
    expect(combined([1, large]).finite).toBe(true);
    expect(combined([-1, large], [0.5, large.slice()]).finite).toBe(true);
  });
});
