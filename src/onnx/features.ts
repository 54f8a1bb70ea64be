/** @file What graphs are written about: images, tokens, biases of attention. Sizes only; how a feature comes about is `net.ts`'s. */
import type { ImageSize } from './dialects/dialect.js';
import type { Value } from './types.js';

/** A feature map; `n·h·w` pixels of `c` channels. The layout in memory is the dialect's. */
export interface Image extends ImageSize {
  readonly kind: 'image';
}

/** `n` sequences of `s` tokens of width `c`; as a value the matrix `[n·s, c]`. */
export interface Tokens {
  readonly kind: 'tokens';
  readonly n: number;
  readonly s: number;
  readonly c: number;
}

export type Feature = Image | Tokens;

/** What is added to attention scores: 0, or a large negative number where a token must not look. */
export interface ScoreBias {
  readonly kind: 'scoreBias';
  readonly value: Value;
}

export function sameSize(a: Feature, b: Feature): boolean {
  return a.kind === 'image'
    ? b.kind === 'image' && a.n === b.n && a.h === b.h && a.w === b.w && a.c === b.c
    : b.kind === 'tokens' && a.n === b.n && a.s === b.s && a.c === b.c;
}

/** For messages. */
export function sizeText(x: Feature): string {
  return x.kind === 'image' ? `an image ${x.n}×${x.h}×${x.w}×${x.c}` : `tokens ${x.n}×${x.s}×${x.c}`;
}
