/** @file A T5 tokenizer's `tokenizer.json` → its pieces, added tokens and how text is prepared. The file is untrusted. */
import type { TokenizerFiles } from '../assets/tokenizer-files.js';
import { fail } from '../base/errors.js';
import { fields, show, type Fields } from '../base/fields.js';
import { ID_LIMIT } from './bpe.js';
import { createCharsmap } from './charsmap.js';
import type { UnigramModel } from './unigram.js';

export interface T5Vocabulary {
  readonly model: UnigramModel;
  readonly added: readonly AddedToken[];
  readonly normalise: (text: string) => string;
  /** Cuts a normalised text into words, each beginning with `▁`. */
  readonly words: (text: string) => readonly string[];
  readonly eos: number;
  readonly pad: number;
  readonly size: number;
  readonly length: number;
}

/** A token that stands for itself in a prompt. */
export interface AddedToken {
  readonly content: string;
  readonly id: number;
  /** The white space before or behind it belongs to it. */
  readonly takesLeft: boolean;
  readonly takesRight: boolean;
}

/** T5's published `model_max_length`. */
const T5_LENGTH = 512;
const MARK = '▁';

/** @throws invalidModelConfig naming the file and what is wrong, unsupportedModel for a tokenizer.json of another kind */
export function parseT5Vocabulary({ name, vocabulary, config }: TokenizerFiles): T5Vocabulary {
  const where = `${name}/tokenizer.json`;
  if (vocabulary.kind !== 'tokenizerJson') {
    throw fail('unsupportedModel', `${name} has a vocab.json; a T5 tokenizer needs tokenizer.json.`);
  }
  const file = fields(vocabulary.json, where);
  const model = readModel(fields(file.raw('model'), `${where}: "model"`));
  const added = file.list('added_tokens', readAdded, []);
  const ids = new Map([
    ...model.pieces.map(([text], id) => [text, id] as const),
    ...added.map(({ content, id }) => [content, id] as const),
  ]);
  const names = fields(config ?? {}, `${name}/tokenizer_config.json`);
  const idOf = (role: 'eos_token' | 'pad_token', usual: string): number => {
    const token = spelling(names, role, usual);
    const id = ids.get(token);
    if (id !== undefined) return id;
    throw fail('invalidModelConfig', `${name}: the ${role} ${show(token)} is not in the vocabulary.`);
  };
  return {
    model,
    added,
    normalise: readNormaliser(file.raw('normalizer'), `${where}: "normalizer"`),
    words: readPreTokenizer(file.raw('pre_tokenizer'), `${where}: "pre_tokenizer"`),
    eos: idOf('eos_token', '</s>'),
    pad: idOf('pad_token', '<pad>'),
    size: added.reduce((size, { id }) => Math.max(size, id + 1), model.pieces.length),
    length: readLength(names),
  };
}

function readModel(f: Fields): UnigramModel {
  const type = f.text('type', 'BPE');
  if (type !== 'Unigram') {
    throw fail('unsupportedModel', `${f.where}: a ${type} model is not a T5 tokenizer (Unigram).`);
  }
  const pieces = f.list('vocab', readPiece);
  if (pieces.length === 0 || pieces.length > ID_LIMIT) {
    throw fail('invalidModelConfig', `${f.where}: "vocab" must have 1 to ${ID_LIMIT} pieces, got ${pieces.length}.`);
  }
  const unk = f.integer('unk_id', undefined, { min: 0, max: pieces.length - 1 });
  return { pieces, unk, byteFallback: f.boolean('byte_fallback', false) };
}

function readPiece(value: unknown, where: string): readonly [text: string, score: number] {
  if (Array.isArray(value) && value.length === 2) {
    const pair: readonly unknown[] = value;
    const [text, score] = pair;
    if (typeof text === 'string' && text !== '' && typeof score === 'number' && Number.isFinite(score))
      return [text, score];
  }
  throw fail('invalidModelConfig', `${where} must be [text, score], got ${show(value)}.`);
}

function readAdded(value: unknown, where: string): AddedToken {
  const f = fields(value, where);
  f.only('single_word', [false], 'an added token that must be a whole word');
  f.only('normalized', [false], 'an added token that is looked for in normalised text');
  const content = f.text('content');
  if (content === '') throw f.error('content', 'a string that is not empty');
  return {
    content,
    id: f.integer('id', undefined, { min: 0, max: ID_LIMIT - 1 }),
    takesLeft: f.boolean('lstrip', false),
    takesRight: f.boolean('rstrip', false),
  };
}

function spelling(f: Fields, role: string, usual: string): string {
  const value = f.raw(role);
  if (value === undefined) return usual;
  return typeof value === 'string' ? value : fields(value, `${f.where}: "${role}"`).text('content');
}

function readLength(config: Fields): number {
  // what transformers writes for "not known" is int(1e30)
  if (config.number('model_max_length', T5_LENGTH) >= 1e9) return T5_LENGTH;
  return config.integer('model_max_length', T5_LENGTH, { min: 2, max: 65_536 });
}

type Normalise = (text: string) => string;

/** Unicode's White_Space (JavaScript's `\s` differs). */
const SPACE = String.raw`[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+`;
const LEFT_SPACE = new RegExp(`^${SPACE}`, 'u');
const ANY_SPACE = new RegExp(SPACE, 'u');

/** The normalisers that transformers' conversions of T5 have had. */
function readNormaliser(json: unknown, where: string): Normalise {
  if (json === undefined) return (text) => text;
  const f = fields(json, where);
  const type = f.text('type');
  switch (type) {
    case 'Sequence': {
      const steps = f.list('normalizers', readNormaliser);
      return (text) => steps.reduce((sofar, step) => step(sofar), text);
    }
    case 'Precompiled':
      return createCharsmap(f.text('precompiled_charsmap'), `${where}: "precompiled_charsmap"`);
    case 'Strip': {
      const [left, right] = [f.boolean('strip_left'), f.boolean('strip_right')];
      return (text) => trimRight(left ? text.replace(LEFT_SPACE, '') : text, right);
    }
    case 'Replace':
      return readReplacement(f);
    default:
      throw fail('unsupportedModel', `${where}: the normaliser ${show(type)} is not supported.`);
  }
}

/** From the end: a pattern `…+$` would take quadratic time. */
function trimRight(text: string, wanted: boolean): string {
  let end = text.length;
  while (wanted && end > 0 && ANY_SPACE.test(text.charAt(end - 1))) end--;
  return text.slice(0, end);
}

/** Of a string, or of runs of spaces; other patterns of an untrusted file could take for ever. */
function readReplacement(f: Fields): Normalise {
  const pattern = fields(f.raw('pattern'), `${f.where}: "pattern"`);
  const content = f.text('content');
  if (pattern.has('String')) {
    const wanted = pattern.text('String');
    const found = wanted === '' ? /(?:)/gu : wanted; // around each character, of which an empty text has none
    return (text) => (text === '' ? '' : text.replaceAll(found, () => content));
  }
  const regex = pattern.text('Regex');
  if (regex === ' {2,}') return (text) => text.replace(/ {2,}/g, () => content);
  throw fail('unsupportedModel', `${f.where}: the pattern ${show(regex)} is not supported.`);
}

type Cut = (texts: readonly string[]) => readonly string[];

function readPreTokenizer(json: unknown, where: string): (text: string) => readonly string[] {
  const cut = readCut(json, where);
  return (text) => cut([text]);
}

function readCut(json: unknown, where: string): Cut {
  const f = fields(json, where);
  const type = f.text('type');
  switch (type) {
    case 'Sequence': {
      const steps = f.list('pretokenizers', readCut);
      return (texts) => steps.reduce((sofar, step) => step(sofar), texts);
    }
    case 'WhitespaceSplit':
      return (texts) => texts.flatMap((text) => text.split(ANY_SPACE).filter((word) => word !== ''));
    case 'Metaspace':
      return readMetaspace(f);
    default:
      throw fail('unsupportedModel', `${where}: the pre-tokeniser ${show(type)} is not supported.`);
  }
}

/** Writes `▁` for each space and before the text, where there is none, and cuts before each. */
function readMetaspace(f: Fields): Cut {
  f.only('replacement', [MARK], `another mark than ${MARK}`);
  f.only('split', [true], 'Metaspace without splitting');
  // older files say add_prefix_space
  const prepend = f.has('prepend_scheme')
    ? f.oneOf('prepend_scheme', ['always', 'never']) === 'always'
    : f.boolean('add_prefix_space', true);
  return (texts) =>
    texts.flatMap((text) => {
      const marked = text.replaceAll(' ', MARK);
      const begun = prepend && marked !== '' && !marked.startsWith(MARK) ? MARK + marked : marked;
      return begun.match(/▁?[^▁]+|▁/gu) ?? [];
    });
}
