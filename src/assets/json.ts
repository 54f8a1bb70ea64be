/** @file A JSON parser for untrusted text: says where an error is, sees duplicate keys, bounds the depth, and can read what Python writes. */
import { fail, type ErrorCode } from '../base/errors.js';
import { show } from '../base/fields.js';

/**
 * `strict` is RFC 8259 with duplicate keys refused. `python` is what Python's `json` module writes and reads: NaN, Infinity
 * and -Infinity are numbers (saved scheduler configs have `"lambda_min_clipped": -Infinity`), and the last duplicate wins.
 */
export type JsonDialect = 'strict' | 'python';

export interface JsonOptions {
  readonly dialect: JsonDialect;
  /** Code of the error for text that is not JSON. */
  readonly code: ErrorCode;
  /** Refuses whole numbers that are written as fractions are (`1.0`, `1e2`): where all numbers are sizes, readers of integers do. */
  readonly plainIntegers?: true;
}

/** Real files nest 4 to 6 levels; recursion stops here. */
const MAX_DEPTH = 64;

/**
 * Parses `text`; `where` names the file in messages. Objects may have an own key `__proto__`; it has no effect on their prototype.
 * @throws `code` with the line and column of the problem
 */
export function parseJson(text: string, where: string, options: JsonOptions): unknown {
  const cursor: Cursor = { text, where, at: 0, ...options };
  const value = readValue(cursor, 0);
  skipSpace(cursor);
  if (cursor.at < text.length) throw problem(cursor, 'unexpected text after the value');
  return value;
}

interface Cursor extends JsonOptions {
  readonly text: string;
  readonly where: string;
  at: number;
}

function problem({ text, where, at, code }: Cursor, what: string): Error {
  const before = text.slice(0, at).split('\n');
  const column = (before.at(-1) ?? '').length + 1;
  return fail(code, `${where} is not valid JSON: ${what} at line ${before.length}, column ${column}.`);
}

function skipSpace(c: Cursor): void {
  while (isSpace(c.text.charCodeAt(c.at))) c.at++;
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}

function readValue(c: Cursor, depth: number): unknown {
  if (depth > MAX_DEPTH) throw problem(c, `nesting deeper than ${MAX_DEPTH} levels`);
  skipSpace(c);
  switch (c.text.charAt(c.at)) {
    case '{':
      return readObject(c, depth);
    case '[':
      return readArray(c, depth);
    case '"':
      return readString(c);
    default:
      return readWord(c);
  }
}

function readObject(c: Cursor, depth: number): object {
  const entries = new Map<string, unknown>();
  readItems(c, '}', () => {
    if (c.text[c.at] !== '"') throw problem(c, 'expected a key in double quotes');
    const keyAt = c.at;
    const key = readString(c);
    if (c.dialect === 'strict' && entries.has(key)) {
      throw problem({ ...c, at: keyAt }, `the key ${show(key)} occurs twice`);
    }
    skipSpace(c);
    if (c.text[c.at] !== ':') throw problem(c, 'expected ":"');
    c.at++;
    entries.set(key, readValue(c, depth + 1));
  });
  return Object.fromEntries(entries);
}

function readArray(c: Cursor, depth: number): unknown[] {
  const values: unknown[] = [];
  readItems(c, ']', () => values.push(readValue(c, depth + 1)));
  return values;
}

/** From the opening bracket to the closing one; `readItem` is called before each item, past the space. */
function readItems(c: Cursor, close: '}' | ']', readItem: () => void): void {
  c.at++;
  skipSpace(c);
  if (c.text[c.at] === close) {
    c.at++;
    return;
  }
  for (;;) {
    readItem();
    skipSpace(c);
    const mark = c.text[c.at];
    if (mark !== ',' && mark !== close)
      throw problem(c, mark === undefined ? 'the text ends early' : `expected "," or "${close}"`);
    c.at++;
    if (mark === close) return;
    skipSpace(c);
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

function readString(c: Cursor): string {
  const start = c.at + 1;
  let escaped = false;
  let end = start;
  for (; ; end++) {
    const code = c.text.charCodeAt(end);
    if (code === QUOTE) break;
    if (code === BACKSLASH) {
      escaped = true;
      end++;
    } else if (!(code >= 0x20)) {
      c.at = Math.min(end, c.text.length);
      throw problem(c, Number.isNaN(code) ? 'a string without an end' : 'a control character in a string');
    }
  }
  const literal = c.text.slice(start, end);
  const value = escaped ? unescape(literal) : literal;
  if (value === undefined) throw problem(c, 'a bad escape in a string');
  c.at = end + 1;
  return value;
}

function unescape(literal: string): string | undefined {
  try {
    const value: unknown = JSON.parse(`"${literal}"`);
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined; // the caller reports where
  }
}

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const WORDS = new Map<string, boolean | null>([
  ['true', true],
  ['false', false],
  ['null', null],
]);
const PYTHON_WORDS = new Map([
  ['NaN', NaN],
  ['Infinity', Infinity],
  ['-Infinity', -Infinity],
]);

/** A number, `true`, `false`, `null`, or one of Python's constants. */
function readWord(c: Cursor): boolean | number | null {
  let end = c.at;
  while (isWordCharacter(c.text.charCodeAt(end))) end++;
  const word = c.text.slice(c.at, end);
  const python = c.dialect === 'python' ? PYTHON_WORDS.get(word) : undefined;
  const value = NUMBER.test(word) ? Number(word) : (python ?? WORDS.get(word));
  if (value === undefined) {
    const got = word === '' ? c.text.charAt(c.at) : word.slice(0, 40);
    throw problem(c, got === '' ? 'the text ends early' : `unexpected ${JSON.stringify(got)}`);
  }
  if (c.plainIntegers === true && /^-?\d+[.eE]/.test(word) && Number.isSafeInteger(value))
    throw problem(c, `${word.slice(0, 40)}, a whole number with a point or an exponent`);
  c.at = end;
  return value;
}

/** `+`, `-`, `.`, digits and ASCII letters. */
function isWordCharacter(code: number): boolean {
  const letter = code | 0x20;
  return (
    (code >= 0x30 && code <= 0x39) ||
    (letter >= 0x61 && letter <= 0x7a) ||
    code === 0x2b ||
    code === 0x2d ||
    code === 0x2e
  );
}
