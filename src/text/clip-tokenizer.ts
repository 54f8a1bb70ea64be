/** @file CLIP's tokenizer: prompt → ids. Gives the ids of the tokenizers library (transformers 5), not of the older Python one with ftfy. */
import type { TokenizerFiles } from '../assets/tokenizer-files.js';
import { mergePairs } from './bpe.js';
import { parseClipVocabulary, type ClipVocabulary } from './clip-vocabulary.js';

export interface ClipTokenizer {
  readonly bos: number;
  readonly eos: number;
  readonly pad: number;
  /** Ids are below this; the text encoder's table must have as many rows. */
  readonly size: number;
  /** Ids per encoder call, begin and end included: 77. */
  readonly length: number;
  /** The ids of `text`, without begin and end, of any number; `''` gives none. Takes time n·log n. */
  encode(text: string): number[];
  /** Whether the token of this id is the last of its word, and no special one. */
  endsWord(id: number): boolean;
}

/**
 * Makes a tokenizer from its files, e.g. `createClipTokenizer(folder.tokenizer).encode('a cat')`.
 * @throws invalidModelConfig, unsupportedModel
 */
export function createClipTokenizer(files: TokenizerFiles): ClipTokenizer {
  const vocabulary = parseClipVocabulary(files);
  const { bos, eos, pad, size, length, special, wordEnds } = vocabulary;
  const split = specialPattern([...special.keys()]);
  return {
    bos,
    eos,
    pad,
    size,
    length,
    encode: (text) =>
      text.split(split).flatMap((part) => {
        const id = special.get(part);
        return id === undefined ? encodePlain(part, vocabulary) : [id];
      }),
    endsWord: (id) => wordEnds[id] === 1,
  };
}

/** Cuts out special tokens, the longest first; only their exact spelling counts, before any normalising. */
function specialPattern(spellings: readonly string[]): RegExp {
  const escaped = spellings
    .toSorted((a, b) => b.length - a.length)
    .map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`(${escaped.join('|')})`, 'u');
}

function encodePlain(text: string, { inner, final, merges }: ClipVocabulary): number[] {
  return words(normalise(text)).flatMap((word) => {
    const bytes = [...new TextEncoder().encode(word)];
    const symbols = bytes.map((byte, i) => (i === bytes.length - 1 ? final : inner)[byte] ?? 0);
    return mergePairs(symbols, merges);
  });
}

/** Unicode's White_Space. JavaScript's `\s` has U+FEFF too, and lacks U+0085. */
const SPACE = /[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/gu;

/**
 * NFC, then white space to one space, then lower case, each letter by itself: Σ is σ even at the end of a word, where
 * `toLowerCase` alone would write ς (SpecialCasing.txt, Final_Sigma, its only rule that looks at neighbours).
 */
function normalise(text: string): string {
  return text.normalize('NFC').replace(SPACE, ' ').replaceAll('Σ', 'σ').toLowerCase();
}

/** CLIP's pattern (github.com/openai/CLIP, clip/simple_tokenizer.py); after {@link normalise} the only white space is U+0020. */
const WORD = /<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^ \p{L}\p{N}]+/gu;
/** A special token that was in capitals is not special: it is three words. */
const CAPITAL_SPECIAL = /^(<\|)(startoftext|endoftext)(\|>)$/;

function words(text: string): string[] {
  return (text.match(WORD) ?? []).flatMap((word) => CAPITAL_SPECIAL.exec(word)?.slice(1) ?? [word]);
}
