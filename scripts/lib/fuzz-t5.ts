/** @file Fuzz target: T5's `tokenizer.json`, its pieces, added tokens, normalisers and the compiled table of characters in it. */
import { memoryTree } from '../../src/assets/file-tree.js';
import { readTokenizerFiles } from '../../src/assets/tokenizer-files.js';
import { createT5Tokenizer, toT5Row, type T5Tokenizer } from '../../src/text/t5-tokenizer.js';
import { jsonOf, type Golden } from './fuzz-configs.js';
import { isObject, mutateBytes, mutateJson, mutateText } from './fuzz-mutate.js';
import type { Random } from './fuzz-random.js';
import { attempt, must, type Target } from './fuzz-target.js';

const PROMPTS = [
  '', ' ', 'a red fox asleep', '  a   b  ', 'naïve ﷺ 🦊 ①', '\ud800\0\u0085', '<extra_id_0> </s>', '▁▁ ▁a', 'e\u0301'.repeat(50), 'x'.repeat(2000),
  '\u0300'.repeat(600), `${' '.repeat(2000)}end`, '中文字符 한국어', '<0x41>',
]; // prettier-ignore

const KEYS = ['normalizer', 'pre_tokenizer', 'model', 'added_tokens'] as const;

export function t5TokenizerTarget(golden: Golden): Target {
  const folder = 'models/flux-dev-tiny/tokenizer_2';
  const read = (name: string): Uint8Array => golden.read(`${folder}/${name}`);
  const files = {
    'tokenizer.json': jsonOf(golden, `${folder}/tokenizer.json`),
    'tokenizer_config.json': jsonOf(golden, `${folder}/tokenizer_config.json`),
  };
  const others = { 't/special_tokens_map.json': read('special_tokens_map.json') };
  return {
    kind: 't5-tokenizer',
    async run(random) {
      const which = random.chance(0.9) ? 'tokenizer.json' : 'tokenizer_config.json';
      const changed = {
        ...files,
        [which]: which === 'tokenizer.json' ? mutateTokenizer(files[which], random) : mutateJson(files[which], random),
      };
      const bytes = Object.entries(changed).map(
        ([name, json]) => [`t/${name}`, new TextEncoder().encode(JSON.stringify(json) ?? '')] as const,
      );
      const tree = memoryTree('model', { ...others, ...Object.fromEntries(bytes) });
      const made = await attempt(async () => createT5Tokenizer(await readTokenizerFiles(tree, 't')));
      if (made === undefined) return 'refused';
      check(made.value, random);
      return 'accepted';
    },
  };
}

/** Most changes go where they mean something: a whole file has 500 pieces and four settings. */
function mutateTokenizer(json: unknown, random: Random): unknown {
  if (!isObject(json) || random.chance(0.1)) return mutateJson(json, random);
  const key = random.pick(KEYS);
  switch (key) {
    case 'normalizer':
      return {
        ...json,
        normalizer: random.chance(0.3)
          ? otherNormaliser(json['normalizer'], random)
          : mutateCharsmap(json['normalizer'], random),
      };
    case 'model':
      return { ...json, model: mutateModel(json['model'], random) };
    case 'pre_tokenizer':
    case 'added_tokens':
      return { ...json, [key]: mutateJson(json[key], random) };
    default:
      return key satisfies never;
  }
}

/** The bytes behind the base64, its trie's length first. */
function mutateCharsmap(normaliser: unknown, random: Random): unknown {
  const table = isObject(normaliser) ? normaliser['precompiled_charsmap'] : undefined;
  if (typeof table !== 'string') return normaliser;
  const bytes = mutateBytes(Uint8Array.from(Buffer.from(table, 'base64')), random);
  const text = Buffer.from(bytes).toString('base64');
  return { ...Object(normaliser), precompiled_charsmap: random.chance(0.1) ? mutateText(text, random) : text };
}

/** Those that other conversions of T5 have, right and wrong, around the file's own. */
function otherNormaliser(own: unknown, random: Random): unknown {
  const kinds: readonly unknown[] = [
    own,
    { type: 'Strip', strip_left: random.chance(0.5), strip_right: random.chance(0.5) },
    {
      type: 'Replace',
      pattern: { Regex: random.pick([' {2,}', '(a+)+$']) },
      content: random.pick(['', ' ', '▁', '$&$&']),
    },
    {
      type: 'Replace',
      pattern: { String: random.pick(['', ' ', 'a', '\u0300']) },
      content: random.pick(['', 'aa', '▁']),
    },
    { type: 'NFKC' },
    {},
  ];
  const list = Array.from({ length: random.pick([0, 1, 3, 200]) }, () => random.pick(kinds));
  return mutateSome({ type: 'Sequence', normalizers: list }, random);
}

function mutateModel(model: unknown, random: Random): unknown {
  if (!isObject(model) || !Array.isArray(model['vocab'])) return model;
  const vocab: unknown[] = [...(model['vocab'] as readonly unknown[])]; // of JSON: anything
  for (let n = random.int(6); n > 0; n--) {
    const at = random.int(vocab.length + 1);
    const score = random.pick([0, -1, -1e308, 1e308, -1e-300, null]);
    const piece = random.pick<unknown>(['a', '▁', '', '\ud83e', '<0x41>', 'x'.repeat(5000), '▁'.repeat(40), 7]);
    vocab.splice(at, random.int(2), random.chance(0.9) ? [piece, score] : mutateJson(vocab[at], random));
  }
  const bytes = random.chance(0.2)
    ? Array.from({ length: 256 }, (_, i) => [`<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`, -9])
    : [];
  const settings = random.chance(0.3)
    ? { unk_id: random.pick([0, 2, vocab.length - 1, vocab.length, -1, 1.5]), byte_fallback: random.chance(0.7) }
    : {};
  return mutateSome({ ...model, vocab: random.chance(0.02) ? [] : [...vocab, ...bytes], ...settings }, random);
}

function mutateSome(json: unknown, random: Random): unknown {
  return random.chance(0.15) ? mutateJson(json, random) : json;
}

function check(tokenizer: T5Tokenizer, random: Random): void {
  const { eos, pad, unk, size, length } = tokenizer;
  const isId = (id: number): boolean => Number.isInteger(id) && id >= 0 && id < size;
  must([eos, pad, unk].every(isId), () => `end ${eos}, padding ${pad}, unknown ${unk} of ${size} ids`);
  must(Number.isInteger(length) && length >= 2 && length <= 65_536, () => `calls of ${length} tokens`);
  must(size >= 1 && size <= 2 ** 24, () => `${size} ids`);
  for (const prompt of [...PROMPTS, mutateText(random.pick(PROMPTS), random)]) {
    const ids = tokenizer.encode(prompt);
    must(
      ids.every(isId),
      () => `${JSON.stringify(prompt.slice(0, 50))} gives ids ${ids.slice(0, 20).join()} of ${size}`,
    );
    must(prompt !== '' || ids.length === 0, () => `nothing gives ${ids.length} ids`);
    const row = toT5Row(ids, tokenizer, 64);
    must(row.ids.length === 64 && row.ids[row.used - 1] === eos, () => `a row without its end, of ${row.used}`);
  }
}
