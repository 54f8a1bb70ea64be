/** @file Chance that can be repeated: numbers that a seed decides. */

export interface Random {
  /** 0 ≤ x < 1. */
  real(): number;
  /** A whole number 0 ≤ n < limit. */
  int(limit: number): number;
  chance(probability: number): boolean;
  /** One of a list that is not empty. */
  pick<T>(list: readonly T[]): T;
}

/** mulberry32: equal seeds give equal numbers. */
export function randomFrom(seed: number): Random {
  let state = seed | 0;
  const real = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const int = (limit: number): number => Math.floor(real() * limit);
  return {
    real,
    int,
    chance: (probability) => real() < probability,
    pick(list) {
      const [first] = list;
      if (first === undefined) throw new RangeError('There is nothing to pick from.');
      return list[int(list.length)] ?? first;
    },
  };
}

/** One seed of several numbers and a name. */
export function seedOf(name: string, ...numbers: readonly number[]): number {
  let hash = 0x811c9dc5; // FNV-1a
  for (const character of `${name}:${numbers.join()}`)
    hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193);
  return hash;
}
