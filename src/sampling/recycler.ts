/** @file The arrays of one run, used again: fresh memory costs as much as the arithmetic that fills it. Imports nothing but types. */
import type { Allocate, Latent } from './latent.js';

export interface Recycler<L extends Latent> {
  /** An array to write over; its values are left from an earlier use. */
  readonly take: Allocate<L>;
  /** Takes back every array that was given out and is not among `kept`. */
  readonly keepOnly: (kept: ReadonlySet<L>) => void;
}

/** @param n length of the arrays that are recycled; others are made anew */
export function createRecycler<L extends Latent>(allocate: Allocate<L>, n: number): Recycler<L> {
  const given = new Set<L>();
  const spare: L[] = [];
  return {
    take: (length) => {
      if (length !== n) return allocate(length);
      const array = spare.pop() ?? allocate(n);
      given.add(array);
      return array;
    },
    keepOnly: (kept) => {
      for (const array of given)
        if (!kept.has(array)) {
          given.delete(array);
          spare.push(array);
        }
    },
  };
}
