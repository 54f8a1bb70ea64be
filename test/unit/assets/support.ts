/** @file For the tests of `assets/`: a writer of safetensors files, trees over a folder on disk, and what an action throws. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { memorySource } from '../../../src/assets/byte-source.js';
import type { FileTree } from '../../../src/assets/source.js';
import { DarkroomError, type WireError } from '../../../src/base/errors.js';

/** A tensor to write. */
export interface Stored {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** A safetensors file of these tensors, in this order. */
export function safetensors(
  tensors: Readonly<Record<string, Stored>>,
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  let at = 0;
  const entries = Object.entries(tensors).map(([name, { dtype, shape, bytes }]): readonly [string, unknown] => {
    at += bytes.length;
    return [name, { dtype, shape, data_offsets: [at - bytes.length, at] }];
  });
  const all = metadata === undefined ? entries : [['__metadata__', metadata] as const, ...entries];
  return withHeader(JSON.stringify(Object.fromEntries(all)), ...Object.values(tensors).map(({ bytes }) => bytes));
}

/** A file of this header text, followed by these bytes. */
export function withHeader(header: string, ...data: readonly Uint8Array[]): Uint8Array {
  const text = new TextEncoder().encode(header);
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(text.length), true);
  return concat([length, text, ...data]);
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** The little-endian bytes of float32 values. */
export function float32Bytes(values: readonly number[]): Uint8Array {
  return new Uint8Array(Float32Array.from(values).buffer);
}

/** A tree over a folder on disk, given relative to the project's root. */
export function folderTree(folder: string): FileTree {
  const root = fileURLToPath(new URL(`../../../${folder}/`, import.meta.url));
  return {
    name: folder,
    open: (path) => {
      const file = root + path;
      const found = existsSync(file) && statSync(file).isFile();
      return Promise.resolve(found ? memorySource(`${folder}/${path}`, new Uint8Array(readFileSync(file))) : undefined);
    },
  };
}

/** The first problem that `action` reports; fails when it reports none, or throws anything but a `DarkroomError`. */
export async function problemOf(action: () => unknown): Promise<WireError> {
  try {
    await action();
  } catch (error) {
    if (error instanceof DarkroomError) return error.error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** Compares many bytes; `toEqual` takes seconds for a megabyte. */
export function expectBytes(got: Uint8Array, expected: Uint8Array): void {
  const differs = expected.findIndex((byte, i) => got[i] !== byte);
  if (got.length === expected.length && differs < 0) return;
  throw new Error(
    `${got.length} bytes, ${expected.length} were expected; the first that differs is at ${differs} (${got[differs]}, not ${expected[differs]})`,
  );
}
