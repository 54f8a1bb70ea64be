/** @file A CLIP tokenizer's files → its tables: ids, merges, special tokens. The files are untrusted. */
import type { TokenizerFiles } from '../assets/tokenizer-files.js';
import { fail } from '../base/errors.js';
import { fields, show } from '../base/fields.js';
import { ID_LIMIT, mergeEntry, pairKey, type Merges } from './bpe.js';
import { readSpecialNames } from './special-tokens.js';

export interface ClipVocabulary {
  /** The id of each byte inside a word, and of each byte that ends a word. */
  readonly inner: readonly number[];
  readonly final: readonly number[];
  readonly merges: Merges;
  /** Special tokens by their spelling in a prompt. */
  readonly special: ReadonlyMap<string, number>;
  readonly bos: number;
  readonly eos: number;
  readonly pad: number;
  /** Ids that the text encoder's table must have room for: the largest id + 1. */
  readonly size: number;
  /** Ids per encoder call, specials included: 77. */
  readonly length: number;
  /** 1 for the ids of tokens that end a word. */
  readonly wordEnds: Uint8Array;
}

const END_OF_WORD = '</w>';

/** @throws invalidModelConfig naming the file and what is wrong, unsupportedModel for a tokenizer.json of another kind */
export function parseClipVocabulary(files: TokenizerFiles): ClipVocabulary {
  const { ids, merges, added } = readTables(files);
  const names = readSpecialNames(files);
  const idOf = (token: string, role: string): number => {
    const id = ids.get(token);
    if (id !== undefined) return id;
    throw fail('invalidModelConfig', `${files.name}: the ${role} token ${show(token)} is not in the vocabulary.`);
  };
  const spellings = new Set([names.bos, names.eos, names.unk, names.pad, ...names.more, ...added]);
  const unk = idOf(names.unk, 'unknown');
  const bytes = byteCharacters();
  const size = [...ids.values()].reduce((largest, id) => Math.max(largest, id), 0) + 1;
  const ranks = rankMerges(merges, ids, files.name);
  checkMerges(ids, merges, spellings, files.name);
  const wordEnds = new Uint8Array(size);
  for (const [token, id] of ids) if (token.endsWith(END_OF_WORD)) wordEnds[id] = 1;
  return {
    inner: bytes.map((character) => ids.get(character) ?? unk),
    final: bytes.map((character) => ids.get(character + END_OF_WORD) ?? unk),
    merges: ranks,
    special: new Map([...spellings].map((token) => [token, idOf(token, 'special')])),
    bos: idOf(names.bos, 'begin'),
    eos: idOf(names.eos, 'end'),
    pad: idOf(names.pad, 'padding'),
    size,
    length: names.length,
    wordEnds,
  };
}

interface Tables {
  readonly ids: ReadonlyMap<string, number>;
  readonly merges: readonly Pair[];
  /** Special tokens that the file itself lists. */
  readonly added: readonly string[];
}

type Pair = readonly [left: string, right: string];

function readTables({ name, vocabulary }: TokenizerFiles): Tables {
  switch (vocabulary.kind) {
    case 'vocab': {
      const merges = parseMergesText(vocabulary.merges, `${name}/merges.txt`);
      return { ids: parseIds(vocabulary.vocab, `${name}/vocab.json`), merges, added: [] };
    }
    case 'tokenizerJson':
      return readTokenizerJson(vocabulary.json, `${name}/tokenizer.json`);
    default:
      return vocabulary satisfies never;
  }
}

/** `tokenizer.json` of the tokenizers library. */
function readTokenizerJson(json: unknown, where: string): Tables {
  const f = fields(json, where);
  const model = fields(f.raw('model'), `${where}: "model"`);
  const [type, suffix] = [model.text('type', 'BPE'), model.text('end_of_word_suffix', '')];
  if (type !== 'BPE' || suffix !== END_OF_WORD) {
    throw fail(
      'unsupportedModel',
      `${where}: a ${type} model with end_of_word_suffix ${show(suffix)} is not a CLIP tokenizer (BPE with ${show(END_OF_WORD)}).`,
    );
  }
  const tokens = f.list('added_tokens', readAddedToken, []);
  return {
    ids: new Map([...parseIds(model.raw('vocab'), `${where}: "vocab"`), ...tokens]),
    merges: model.list('merges', parsePair),
    added: tokens.map(([token]) => token),
  };
}

function readAddedToken(value: unknown, where: string): readonly [token: string, id: number] {
  const f = fields(value, where);
  const token = f.text('content');
  if (token === '') throw f.error('content', 'a string that is not empty');
  return [token, f.integer('id', undefined, { min: 0, max: ID_LIMIT - 1 })];
}

function parseIds(json: unknown, where: string): ReadonlyMap<string, number> {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw fail('invalidModelConfig', `${where} must be a JSON object (token → id), got ${show(json)}.`);
  }
  const tokens = new Map<number, string>();
  const entries = Object.entries(json).map(([token, id]: [string, unknown]): readonly [string, number] => {
    if (typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < ID_LIMIT) {
      const other = tokens.get(id);
      if (other !== undefined)
        throw fail('invalidModelConfig', `${where}: ${show(other)} and ${show(token)} both have the id ${id}.`);
      tokens.set(id, token);
      return [token, id];
    }
    throw fail(
      'invalidModelConfig',
      `${where}: the id of ${show(token)} must be a whole number from 0 to ${ID_LIMIT - 1}, got ${show(id)}.`,
    );
  });
  return new Map(entries);
}

/** One merge a line, `LEFT RIGHT`; the first line may be `#version: …`. */
function parseMergesText(text: string, where: string): readonly Pair[] {
  const lines = text.split(/\r?\n/);
  return lines.flatMap((line, i) => {
    const comment = i === 0 && line.startsWith('#version');
    return comment || line === '' ? [] : [parsePair(line, `${where}: line ${i + 1}`)];
  });
}

/** `"LEFT RIGHT"`, or `["LEFT", "RIGHT"]` as newer files have it. */
function parsePair(value: unknown, where: string): Pair {
  const parts: unknown = typeof value === 'string' ? value.split(' ') : value;
  if (Array.isArray(parts) && parts.length === 2) {
    const pair: readonly unknown[] = parts;
    const [left, right] = pair;
    if (typeof left === 'string' && typeof right === 'string' && left !== '' && right !== '') return [left, right];
  }
  throw fail('invalidModelConfig', `${where} must be two tokens, got ${show(value)}.`);
}

function rankMerges(pairs: readonly Pair[], ids: ReadonlyMap<string, number>, name: string): Merges {
  if (pairs.length >= ID_LIMIT)
    throw fail('invalidModelConfig', `${name} has ${pairs.length} merges; at most ${ID_LIMIT - 1} are accepted.`);
  return new Map(
    pairs.map(([left, right], rank) => {
      const [a, b, merged] = [ids.get(left), ids.get(right), ids.get(left + right)];
      if (a === undefined || b === undefined || merged === undefined) {
        throw fail(
          'invalidModelConfig',
          `${name}: merge ${rank + 1} (${show(left)} ${show(right)}) needs tokens that the vocabulary does not have.`,
        );
      }
      return [pairKey(a, b), mergeEntry(rank, merged)];
    }),
  );
}

/**
 * A token that could be joined from two others is made by a merge: a list that was cut off would give other ids, and other pictures, without a word.
 * Tokens that somebody added by hand (`<cat-toy>`) cannot be joined so.
 */
function checkMerges(
  ids: ReadonlyMap<string, number>,
  merges: readonly Pair[],
  special: ReadonlySet<string>,
  name: string,
): void {
  const made = new Set(merges.map(([left, right]) => left + right));
  const joins = (token: string, at: number): boolean => ids.has(token.slice(0, at)) && ids.has(token.slice(at));
  const missing = [...ids.keys()].filter((token) => {
    if (made.has(token) || special.has(token)) return false;
    const end = token.endsWith(END_OF_WORD) ? token.length - END_OF_WORD.length : token.length;
    return Array.from({ length: Math.max(0, end - 1) }, (_, i) => i + 1).some((at) => joins(token, at));
  });
  const [first] = missing;
  if (first === undefined) return;
  throw fail(
    'invalidModelConfig',
    `${name}: no merge makes the token ${show(first)}${missing.length > 1 ? ` and ${missing.length - 1} others` : ''} of the vocabulary.`,
    { hint: 'The list of merges is cut short, or of another vocabulary: get both files again.' },
  );
}

/**
 * The character that stands for each byte in the vocabulary (GPT-2's `bytes_to_unicode`): printable Latin-1 bytes are
 * themselves, the others are U+0100, U+0101, … in order.
 */
function byteCharacters(): readonly string[] {
  let others = 0;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    return String.fromCharCode(printable ? byte : 0x100 + others++);
  });
}
