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

/** `x_{k+n} = x_{k+m} ⊕ (x_k^upper | x_{k+1}^lower)·A` (eq. 2.1) for all 624 words, in place. */
function twist(state: Int32Array): void {
  const after = (i: number): number => (i + 1 === SIZE ? 0 : i + 1);
  for (let k = 0, next = 1, far = MIDDLE; k < SIZE; k++, next = after(next), far = after(far)) {
    const y = ((state[k] ?? 0) & 0x80000000) | ((state[next] ?? 0) & 0x7fffffff);
    state[k] = (state[far] ?? 0) ^ (y >>> 1) ^ (-(y & 1) & 0x9908b0df);
  }
}

/** Tempering (eqs. 2.2–2.5). */
function temper(word: number): number {
  let y = word;
  y ^= y >>> 11;
  y ^= (y << 7) & 0x9d2c5680;
  y ^= (y << 15) & 0xefc60000;
  y ^= y >>> 18;
  return y >>> 0;
}

/**
 * MT19937 seeded with `seed` (its low 32 bits).
 * Matsumoto & Nishimura 1998, "Mersenne Twister: a 623-dimensionally equidistributed uniform pseudo-random number generator".
 */
export function createMt19937(seed: number): NextWord {
  const state = initialState(seed);
  let next = SIZE;
  return () => {
    if (next === SIZE) {
      twist(state);
      next = 0;
    }
    return temper(state[next++] ?? 0);
  };
}
