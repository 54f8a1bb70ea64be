/**
 * @file Reads untrusted values: each property once, own properties only, and nothing that a getter or a proxy does
 * gets out as an exception. Also prints untrusted values in messages. Knows no parameter; imports nothing.
 */

/** Stands for a property whose getter (or proxy) threw. No checker accepts it. */
export const UNREADABLE: unique symbol = Symbol('unreadable');

/** The own properties of an object that were asked for, and the names of all its others. */
export interface Properties {
  readonly values: Map<string, unknown>;
  readonly others: readonly string[];
}

/** `Array.isArray`, except that a revoked proxy is no array instead of an exception. */
export function isList(value: unknown): value is readonly unknown[] {
  try {
    return Array.isArray(value);
  } catch {
    return false; // a revoked proxy: there is nothing that could be read from it
  }
}

/**
 * The own enumerable string properties of `value` that are in `known`, each read once; the values of others are never
 * read. `undefined` where `value` is no object, or is a list. Names such as `__proto__` are ordinary names here.
 */
export function readProperties(value: unknown, known: ReadonlySet<string>): Properties | undefined {
  if (typeof value !== 'object' || value === null || isIndexed(value)) return undefined;
  const names = attempt(() => Object.keys(value));
  if (names === UNREADABLE) return undefined;
  const values = new Map<string, unknown>();
  for (const name of names) {
    if (known.has(name))
      values.set(
        name,
        attempt((): unknown => Reflect.get(value, name)),
      );
  }
  return { values, others: names.filter((name) => !known.has(name)) };
}

/** Objects whose own names are indices: listing the names of a gigabyte of bytes would fill the memory. */
function isIndexed(value: object): boolean {
  return isList(value) || ArrayBuffer.isView(value) || attempt(() => value instanceof String) !== false;
}

/**
 * The items of an array, each read once (holes give `undefined`), and its true length; at most `limit` are read.
 * `undefined` where `value` is no array.
 */
export function readItems(
  value: unknown,
  limit: number,
): { readonly items: readonly unknown[]; readonly length: number } | undefined {
  if (!isList(value)) return undefined;
  const length = attempt(() => value.length);
  if (length === UNREADABLE || !Number.isSafeInteger(length) || length < 0) return undefined;
  const items = Array.from({ length: Math.min(length, limit) }, (_, i) => attempt(() => value[i]));
  return { items, length };
}

function attempt<T>(read: () => T): T | typeof UNREADABLE {
  try {
    return read();
  } catch {
    return UNREADABLE; // becomes an `invalid…` error that says so; what was thrown is as untrusted as the rest
  }
}

/** The most characters of an untrusted string that a message repeats. */
const SHOWN = 60;

/** A value as messages show it: short, one line, well-formed, and without reading any property of it. */
export function show(value: unknown): string {
  switch (typeof value) {
    case 'string':
      // JSON escapes control characters and lone surrogates (also the half that a cut leaves).
      return value.length > SHOWN ? `${JSON.stringify(value.slice(0, SHOWN))}…` : JSON.stringify(value);
    case 'bigint':
      return showDigits(value);
    case 'number':
    case 'boolean':
    case 'undefined':
      return String(value);
    case 'symbol':
      return value === UNREADABLE ? 'a property that throws when it is read' : 'a symbol';
    case 'function':
      return 'a function';
    case 'object':
      return value === null ? 'null' : isList(value) ? 'an array' : 'an object';
  }
}

/** A bigint of 10^6 digits takes seconds to print; nothing above 64 bits is of interest. */
function showDigits(value: bigint): string {
  return BigInt.asIntN(80, value) === value ? String(value) : 'an integer of more than 80 bits';
}
