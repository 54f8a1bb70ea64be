/** @file A small safetensors reader for the golden files of these tests; independent of the library's own. */
import { readFileSync } from 'node:fs';
import { bfloat16ToFloat32, float16ToFloat32 } from '../../../src/base/half.js';

/** The golden files lie in `test/golden/`, in the layout of the scripts that made them. */
export const golden = (path: string): URL => new URL(`../../golden/${path}`, import.meta.url);

/** Parsed JSON of a golden file; the caller states its type, as these files are part of the test. */
export function goldenJson<T>(path: string): T {
  return JSON.parse(readFileSync(golden(path), 'utf8')) as T;
}

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** A tensor: its raw little-endian bytes and the same values as doubles. */
export interface GoldenTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
  readonly values: Float64Array;
}

function toDoubles(dtype: string, bytes: Uint8Array): Float64Array {
  const buffer = bytes.slice().buffer;
  switch (dtype) {
    case 'F64':
      return new Float64Array(buffer);
    case 'F32':
      return Float64Array.from(new Float32Array(buffer));
    case 'F16':
      return Float64Array.from(float16ToFloat32(new Uint16Array(buffer)));
    case 'U16':
      return Float64Array.from(bfloat16ToFloat32(new Uint16Array(buffer)));
    case 'U32':
      return Float64Array.from(new Uint32Array(buffer));
    case 'I64':
      return Float64Array.from(new BigInt64Array(buffer), Number);
    default:
      throw new Error(`dtype ${dtype} is not read here`);
  }
}

/** Opens a golden safetensors file; the returned function reads one tensor by name (throws when it is absent). */
export function openGolden(path: string): {
  readonly has: (name: string) => boolean;
  readonly read: (name: string) => GoldenTensor;
} {
  const file = readFileSync(golden(path));
  const headerLength = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, 8 + headerLength)) as Record<string, Entry>;
  const parsed = new Map<string, GoldenTensor>();
  return {
    has: (name) => Object.hasOwn(header, name),
    read: (name) => {
      const known = parsed.get(name);
      if (known !== undefined) return known;
      const entry = header[name];
      if (entry === undefined) throw new Error(`${path} has no tensor ${name}`);
      const [begin, end] = entry.data_offsets;
      const bytes = new Uint8Array(file.subarray(8 + headerLength + begin, 8 + headerLength + end));
      const tensor = { dtype: entry.dtype, shape: entry.shape, bytes, values: toDoubles(entry.dtype, bytes) };
      parsed.set(name, tensor);
      return tensor;
    },
  };
}
