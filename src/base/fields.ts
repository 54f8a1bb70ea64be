/** @file Reading fields of untrusted JSON: each read checks type and range, and its error names file, field and value. */
import { fail, type ErrorCode } from './errors.js';

/** Checked access to the fields of one JSON object. `fallback` is used when the key is absent or null. */
export interface Fields {
  readonly where: string;
  has(key: string): boolean;
  raw(key: string): unknown;
  number(key: string, fallback?: number, range?: { readonly min?: number; readonly max?: number }): number;
  /** A whole number ≥ `min` (default 1) and ≤ `max` (default 2^24). */
  integer(key: string, fallback?: number, range?: { readonly min?: number; readonly max?: number }): number;
  boolean(key: string, fallback?: boolean): boolean;
  text(key: string, fallback?: string): string;
  oneOf<const T extends string>(key: string, allowed: readonly T[], fallback?: T): T;
  /** A list whose entries are read by `item`. */
  list<T>(key: string, item: (value: unknown, where: string) => T, fallback?: readonly T[]): readonly T[];
  /** Throws for a field that Darkroom cannot honour unless it holds one of the harmless values (null and absent are harmless). */
  only(key: string, harmless: readonly unknown[], what: string): void;
  error(key: string, expected: string): Error;
}

/** Wraps `json`; throws `code` when it is not an object. `where` names the file in messages. */
export function fields(json: unknown, where: string, code: ErrorCode = 'invalidModelConfig'): Fields {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw fail(code, `${where}: expected a JSON object, got ${show(json)}.`);
  }
  const entries = new Map<string, unknown>(Object.entries(json));
  const raw = (key: string): unknown => entries.get(key) ?? undefined;
  const error = (key: string, expected: string): Error =>
    fail(code, `${where}: "${key}" must be ${expected}, got ${show(raw(key))}.`, { parameter: key });

  function read<T>(
    key: string,
    expected: string,
    fallback: T | undefined,
    accept: (value: unknown) => T | undefined,
  ): T {
    const value = raw(key);
    if (value === undefined && fallback !== undefined) return fallback;
    const accepted = value === undefined ? undefined : accept(value);
    if (accepted === undefined) throw error(key, expected);
    return accepted;
  }

  return {
    where,
    has: (key) => raw(key) !== undefined,
    raw,
    error,
    number: (key, fallback, { min = -Infinity, max = Infinity } = {}) =>
      read(key, `a number${rangeText(min, max)}`, fallback, (v) => (isNumber(v, min, max) ? v : undefined)),
    integer: (key, fallback, { min = 1, max = 2 ** 24 } = {}) =>
      read(key, `a whole number${rangeText(min, max)}`, fallback, (v) =>
        isNumber(v, min, max) && Number.isInteger(v) ? v : undefined,
      ),
    boolean: (key, fallback) => read(key, 'true or false', fallback, (v) => (typeof v === 'boolean' ? v : undefined)),
    text: (key, fallback) => read(key, 'a string', fallback, (v) => (typeof v === 'string' ? v : undefined)),
    oneOf: (key, allowed, fallback) =>
      read(key, `one of ${allowed.join(', ')}`, fallback, (v) => allowed.find((choice) => choice === v)),
    list: (key, item, fallback) =>
      read(key, 'a list', fallback, (v) =>
        Array.isArray(v) ? v.map((entry: unknown, i) => item(entry, `${where}: "${key}"[${i}]`)) : undefined,
      ),
    only(key, harmless, what) {
      const value = raw(key);
      if (value === undefined || harmless.includes(value)) return;
      throw fail('unsupportedModel', `${where}: "${key}" is ${show(value)}; ${what} is not supported.`, {
        parameter: key,
      });
    },
  };
}

/** An entry reader for {@link Fields.list}. */
export function wholeNumber(value: unknown, where: string): number {
  if (isNumber(value, 1, 2 ** 24) && Number.isInteger(value)) return value;
  throw fail('invalidModelConfig', `${where} must be a whole number ≥ 1, got ${show(value)}.`);
}

/** A short, safe picture of a value for an error message. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object') return 'an object';
  return typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint'
    ? String(value)
    : typeof value;
}

function isNumber(value: unknown, min: number, max: number): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= min && value <= max;
}

function rangeText(min: number, max: number): string {
  if (min === -Infinity && max === Infinity) return '';
  if (max === Infinity) return ` ≥ ${min}`;
  return ` from ${min} to ${max}`;
}
