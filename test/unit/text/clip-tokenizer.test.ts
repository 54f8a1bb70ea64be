/** @file CLIP's tokenizer against the ids of the tokenizers library, its special tokens, bad files, and its running time. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TokenizerFiles } from '../../../src/assets/tokenizer-files.js';
import { DarkroomError } from '../../../src/base/errors.js';
import { createClipTokenizer } from '../../../src/text/clip-tokenizer.js';
import { jsonFiles, merges, prompts, vocab, vocabFiles } from './goldens.js';

const makers = [
  ['clip', 'vocab.json and merges.txt', vocabFiles],
  ['clip2', 'vocab.json and merges.txt', vocabFiles],
  ['clip', 'tokenizer.json', jsonFiles],
  ['clip2', 'tokenizer.json', jsonFiles],
] as const;

describe.each(makers)('%s from %s', (name, _, files) => {
  const tokenizer = createClipTokenizer(files(name));

  it('gives the ids of every golden prompt', () => {
    expect(prompts).toHaveLength(330);
    const wrong = prompts.flatMap(({ text, ids }) => {
      const got = [tokenizer.bos, ...tokenizer.encode(text), tokenizer.eos];
      return JSON.stringify(got) === JSON.stringify(ids[name]) ? [] : [{ text, got, expected: ids[name] }];
    });
    expect(wrong).toEqual([]);
  });

  it('knows which tokens end a word', () => {
    const wrong = Object.entries(vocab).filter(([token, id]) => tokenizer.endsWord(id) !== token.endsWith('</w>'));
    expect(wrong).toEqual([]);
    expect([tokenizer.endsWord(tokenizer.eos), tokenizer.endsWord(tokenizer.size)]).toEqual([false, false]);
  });

  it('knows its special ids and sizes', () => {
    const { bos, eos, pad, size, length } = tokenizer;
    expect({ bos, eos, pad, size, length }).toEqual({
      bos: 1027,
      eos: 1028,
      pad: name === 'clip' ? 1028 : 0,
      size: 1029,
      length: 77,
    });
  });
});

describe('white space, case and composition', () => {
  const tokenizer = createClipTokenizer(vocabFiles('clip'));
  const encode = (text: string): readonly number[] => tokenizer.encode(text);

  it('takes Unicode’s White_Space for space, and nothing else', () => {
    for (const space of '\t\n\v\f\r \u0085\u00a0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000') {
      expect(encode(`a${space}${space}cat`), JSON.stringify(space)).toEqual(encode('a cat'));
    }
    for (const other of '\u001c\u001f\u180e\u200b\ufeff') {
      expect(encode(`a${other}cat`).length, JSON.stringify(other)).toBeGreaterThan(encode('a cat').length);
    }
  });

  it('lowers each letter by itself, after composing', () => {
    expect(encode('ΣΟΦΌΣ')).toEqual(encode('σοφόσ'));
    expect(encode('ΣΟΦΌΣ')).not.toEqual(encode('σοφός'));
    expect(encode('CAFE\u0301')).toEqual(encode('caf\u00e9'));
    expect(encode('İ')).toEqual(encode('i\u0307'));
  });

  it('makes ids of the vocabulary of any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(encode(text).every((id) => Number.isInteger(id) && id >= 0 && id < 1029)).toBe(true);
      }),
    );
  });

  it('takes time n·log n on one long word', () => {
    for (const unit of ['a', 'abcdefghij', 'un', '!', '猫', "'s"]) {
      const word = unit.repeat(30_000 / unit.length);
      const before = performance.now();
      expect(encode(word).length).toBeGreaterThan(0);
      // tens of milliseconds each; a quadratic scan takes tens of seconds
      expect(performance.now() - before, unit).toBeLessThan(5000);
    }
  });
});

describe('special tokens', () => {
  const base = vocabFiles('clip');
  const padOf = (config: unknown, specialTokens: unknown): number =>
    createClipTokenizer({ ...base, config, specialTokens }).pad;

  it('come from either file, as text or object; the map wins unless the config lists its added tokens', () => {
    expect(padOf(undefined, undefined)).toBe(1028);
    expect(padOf({ pad_token: '!' }, undefined)).toBe(0);
    expect(padOf(undefined, { pad_token: { content: '!', lstrip: false } })).toBe(0);
    expect(padOf({ pad_token: '<|endoftext|>' }, { pad_token: '!' })).toBe(0);
    expect(padOf({ pad_token: '<|endoftext|>', added_tokens_decoder: {} }, { pad_token: '!' })).toBe(1028);
  });

  it('are cut out of a prompt wherever they come from', () => {
    const ids = (config: unknown): number[] => createClipTokenizer({ ...base, config }).encode('a!b');
    expect(ids({})).not.toContain(0);
    expect(ids({ added_tokens_decoder: { 0: { content: '!' } } })).toContain(0);
    expect(ids({ additional_special_tokens: ['!'] })).toContain(0);
  });

  it('may hold any characters, and the longest wins', () => {
    const files = (tokens: readonly string[]): TokenizerFiles => ({
      ...base,
      vocabulary: {
        kind: 'vocab',
        vocab: { ...vocab, ...Object.fromEntries(tokens.map((token, i) => [token, 2000 + i])) },
        merges,
      },
      config: { additional_special_tokens: tokens },
    });
    const tokenizer = createClipTokenizer(files(['(a|b)', '[x-y].*', '<', '<<', '\\d$^+?{}/']));
    expect(tokenizer.encode('(a|b)[x-y].*<<<\\d$^+?{}/')).toEqual([2000, 2001, 2003, 2002, 2004]);
    expect(tokenizer.size).toBe(2005);
  });

  it('set the length: 77 unless the config says another one', () => {
    const lengthOf = (length: unknown): number =>
      createClipTokenizer({ ...base, config: { model_max_length: length } }).length;
    expect([77, 248, 1e30, undefined].map(lengthOf)).toEqual([77, 248, 77, 77]);
  });
});

describe('bad files', () => {
  const base = vocabFiles('clip');
  const cases: readonly (readonly [string, Partial<TokenizerFiles>, string, string?])[] = [
    ['no vocabulary', { vocabulary: { kind: 'vocab', vocab: [], merges } }, 'clip/vocab.json must be a JSON object'],
    [
      'an id as text',
      { vocabulary: { kind: 'vocab', vocab: { ...vocab, a: '5' }, merges } },
      'the id of "a" must be a whole number from 0 to 1048575, got "5"',
    ],
    ['a negative id', { vocabulary: { kind: 'vocab', vocab: { ...vocab, a: -1 }, merges } }, 'the id of "a"'],
    ['a huge id', { vocabulary: { kind: 'vocab', vocab: { ...vocab, a: 2 ** 40 }, merges } }, 'the id of "a"'],
    [
      'no end token',
      { vocabulary: { kind: 'vocab', vocab: { a: 0 }, merges: '' } },
      'token "<|endoftext|>" is not in the vocabulary',
    ],
    [
      'a pad token that is unknown',
      { config: { pad_token: '[PAD]' } },
      'the special token "[PAD]" is not in the vocabulary',
    ],
    ['an empty special token', { config: { bos_token: '' } }, '"bos_token" must not be empty'],
    [
      'a merge of one token',
      { vocabulary: { kind: 'vocab', vocab, merges: '#version: 0.2\no n</w>\nab\n' } },
      'merges.txt: line 3 must be two tokens, got "ab"',
    ],
    ['a merge of three', { vocabulary: { kind: 'vocab', vocab, merges: 'a b c' } }, 'line 1 must be two tokens'],
    [
      'a merge of unknown tokens',
      { vocabulary: { kind: 'vocab', vocab, merges: 'o n</w>\nq zz' } },
      'merge 2 ("q" "zz") needs tokens',
    ],
    [
      'two tokens of one id',
      { vocabulary: { kind: 'vocab', vocab: { ...vocab, zz: 320 }, merges } },
      'both have the id 320',
    ],
    [
      'merges that were cut off',
      { vocabulary: { kind: 'vocab', vocab, merges: merges.split('\n').slice(0, -20).join('\n') } },
      'no merge makes the token',
    ],
    ['no merges', { vocabulary: { kind: 'vocab', vocab, merges: '' } }, 'and 514 others of the vocabulary'],
    [
      'a length of nothing',
      { config: { model_max_length: 2 } },
      '"model_max_length" must be a whole number from 3 to 4096, got 2',
    ],
    [
      'tokenizer.json without a model',
      { vocabulary: { kind: 'tokenizerJson', json: {} } },
      '"model": expected a JSON object',
    ],
    [
      'another kind of tokenizer.json',
      { vocabulary: { kind: 'tokenizerJson', json: { model: { type: 'Unigram' } } } },
      'not a CLIP tokenizer',
      'unsupportedModel',
    ],
    [
      'a byte-level tokenizer.json',
      { vocabulary: { kind: 'tokenizerJson', json: { model: { type: 'BPE', end_of_word_suffix: null } } } },
      'not a CLIP tokenizer',
      'unsupportedModel',
    ],
  ];

  for (const [title, change, message, code = 'invalidModelConfig'] of cases) {
    it(title, () => {
      expect(problemOf({ ...base, ...change })).toMatchObject({
        code,
        message: expect.stringContaining(message) as string,
      });
    });
  }

  it('tokens that were added by hand need no merge', () => {
    const more = { ...vocab, '<cat-toy>': 1029 };
    const tokenizer = createClipTokenizer({ ...base, vocabulary: { kind: 'vocab', vocab: more, merges } });
    expect(tokenizer.encode('a photo of a cat')).toEqual([320, 955, 539, 320, 727]);
  });

  it('merges.txt may have Windows line ends and no version line', () => {
    const windows = merges.replace(/^#version.*\n/, '').replaceAll('\n', '\r\n');
    const tokenizer = createClipTokenizer({ ...base, vocabulary: { kind: 'vocab', vocab, merges: windows } });
    expect(tokenizer.encode('a photo of a cat')).toEqual([320, 955, 539, 320, 727]);
  });
});

function problemOf(files: TokenizerFiles): DarkroomError | undefined {
  try {
    createClipTokenizer(files);
    return undefined;
  } catch (error) {
    if (error instanceof DarkroomError) return error;
    throw error;
  }
}
