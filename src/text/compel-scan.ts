/** @file The smallest parts of compel's grammar: white space, words, numbers, signs, lists of options. Only places in a text, no tree. */

/** What `pattern`, which must be sticky, matches at `at`. */
export function matchAt(pattern: RegExp, text: string, at: number): string | undefined {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0];
}

/** White space is these four: others, such as U+3000, are letters of a word to compel. */
export const PATTERN = {
  /** A word without syntax: `sky-blue`, `a\(b\)`. A sign is part of it unless syntax, white space or the end follows. */
  word: /(?:\\[(),.+\-="]|[-+](?![ \t\n\r(),.+\-="]|$)|[^ \t\n\r(),.+\-="])+/y,
  toNextSpace: /[^ \t\n\r]+/y,
  quoted: /"(?:\\"|[^"\n\r])*"/y,
  keyword: /[\w-]+/y,
  number: /[+-]?(?:\d+\.\d*|\.\d+)|-?\d+/y,
  signs: /\++|-+/y,
} as const;

const PLUS_BASE = 1.1;
const MINUS_BASE = 0.9;

/** The place of the next character that is not white space. */
export function skip(text: string, at: number): number {
  let i = at;
  while (i < text.length && ' \t\n\r'.includes(text.charAt(i))) i++;
  return i;
}

/** The end of `expected`, each with white space before it allowed. */
export function literal(text: string, at: number, ...expected: readonly string[]): number | undefined {
  let end = at;
  for (const next of expected) {
    const start = skip(text, end);
    if (!text.startsWith(next, start)) return undefined;
    end = start + next.length;
  }
  return end;
}

/** `++` is 1.1², `--` is 0.9²; with `numbers`, `1.2` is itself. */
export function readWeight(
  text: string,
  at: number,
  numbers: boolean,
): { readonly weight: number; readonly end: number } | undefined {
  const signs = matchAt(PATTERN.signs, text, at);
  if (signs !== undefined) {
    const base = signs.startsWith('+') ? PLUS_BASE : MINUS_BASE;
    return { weight: base ** signs.length, end: at + signs.length };
  }
  const number = numbers ? matchAt(PATTERN.number, text, at) : undefined;
  return number === undefined ? undefined : { weight: Number(number), end: at + number.length };
}

/** One of an operator's options: a number, or else a keyword such as `no_normalize`. */
export type Option = number | string;

/** Options with commas between, such as `1, 0.8, no_normalize`; may be empty. Of `key=value` the key is kept. */
export function readOptions(
  text: string,
  start: number,
): { readonly options: readonly Option[]; readonly end: number } {
  const options: Option[] = [];
  let end = start;
  for (let from: number | undefined = start; from !== undefined; from = literal(text, end, ',')) {
    const at = skip(text, from);
    const key = matchAt(PATTERN.keyword, text, at);
    const equals = key === undefined ? undefined : literal(text, at + key.length, '=');
    const valueAt = equals === undefined ? at : skip(text, equals);
    const number = matchAt(PATTERN.number, text, valueAt);
    const value = number ?? matchAt(PATTERN.keyword, text, valueAt);
    if (value === undefined) break;
    if (key !== undefined && equals !== undefined) options.push(`${key}=`);
    else options.push(number === undefined ? value : Number(number));
    end = valueAt + value.length;
  }
  return { options, end };
}
