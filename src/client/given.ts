/**
 * @file What a page hands over may be anything: getters and proxies that throw, a gigabyte of bytes in the place of a request. It is read here,
 * so that nothing but a `DarkroomError` comes of it. May import base.
 */
import { DarkroomError, fail } from '../base/errors.js';

/** Reads something of a caller's. @throws `invalidRequest` for whatever `read` throws, if that says nothing better itself */
export async function reading<T>(read: () => T | Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw unreadable(error);
  }
}

function unreadable(error: unknown): DarkroomError {
  if (error instanceof DarkroomError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return fail('invalidRequest', `What was given cannot be read: ${reason}`, { cause: error });
}

/**
 * The fields of a request; those that are present but `undefined` are left out, as JSON would.
 * @throws `invalidRequest` for what is no object, or cannot be read
 */
export function fieldsOf(request: unknown): Readonly<Record<string, unknown>> {
  try {
    checkRequest(request);
    return Object.fromEntries(Object.entries(request).filter(([, value]) => value !== undefined));
  } catch (error) {
    throw unreadable(error);
  }
}

/** Refuses lists and bytes, too: they are objects whose fields are their items, and a hundred million of those fill the memory. @throws `invalidRequest` */
export function checkRequest(value: unknown): asserts value is object {
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value)) return;
  throw fail('invalidRequest', `Expected a request, which is an object, got ${nameOf(value)}.`, { type: 'object' });
}

function nameOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return 'an array';
  return ArrayBuffer.isView(value) ? 'bytes' : `a ${typeof value}`;
}
