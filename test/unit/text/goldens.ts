/** @file For the tests of `text/`: the ids that transformers' tokenizers gave to 330 prompts, and the tokenizers' files. */
import { readFileSync } from 'node:fs';
import type { TokenizerFiles } from '../../../src/assets/tokenizer-files.js';

const folder = new URL('../../golden/tokens/', import.meta.url);
const text = (path: string): string => readFileSync(new URL(path, folder), 'utf8');

interface Ids {
  readonly ids: readonly number[];
  readonly padded77?: readonly number[];
}

interface PromptGolden {
  readonly category: string;
  readonly text: string | null;
  readonly utf16?: readonly number[];
  readonly clip: Ids;
  readonly clip2?: Ids;
}

export type ClipName = 'clip' | 'clip2';

export interface Prompt {
  readonly category: string;
  readonly text: string;
  /** With begin and end. */
  readonly ids: Readonly<Record<ClipName, readonly number[]>>;
  /** Padded and cut to 77. */
  readonly padded: Readonly<Record<ClipName, readonly number[] | undefined>>;
}

const { prompts: goldens } = JSON.parse(text('prompts.json')) as { readonly prompts: readonly PromptGolden[] };

export const prompts: readonly Prompt[] = goldens.map(({ category, text, utf16 = [], clip, clip2 = clip }) => ({
  category,
  text: text ?? String.fromCharCode(...utf16),
  ids: { clip: clip.ids, clip2: clip2.ids },
  padded: { clip: clip.padded77, clip2: clip2 === clip ? undefined : clip2.padded77 },
}));

const PAD: Readonly<Record<ClipName, string>> = { clip: '<|endoftext|>', clip2: '!' };

export const vocab = JSON.parse(text('clip/vocab.json')) as Readonly<Record<string, number>>;
export const merges = text('clip/merges.txt');

/** CLIP's two files, with `name`'s padding token. */
export function vocabFiles(name: ClipName): TokenizerFiles {
  return {
    name,
    vocabulary: { kind: 'vocab', vocab, merges },
    config: { pad_token: PAD[name] },
    specialTokens: undefined,
  };
}

/** `name`'s tokenizer.json. */
export function jsonFiles(name: ClipName): TokenizerFiles {
  const json: unknown = JSON.parse(text(`${name}/tokenizer.json`));
  return {
    name,
    vocabulary: { kind: 'tokenizerJson', json },
    config: { pad_token: PAD[name] },
    specialTokens: undefined,
  };
}
