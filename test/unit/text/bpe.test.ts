/** @file Byte-pair encoding against the algorithm as published: scan all pairs, merge the best, repeat. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { mergeEntry, mergePairs, pairKey, type Merges } from '../../../src/text/bpe.js';

/** Sennrich et al. 2016, Algorithm 1's use: one merge at a time, the lowest rank, the leftmost of equals. */
function mergeSlowly(word: readonly number[], ranked: readonly (readonly [number, number, number])[]): number[] {
  const ids = [...word];
  for (;;) {
    const found = ranked
      .map(([left, right, merged]) => ({ merged, at: ids.findIndex((id, i) => id === left && ids[i + 1] === right) }))
      .find(({ at }) => at >= 0);
    if (found === undefined) return ids;
    ids.splice(found.at, 2, found.merged);
  }
}

const pairs = fc.uniqueArray(fc.tuple(fc.nat(7), fc.nat(7)), { maxLength: 20, selector: ([a, b]) => a * 8 + b });

it('mergePairs agrees with the plain algorithm', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(7), { maxLength: 40 }),
      pairs,
      fc.array(fc.nat(7), { minLength: 20, maxLength: 20 }),
      (word, list, results) => {
        // few ids, so that merged tokens merge on, also into themselves
        const ranked = list.map(([left, right], rank) => [left, right, results[rank] ?? 0] as const);
        const merges: Merges = new Map(
          ranked.map(([left, right, merged], rank) => [pairKey(left, right), mergeEntry(rank, merged)]),
        );
        expect(mergePairs(word, merges)).toEqual(mergeSlowly(word, ranked));
      },
    ),
    { numRuns: 2000 },
  );
});

it('mergePairs takes the leftmost of equal pairs', () => {
  const merges: Merges = new Map([[pairKey(1, 1), mergeEntry(0, 2)]]);
  expect(mergePairs([1, 1, 1], merges)).toEqual([2, 1]);
  expect(mergePairs([1, 1, 1, 1, 1], merges)).toEqual([2, 2, 1]);
  expect(mergePairs([], merges)).toEqual([]);
});
