/** @file The JSON parser against `JSON.parse`, and where it is stricter, looser, or says more. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseJson, type JsonDialect } from '../../../src/assets/json.js';
import { DarkroomError } from '../../../src/base/errors.js';

const parse = (text: string, dialect: JsonDialect = 'strict'): unknown =>
  parseJson(text, 'a.json', { dialect, code: 'invalidModelConfig' });

function messageOf(text: string, dialect: JsonDialect = 'strict'): string | undefined {
  try {
    parse(text, dialect);
    return undefined;
  } catch (error) {
    if (error instanceof DarkroomError) return error.message;
    throw error;
  }
}

/** What `JSON.parse` makes of it: a value, or undefined for text it refuses. */
function reference(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return undefined;
  }
}

/** Fragments that make JSON-like text, valid and not. */
const fragments = fc.constantFrom(
  ...'{}[],:"\\ \n\t',
  '"a"',
  '"b":',
  '"\\u00e9"',
  '"\\x"',
  '0',
  '-1',
  '01',
  '1.5e3',
  '.5',
  '1.',
  'true',
  'null',
  'nul',
  '__proto__',
  'é',
  '\u0001',
);

describe('parseJson', () => {
  it('reads every value that JSON.stringify writes', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), fc.constantFrom(0, 1), (value, indent) => {
        const text = JSON.stringify(value, null, indent);
        expect(parse(text)).toEqual(JSON.parse(text));
      }),
    );
  });

  it('accepts just the texts that JSON.parse accepts, but for duplicate keys', () => {
    fc.assert(
      fc.property(
        fc.array(fragments, { maxLength: 12 }).map((parts) => parts.join('')),
        (text) => {
          const expected = reference(text);
          const message = messageOf(text);
          if (message?.includes('occurs twice')) return;
          expect(message === undefined, `${JSON.stringify(text)} → ${message}`).toBe(expected !== undefined);
          if (expected !== undefined) expect(parse(text)).toEqual(expected.value);
        },
      ),
      { numRuns: 5000 },
    );
  });

  it.each([
    ['{"a":1,"a":2}', 'the key "a" occurs twice at line 1, column 8'],
    ['{"a":1,"\\u0061":2}', 'the key "a" occurs twice'],
    ['{"x":{"a":1,"b":2,"a":3}}', 'the key "a" occurs twice'],
    ['{"__proto__":1,"__proto__":2}', 'the key "__proto__" occurs twice'],
    ['{\n  "a": tru\n}', 'unexpected "tru" at line 2, column 8'],
    ['{"a": [1, 2', 'the text ends early at line 1, column 12'],
    ['{"a": "b', 'a string without an end'],
    ['{"a": "b\n"}', 'a control character in a string'],
    ['{"a": "\\q"}', 'a bad escape in a string'],
    ['{a: 1}', 'expected a key in double quotes'],
    ['{"a" 1}', 'expected ":"'],
    ['[1 2]', 'expected "," or "]"'],
    ['[1,]', 'unexpected "]"'],
    ['{} {}', 'unexpected text after the value at line 1, column 4'],
    ['', 'the text ends early'],
    ['NaN', 'unexpected "NaN"'],
    ['['.repeat(100_000), 'nesting deeper than 64 levels'],
  ])('refuses %s', (text, problem) => expect(messageOf(text)).toContain(problem));

  it('never touches a prototype', () => {
    const value = parse('{"__proto__":{"polluted":1},"constructor":2}');
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect(Object.entries(value as object)).toEqual([
      ['__proto__', { polluted: 1 }],
      ['constructor', 2],
    ]);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });

  it('reads what Python writes: infinities, NaN, and the last of equal keys', () => {
    const text = '{"lambda_min_clipped": -Infinity, "b": [Infinity, NaN], "c": 1, "c": 2}';
    expect(parse(text, 'python')).toEqual({ lambda_min_clipped: -Infinity, b: [Infinity, NaN], c: 2 });
    expect(messageOf('-Infinit', 'python')).toContain('unexpected');
  });
});
