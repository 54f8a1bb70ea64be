/** @file T5's tokenizer against the ids of the tokenizers library, rows for the encoder, hostile files, and its running time. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TokenizerFiles } from '../../../src/assets/tokenizer-files.js';
import { createT5Tokenizer, toT5Row } from '../../../src/text/t5-tokenizer.js';
import { refusal, within } from './support.js';

const read = (path: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../golden/tokens/${path}`, import.meta.url), 'utf8'));

type Json = Readonly<Record<string, unknown>>;
interface Golden {
  readonly text: string | null;
  readonly utf16?: readonly number[];
  readonly t5: { readonly ids: readonly number[] };
  /** What sentencepiece itself gives, where it differs. */
  readonly t5Spm?: { readonly ids: readonly number[] };
}
const { prompts } = read('prompts.json') as { readonly prompts: readonly Golden[] };
const json = read('t5/tokenizer.json') as Json & { readonly model: Json; readonly added_tokens: readonly Json[] };

const files = (own: unknown, config: unknown = {}): TokenizerFiles => ({
  name: 't5',
  vocabulary: { kind: 'tokenizerJson', json: own },
  config,
  specialTokens: undefined,
});
const textOf = ({ text, utf16 = [] }: Golden): string => text ?? String.fromCharCode(...utf16);
const tokenizer = createT5Tokenizer(files(json));

/** The form that transformers 4.40 wrote. */
const LATER_FORM = {
  ...json,
  normalizer: {
    type: 'Sequence',
    normalizers: [
      json.normalizer,
      { type: 'Strip', strip_left: false, strip_right: true },
      { type: 'Replace', pattern: { Regex: ' {2,}' }, content: '▁' },
    ],
  },
  pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
};

describe('the golden prompts', () => {
  it('give the ids of the tokenizers library', () => {
    expect(prompts).toHaveLength(330);
    const wrong = prompts.flatMap((prompt) => {
      const got = [...tokenizer.encode(textOf(prompt)), tokenizer.eos];
      return JSON.stringify(got) === JSON.stringify(prompt.t5.ids) ? [] : [{ text: textOf(prompt), got, ...prompt.t5 }];
    });
    expect(wrong).toEqual([]);
  });

  it('do so in the other form that transformers has written, or as sentencepiece', () => {
    const later = createT5Tokenizer(files(LATER_FORM));
    const wrong = prompts.filter((prompt) => {
      const got = JSON.stringify([...later.encode(textOf(prompt)), later.eos]);
      return ![prompt.t5, prompt.t5Spm].some((golden) => golden !== undefined && got === JSON.stringify(golden.ids));
    });
    expect(wrong).toEqual([]);
  });

  it('also with the spelling of old files', () => {
    const [split] = (json.pre_tokenizer as { readonly pretokenizers: readonly unknown[] }).pretokenizers;
    const metaspace = { type: 'Metaspace', replacement: '▁', add_prefix_space: true, str_rep: '▁' };
    const old = createT5Tokenizer(
      files({ ...json, pre_tokenizer: { type: 'Sequence', pretokenizers: [split, metaspace] } }),
    );
    for (const prompt of prompts) expect(old.encode(textOf(prompt))).toEqual(tokenizer.encode(textOf(prompt)));
  });
});

it('puts what replaces nothing around each character, as the tokenizers library does', () => {
  const replacing = (pattern: string, content: string): Json => ({
    ...json,
    normalizer: { type: 'Replace', pattern: { String: pattern }, content },
  });
  const between = createT5Tokenizer(files(replacing('', '▁')));
  const plain = createT5Tokenizer(files(replacing('x', 'x')));
  expect(between.encode('')).toEqual([]); // normalizers.Replace('', '▁').normalize_str('') is '', of 'a🦊' it is '▁a▁🦊▁'
  expect(between.encode('a🦊')).toEqual(plain.encode('▁a▁🦊▁'));
});

describe('a row', () => {
  it('knows its special ids and sizes', () => {
    const { eos, pad, unk, size, length } = tokenizer;
    expect({ eos, pad, unk, size, length }).toEqual({ eos: 1, pad: 0, unk: 2, size: 603, length: 512 });
    const config = { model_max_length: 256, eos_token: { content: '</s>' }, pad_token: '<pad>' };
    expect(createT5Tokenizer(files(json, config)).length).toBe(256);
    expect(createT5Tokenizer(files(json, { model_max_length: 1e30 })).length).toBe(512);
  });

  it('is padded, or cut before the end', () => {
    expect(toT5Row([7, 8], tokenizer, 5)).toEqual({ ids: Int32Array.of(7, 8, 1, 0, 0), used: 3 });
    expect(toT5Row([7, 8, 9, 10], tokenizer, 5)).toEqual({ ids: Int32Array.of(7, 8, 9, 10, 1), used: 5 });
    expect(toT5Row([7, 8, 9, 10, 11, 12], tokenizer, 5)).toEqual({ ids: Int32Array.of(7, 8, 9, 10, 1), used: 5 });
    expect(toT5Row([], tokenizer).ids).toEqual(new Int32Array(512).with(0, 1));
  });
});

describe('any text', () => {
  it('gives ids of the vocabulary', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
        expect(tokenizer.encode(text).every((id) => Number.isInteger(id) && id >= 0 && id < 603)).toBe(true);
      }),
    );
  });

  it('may be long: white space, one word, one cluster', () => {
    const units = [' ', 'a', 'abcdefghij', '猫', '👩‍🚀', '\u0301', '\r\n', '▁', '</s>', '\ud800', '<extra_id_'];
    for (const unit of units) within(10_000, () => tokenizer.encode(unit.repeat(30_000 / unit.length)));
    const later = createT5Tokenizer(files(LATER_FORM));
    within(10_000, () => later.encode(`${' '.repeat(30_000)}a${' '.repeat(30_000)}`));
  });

  it('is split into clusters alike wherever it begins', () => {
    const cluster = '👍🏽e\u0301か\u3099';
    for (let before = 120; before < 136; before++) {
      const text = `${'x'.repeat(before)} ${cluster}`;
      expect(tokenizer.encode(text).slice(-tokenizer.encode(cluster).length), String(before)).toEqual(
        tokenizer.encode(cluster),
      );
    }
  });
});

describe('added tokens', () => {
  it('may take the white space beside them along', () => {
    const added_tokens = json.added_tokens.map((token) => ({ ...token, lstrip: true, rstrip: true }));
    const stripping = createT5Tokenizer(files({ ...json, added_tokens }));
    const id = json.added_tokens.find(({ content }) => content === '<extra_id_0>')?.id;
    expect(stripping.encode('a \u0085<extra_id_0> \u3000cat')).toEqual([
      ...tokenizer.encode('a'),
      id,
      ...tokenizer.encode('cat'),
    ]);
  });
});

describe('bytes in place of unknown characters', () => {
  const pieces = Array.from({ length: 256 }, (_, i) => [`<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`, -9]);
  const vocab = [['<unk>', 0], ['</s>', 0], ['<pad>', 0], ['▁', -1], ['a', -1], ...pieces];
  const model = (byte_fallback: boolean): unknown => ({
    model: { type: 'Unigram', unk_id: 0, vocab, byte_fallback },
    pre_tokenizer: { type: 'Metaspace', prepend_scheme: 'always', replacement: '▁' },
  });

  it('are those of UTF-8, in order', () => {
    const ids = [...new TextEncoder().encode('é猫')].map((byte) => byte + 5);
    expect(createT5Tokenizer(files(model(true))).encode('aé猫a')).toEqual([3, 4, ...ids, 4]);
    expect(createT5Tokenizer(files(model(false))).encode('aé猫a')).toEqual([3, 4, 0, 4]);
  });
});

describe('bad files', () => {
  const with_ = (change: Json): TokenizerFiles => files({ ...json, ...change });
  const withModel = (change: Json): TokenizerFiles => with_({ model: { ...json.model, ...change } });
  const map = (bytes: readonly number[]): TokenizerFiles =>
    with_({ normalizer: { type: 'Precompiled', precompiled_charsmap: btoa(String.fromCharCode(...bytes)) } });

  it.each<[string, TokenizerFiles]>([
    ['no object', files([])],
    ['no model', files({})],
    ['no pieces', withModel({ vocab: [] })],
    ['a piece without score', withModel({ vocab: [['a']] })],
    ['a piece of no text', withModel({ vocab: [['', 1]] })],
    ['a score that is none', withModel({ vocab: [['a', 'b']] })],
    ['no unknown piece', withModel({ unk_id: null })],
    ['an unknown piece behind the end', withModel({ unk_id: 1e6 })],
    ['an added token without text', with_({ added_tokens: [{ content: '', id: 1 }] })],
    ['an added token with a huge id', with_({ added_tokens: [{ content: 'x', id: 2 ** 40 }] })],
    ['an end that is not there', files(json, { eos_token: 'the end' })],
    ['padding that is not there', files(json, { pad_token: { content: 'nothing at all' } })],
    ['no room for the end', files(json, { model_max_length: 1 })],
    ['no pre-tokeniser', with_({ pre_tokenizer: null })],
    ['a table that is not base64', with_({ normalizer: { type: 'Precompiled', precompiled_charsmap: '§' } })],
    ['an empty table', map([])],
    ['a table whose trie is longer than it', map([8, 0, 0, 0, 1, 2, 3, 4])],
    ['a table whose trie has a crooked length', map([5, 0, 0, 0, 1, 2, 3, 4, 5, 6])],
    ['a normaliser without its pattern', with_({ normalizer: { type: 'Replace', content: '' } })],
  ])('%s', (_, bad) => {
    expect(refusal(() => createT5Tokenizer(bad)).code).toBe('invalidModelConfig');
  });

  it.each<[string, TokenizerFiles]>([
    ['CLIP’s', { ...files(json), vocabulary: { kind: 'vocab', vocab: {}, merges: '' } }],
    ['a BPE model', withModel({ type: 'BPE' })],
    ['another normaliser', with_({ normalizer: { type: 'Lowercase' } })],
    [
      'a pattern that could take for ever',
      with_({ normalizer: { type: 'Replace', pattern: { Regex: '(a+)+$' }, content: '' } }),
    ],
    ['another pre-tokeniser', with_({ pre_tokenizer: { type: 'ByteLevel' } })],
    ['another mark', with_({ pre_tokenizer: { type: 'Metaspace', replacement: '_' } })],
    ['tokens of whole words', with_({ added_tokens: [{ content: 'x', id: 1, single_word: true }] })],
  ])('%s', (_, bad) => {
    expect(refusal(() => createT5Tokenizer(bad)).code).toBe('unsupportedModel');
  });

  it('a table that points outside itself changes nothing, or gives nothing', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 255 }), { minLength: 8, maxLength: 200 }), (bytes) => {
        const units = bytes.slice(0, bytes.length - (bytes.length % 4));
        const made = createT5Tokenizer(map([units.length & 0xff, units.length >> 8, 0, 0, ...units]));
        expect(made.encode('a photo of a cat').every((id) => id < 603)).toBe(true);
      }),
    );
  });
});
