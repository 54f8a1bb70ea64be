/** @file A tokenizer that also knows the marks of embeddings: each becomes ids that follow the vocabulary, one per vector. */
import type { ClipTokenizer } from './clip-tokenizer.js';
import type { MarkedPrompts } from './triggers.js';

/** Vectors of tokens that the text encoder's table lacks: id `first + i` is row i. */
export interface AddedTokens {
  /** The size of the vocabulary. */
  readonly first: number;
  /** `[n, width]`. */
  readonly rows: Float32Array;
}

/**
 * `tokenizer` with a mark's ids in the place of each mark, in a row: as many as the embedding has vectors. The ids of the first
 * embedding begin where the vocabulary ends, the next one's follow, as when transformers' tokenizers are given new tokens.
 * @param counts vectors per embedding, in the order of the marks
 */
export function withMarks(
  tokenizer: ClipTokenizer,
  { marks, filler }: Pick<MarkedPrompts, 'marks' | 'filler'>,
  counts: readonly number[],
): ClipTokenizer {
  if (marks.length === 0) return tokenizer;
  let size = tokenizer.size;
  const idsOf = new Map<string, readonly number[]>();
  const lastIds = new Set<number>();
  for (const [i, mark] of marks.entries()) {
    const first = size;
    size += counts[i] ?? 0;
    idsOf.set(
      mark,
      Array.from({ length: size - first }, (_, k) => first + k),
    );
    lastIds.add(size - 1);
  }
  const split = new RegExp(`([${marks.join('')}])${filler}*`, 'u');
  return {
    ...tokenizer,
    size,
    encode: (text) => text.split(split).flatMap((part) => idsOf.get(part) ?? tokenizer.encode(part)),
    // all vectors of an embedding are one word
    endsWord: (id) => (id < tokenizer.size ? tokenizer.endsWord(id) : lastIds.has(id)),
  };
}
