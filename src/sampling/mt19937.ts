/** @file The Mersenne Twister MT19937 (32-bit words), the source of every random number here. Imports nothing. */

const SIZE = 624;
const MIDDLE = 397;

/** The next word of the sequence, 0…2^32−1. */
export type NextWord = () => number;

/** `init_genrand` of the reference code: fills the state from one 32-bit seed. Words are signed here, of the same bits. */
function initialState(seed: number): Int32Array {
  const state = new Int32Array(SIZE);
  let word = seed | 0;
  state[0] = word;
  for (let i = 1; i < SIZE; i++) {
    word = (Math.imul(1812433253, word ^ (word >>> 30)) + i) | 0;
    state[i] = word;
  }
  return state;
}

/** `(x_k^upper | x_{k+1}^lower)·A` of eq. 2.1. */
function mixed(upper: number, lower: number): number {
  const y = (upper & 0x80000000) | (lower & 0x7fffffff);
  return (y >>> 1) ^ (-(y & 1) & 0x9908b0df);
}

/** `x_{k+n} = x_{k+m} ⊕ (x_k^upper | x_{k+1}^lower)·A` (eq. 2.1) for all 624 words, in place. */
function twist(state: Int32Array): void {
  let k = 0;
  for (; k < SIZE - MIDDLE; k++) state[k] = (state[k + MIDDLE] ?? 0) ^ mixed(state[k] ?? 0, state[k + 1] ?? 0);
  for (; k < SIZE - 1; k++) state[k] = (state[k + MIDDLE - SIZE] ?? 0) ^ mixed(state[k] ?? 0, state[k + 1] ?? 0);
  state[k] = (state[MIDDLE - 1] ?? 0) ^ mixed(state[k] ?? 0, state[0] ?? 0);
}

/** Tempering (eqs. 2.2–2.5). The result is signed, of the same bits. */
function temper(word: number): number {
  let y = word;
  y ^= y >>> 11;
  y ^= (y << 7) & 0x9d2c5680;
  y ^= (y << 15) & 0xefc60000;
  return y ^ (y >>> 18);
}

/** A sequence that can be drawn from in two ways. */
export interface Words {
  readonly word: NextWord;
  /** Fills [begin, end) with the low 24 bits of one word each, 0…2^24−1: as `word() & 0xffffff`, in two thirds of the time. */
  readonly low24: (values: Float32Array, begin: number, end: number) => void;
}

/** MT19937 seeded with `seed` (its low 32 bits), as one word after the other or in bulk. */
export function createWords(seed: number): Words {
  const state = initialState(seed);
  let next = SIZE;
  const refillWhenEmpty = (): void => {
    if (next < SIZE) return;
    twist(state);
    next = 0;
  };
  return {
    word: () => {
      refillWhenEmpty();
      return temper(state[next++] ?? 0) >>> 0;
    },
    low24: (values, begin, end) => {
      for (let done = begin; done < end;) {
        refillWhenEmpty();
        const n = Math.min(end - done, SIZE - next);
        for (let i = 0; i < n; i++) values[done + i] = temper(state[next + i] ?? 0) & 0xffffff;
        next += n;
        done += n;
      }
    },
  };
}

/**
 * MT19937 seeded with `seed` (its low 32 bits).
 * Matsumoto & Nishimura 1998, "Mersenne Twister: a 623-dimensionally equidistributed uniform pseudo-random number generator".
 */
export const createMt19937 = (seed: number): NextWord => createWords(seed).word;
