/** @file The checkers of single values and lists: each makes the rule of one kind of parameter. Data in, rule out. */
import { type ImageInput, isImageInput } from './image-reference.js';
import { type Expectation, type Place, type Scope, item, reportInvalid } from './place.js';
import { UNREADABLE, readItems, show } from './read.js';
import type { Rule } from './rules.js';

/** A bound, or how it follows from the task. */
export type Bound = number | ((scope: Scope) => number);

/** The task's number of steps, as a bound. */
export const STEPS: Bound = (scope) => scope.steps;

const boundIn = (bound: Bound, scope: Scope): number => (typeof bound === 'number' ? bound : bound(scope));

/** A whole JSON number in [min, max], in multiples of `multiple`. Strings and bigints are no numbers. */
export function integer(range: { readonly min: Bound; readonly max: Bound; readonly multiple?: number }): Rule<number> {
  const { multiple } = range;
  return leaf(
    'integer',
    (scope) => {
      const [min, max] = [boundIn(range.min, scope), boundIn(range.max, scope)];
      return { ...inMultiples(`an integer from ${min} to ${max}`, multiple), min, max };
    },
    (value, { min, max }) => (isWithin(value, min, max) && isMultiple(value, multiple) ? value + 0 : undefined),
  );
}

/** A whole JSON number of at least `min`, in multiples of `multiple`. */
export function integerFrom(min: number, multiple?: number): Rule<number> {
  return leaf(
    'integer',
    () => ({ ...inMultiples(`an integer of at least ${min}`, multiple), min }),
    (value) => (isWithin(value, min, Number.MAX_SAFE_INTEGER) && isMultiple(value, multiple) ? value + 0 : undefined),
  );
}

function inMultiples(expected: string, multiplier: number | undefined): Expectation {
  return multiplier === undefined
    ? { expected }
    : { expected: `${expected} in multiples of ${multiplier}`, multiplier };
}

const isMultiple = (value: number, multiple = 1): boolean => value % multiple === 0;

/** A finite JSON number in [min, max]. −0 becomes 0. */
export function number(range: { readonly min: number; readonly max: number }): Rule<number> {
  return leaf(
    'float',
    () => ({ expected: `a number from ${range.min} to ${range.max}`, ...range }),
    (value) => (isWithin(value, range.min, range.max) ? value + 0 : undefined),
  );
}

function isWithin(value: unknown, min: unknown, max: unknown): value is number {
  return (
    typeof value === 'number' && typeof min === 'number' && typeof max === 'number' && value >= min && value <= max
  );
}

/** `true` or `false`. */
export function flag(): Rule<boolean> {
  return leaf(
    'boolean',
    () => ({ expected: 'true or false', allowedValues: [true, false] }),
    (value) => (typeof value === 'boolean' ? value : undefined),
  );
}

/** One of a few strings. With `anyCase`, capitals do not matter and the listed spelling is given back. */
export function oneOf<const T extends string>(allowed: readonly T[], options: { readonly anyCase?: true } = {}) {
  const fold = (text: string) => (options.anyCase === true ? text.toLowerCase() : text);
  return resolved<T>(allowed, `one of ${allowed.map((value) => `'${value}'`).join(', ')}`, (text) =>
    allowed.find((value) => fold(value) === fold(text)),
  );
}

/** A name out of a list that a function looks up (which may know other spellings). */
export function resolved<T extends string>(
  allowedValues: readonly NoInfer<T>[],
  expected: string,
  resolve: (text: string) => T | undefined,
): Rule<T> {
  return leaf(
    'string',
    () => ({ expected, allowedValues }),
    (value) => (typeof value === 'string' ? resolve(value) : undefined),
  );
}

/** A string of `min` to `max` Unicode code points (not UTF-16 units) without lone surrogates; kept exactly as sent. */
export function text(length: { readonly min: number; readonly max: number }): Rule<string> {
  const { min, max } = length;
  const expectation: Expectation = { expected: `a string of ${min} to ${max} characters`, min, max };
  return {
    type: 'string',
    expect: () => expectation,
    check: (value, place) => {
      const flaw = typeof value === 'string' ? flawOf(value, min, max) : show(value);
      if (typeof value === 'string' && flaw === undefined) return value;
      reportInvalid(place, 'string', value, expectation, flaw);
      return undefined;
    },
  };
}

function flawOf(value: string, min: number, max: number): string | undefined {
  // A code point has one or two units, so most lengths are known without counting (inputs may have gigabytes).
  const count = value.length > 2 * max ? Infinity : [...value].length;
  if (count > max) return `${count === Infinity ? `more than ${max}` : count} characters (${show(value)})`;
  if (count < min) return count === 1 ? `1 character (${show(value)})` : `${count} characters`;
  return /\p{Surrogate}/u.test(value) ? `text with half a surrogate pair (${show(value)})` : undefined;
}

/** A picture: text of a known form, or a file (see `image-reference.ts`). Whether there is a picture behind it shows later. */
export function picture(): Rule<ImageInput> {
  return leaf(
    'string',
    () => ({ expected: 'a picture: a UUID, a data URI, base64, a URL or a file' }),
    (value) => (isImageInput(value) ? value : undefined),
  );
}

/** Any string with something in it. */
export function reference(what: string): Rule<string> {
  return leaf(
    'string',
    () => ({ expected: what, min: 1 }),
    (value) => (typeof value === 'string' && value !== '' ? value : undefined),
  );
}

/** A string of a known form. */
export function pattern(form: RegExp, expected: string): Rule<string> {
  return leaf(
    'string',
    () => ({ expected }),
    (value) => (typeof value === 'string' && form.test(value) ? value : undefined),
  );
}

/** Any value at all: for parameters whose form does not matter because they have no effect. */
export function anything(): Rule<unknown> {
  return leaf(
    'any',
    () => ({ expected: 'a readable value' }),
    (value) => (value === UNREADABLE ? undefined : value),
  );
}

/** The most entries of a list. The cloud states no limit; this one only keeps a hostile request cheap. */
const LONGEST_LIST = 100;

/** An array, each entry by the same rule. */
export function list<T>(rule: Rule<T>): Rule<readonly T[]> {
  const type = `${rule.type}[]`;
  const expectation: Expectation = { expected: `an array of at most ${LONGEST_LIST} entries`, max: LONGEST_LIST };
  return {
    type,
    expect: () => expectation,
    check: (value, place) => {
      const read = readItems(value, LONGEST_LIST);
      if (read === undefined || read.length > LONGEST_LIST) {
        reportInvalid(place, type, value, expectation, read && `${read.length} entries`);
        return undefined;
      }
      const checked = read.items.map((entry, i) => rule.check(entry, item(place, i)));
      const valid = checked.filter((entry) => entry !== undefined);
      return valid.length === read.length ? valid : undefined;
    },
  };
}

/** A rule that either accepts a value (perhaps in a better spelling) or reports `invalid<Parameter>` with what was expected. */
export function leaf<T>(
  type: string,
  expect: (scope: Scope) => Expectation,
  accept: (value: unknown, expectation: Expectation, place: Place) => T | undefined,
): Rule<T> {
  return {
    type,
    expect,
    check: (value, place) => {
      const expectation = expect(place.scope);
      const accepted = accept(value, expectation, place);
      if (accepted === undefined) reportInvalid(place, type, value, expectation);
      return accepted;
    },
  };
}
