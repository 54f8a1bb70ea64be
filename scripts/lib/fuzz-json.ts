/** @file JSON text a little wrong, as no writer of JSON would make it; what is right of it, told by the platform's parser; and the target that compares. */
import { isDeepStrictEqual } from 'node:util';
import { parseJson, type JsonDialect } from '../../src/assets/json.js';
import { isObject, join, mutateJson } from './fuzz-mutate.js';
import type { Random } from './fuzz-random.js';
import { attempt, must, type Target } from './fuzz-target.js';

/** What stands for a number and is none, is none of a size, or is one in another spelling. */
const SPELLINGS = [
  '-0', '0.0', '1.0', '1e2', '1E+2', '100e-2', '01', '+1', '.5', '1.', '1e', '0x10', '1_000', '1e400', '-1e400', '9007199254740991', '9007199254740992',
  '9007199254740993', '18446744073709551615', '18446744073709551616', '-1', '4294967296', 'NaN', 'Infinity', '-Infinity', 'nan', 'null', 'True', '"1"',
  `1${'0'.repeat(400)}`, `0.${'0'.repeat(400)}1`,
]; // prettier-ignore

/** What may be put anywhere. */
const PIECES = [
  ',', ':', '[', ']', '{', '}', '"', '\\', '//', '/* */', '#', ' ', '\n', '\t', '\f', '\v', '\u00a0', '\ufeff', '\0', '\u2028', "'", '"\\ud800"', '"\\u0000"',
  '"\\x41"', '"\\/"', '"\t"', '[]', '{}', 'null', '"__proto__":{},', '"constructor":1,', '"toString":[],', '"":0,', `${'['.repeat(70)}${']'.repeat(70)}`,
  `${'{"a":'.repeat(60)}1${'}'.repeat(60)}`, '['.repeat(100_000),
]; // prettier-ignore

/** Bytes that no UTF-8 text has: overlong forms, halves of surrogates, beyond the last character, cut sequences. */
const NOT_UTF8 = [
  [0xc0, 0x80], [0xc1, 0xbf], [0xe0, 0x80, 0xaf], [0xed, 0xa0, 0x80], [0xed, 0xbf, 0xbf], [0xf4, 0x90, 0x80, 0x80], [0xf0, 0x9f, 0xa6], [0xff], [0x80],
].map((bytes) => Uint8Array.from(bytes)); // prettier-ignore

/** The text of `value` with 0 to 3 of its tokens changed, as text. */
export function mutateJsonText(value: unknown, random: Random): string {
  let text = JSON.stringify(value, null, random.chance(0.3) ? 1 : 0) ?? 'null';
  for (let n = Math.floor(4 * random.real() ** 2); n > 0; n--) text = editText(text, random);
  return text;
}

function editText(text: string, random: Random): string {
  const at = random.int(text.length + 1);
  switch (random.int(6)) {
    case 0:
      return replaceOne(text, /-?\d+(?:\.\d+)?/g, () => random.pick(SPELLINGS), random);
    case 1: // a key twice
      return replaceOne(text, /"(?:[^"\\]|\\.)*"\s*:/g, (key) => `${key}${random.pick(['1', '{}', '[]', 'null'])},${key}`, random); // prettier-ignore
    case 2: // a key by another spelling, which is the same key
      return replaceOne(text, /"\w/g, (start) => `"\\u${start.charCodeAt(1).toString(16).padStart(4, '0')}`, random);
    case 3:
      return text.slice(0, at) + random.pick(PIECES) + text.slice(at);
    case 4:
      return random.chance(0.5) ? random.pick(PIECES) + text : text + random.pick(PIECES);
    default:
      return text.slice(0, at);
  }
}

function replaceOne(text: string, pattern: RegExp, by: (found: string) => string, random: Random): string {
  const found = [...text.matchAll(pattern)];
  if (found.length === 0) return text;
  const { 0: match, index } = random.pick(found);
  return text.slice(0, index) + by(match) + text.slice(index + match.length);
}

/** The bytes of a text; now and then with some in it that are no UTF-8. */
export function toBytes(text: string, random: Random): Uint8Array<ArrayBuffer> {
  const bytes = new TextEncoder().encode(text);
  if (random.chance(0.97)) return bytes;
  const at = random.int(bytes.length + 1);
  return join(bytes.subarray(0, at), random.pick(NOT_UTF8), bytes.subarray(at));
}

export interface Judged {
  readonly value: unknown;
  /** An object has a key twice. */
  readonly twice: boolean;
  /** A whole number is written as `1.0` or `1e0`. */
  readonly odd: boolean;
  /** The most lists and objects around one value. */
  readonly depth: number;
}

/** What the platform says of a text; `undefined` where it is not JSON. Its parser sees neither keys that come twice nor depth: that is counted here. */
export function judgeJson(text: string): Judged | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[[\]{}:,]|[^\s[\]{}:,"]+/g) ?? [];
  const open: (Set<unknown> | undefined)[] = [];
  let [depth, twice, odd] = [0, false, false];
  tokens.forEach((token, i) => {
    if (token === ']' || token === '}') {
      open.pop();
      return;
    }
    if (token === ',' || token === ':') return;
    depth = Math.max(depth, open.length);
    if (token === '[' || token === '{') open.push(token === '{' ? new Set() : undefined);
    else if (token.startsWith('"') && tokens[i + 1] === ':') {
      const key: unknown = JSON.parse(token);
      twice ||= open.at(-1)?.has(key) === true;
      open.at(-1)?.add(key);
      depth = Math.max(depth, open.length);
    } else if (/[.e]/i.test(token) && !/^["tfn]/.test(token)) odd ||= Number.isInteger(Number(token));
  });
  return { value, twice, odd, depth };
}

/** What the reader allows, as its documentation says. */
const MOST_DEPTH = 64;

const SEEDS: readonly unknown[] = [
  { a: 1, b: [1, 2.5, -3], c: { d: 'text', e: null, f: true } },
  { weight_map: { 'a.weight': 'x-00001-of-00002.safetensors' }, metadata: { total_size: 12 } },
  [[], {}, '', 0, -1e-7, 'é🦊\u2028', [[[1]]]],
  { _class_name: 'A', beta_start: 0.00085, trained_betas: null, name: '\\u0041', '"': '\\' },
];

/** Both dialects against `JSON.parse`: accepted is what it accepts, with the same value, but for keys that come twice, depth, and Python's words. */
export const jsonTarget: Target = {
  kind: 'json',
  async run(random) {
    const seed = random.pick(SEEDS);
    const text = mutateJsonText(random.chance(0.5) ? seed : mutateJson(seed, random), random);
    const judged = judgeJson(text);
    const read = (dialect: JsonDialect) =>
      attempt(() => parseJson(text, 'f.json', { dialect, code: 'invalidModelConfig' }));
    const [strict, python] = [await read('strict'), await read('python')];
    const shown = (): string => JSON.stringify(text.slice(0, 300));
    const shallow = judged !== undefined && judged.depth <= MOST_DEPTH;
    const valid = shallow && !judged.twice;
    must((strict !== undefined) === valid, () => `${shown()}: strict ${strict !== undefined}, expected ${valid}`);
    must(!valid || isDeepStrictEqual(strict?.value, judged.value), () => `${shown()}: another value`);
    if (shallow) {
      must(python !== undefined, () => `${shown()} is refused in Python's dialect`);
      must(judged.twice || isDeepStrictEqual(python?.value, judged.value), () => `${shown()}: another value`);
    } else if (python !== undefined) {
      const words = text.replace(/("(?:[^"\\]|\\.)*")|-?\b(?:NaN|Infinity)\b/g, (_, string?: string) => string ?? '0');
      must(judgeJson(words) !== undefined, () => `${shown()} is no JSON of Python's`);
    }
    must(!isObject(strict?.value) || Object.getPrototypeOf(strict.value) === Object.prototype, () => 'a prototype');
    return strict === undefined ? 'refused' : 'accepted';
  },
};
