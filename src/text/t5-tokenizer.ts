/** @file T5's tokenizer: prompt → ids. Gives the ids of the tokenizers library (transformers' T5Tokenizer), not of sentencepiece itself. */
import type { TokenizerFiles } from '../assets/tokenizer-files.js';
import { parseT5Vocabulary, type AddedToken } from './t5-vocabulary.js';
import { createUnigram } from './unigram.js';

export interface T5Tokenizer {
  readonly eos: number;
  readonly pad: number;
  readonly unk: number;
  /** Ids are below this; the text encoder's table must have at least as many rows. */
  readonly size: number;
  /** `model_max_length`: ids per encoder call, the end included; pipelines may ask for another. */
  readonly length: number;
  /** The ids of `text`, without the end, of any number; `''` gives none. Takes time linear in the text's length. */
  encode(text: string): number[];
}

/**
 * Makes a tokenizer from its files, e.g. `createT5Tokenizer(folder.tokenizer).encode('a cat')`.
 * @throws invalidModelConfig, unsupportedModel
 */
export function createT5Tokenizer(files: TokenizerFiles): T5Tokenizer {
  const { model, added, normalise, words, eos, pad, size, length } = parseT5Vocabulary(files);
  const segment = createUnigram(model);
  const split = addedPattern(added);
  const ids = new Map(added.map(({ content, id }) => [content, id]));
  return {
    eos,
    pad,
    unk: model.unk,
    size,
    length,
    encode: (text) =>
      wellFormed(text)
        .split(split)
        .flatMap((part = '', i) => {
          const id = i % 2 === 1 ? ids.get(part.replace(OUTER_SPACE, '')) : undefined;
          return id === undefined ? words(normalise(part)).flatMap(segment) : [id];
        }),
  };
}

/** One row for the encoder: `ids`, cut to make room for the end, the end, then padding. */
export interface T5Row {
  /** `[length]` */
  readonly ids: Int32Array;
  /** How many come before the padding: for encoders that have a mask. */
  readonly used: number;
}

/** @param length of the row: 512 for FLUX.1-dev, 256 for schnell, 128 for HiDream; default the tokenizer's */
export function toT5Row(
  ids: readonly number[],
  { eos, pad, length: own }: Pick<T5Tokenizer, 'eos' | 'pad' | 'length'>,
  length = own,
): T5Row {
  const row = new Int32Array(length).fill(pad);
  const kept = ids.slice(0, length - 1);
  row.set([...kept, eos]);
  return { ids: row, used: kept.length + 1 };
}

/** Lone surrogates become U+FFFD, as in any UTF-8 text. */
function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\ufffd');
}

/** Unicode's White_Space (JavaScript's `\s` differs). */
const SPACES = String.raw`[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*`;
const OUTER_SPACE = new RegExp(`^${SPACES}|${SPACES}$`, 'gu');

/** Cuts out added tokens, before any normalising: the longest that begins first, with the space that some take along. */
function addedPattern(added: readonly AddedToken[]): RegExp {
  const alternatives = added
    .toSorted((a, b) => b.content.length - a.content.length)
    .map(({ content, takesLeft, takesRight }) => {
      const escaped = content.replace(/[.*+?^${}()|[\]\\/]/g, String.raw`\$&`);
      return (takesLeft ? SPACES : '') + escaped + (takesRight ? SPACES : '');
    });
  return new RegExp(alternatives.length === 0 ? '($.^)' : `(${alternatives.join('|')})`, 'u');
}
