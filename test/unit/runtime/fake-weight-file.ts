/** @file A weight file in memory that counts how often each tensor is read. */
import type { WeightFile } from '../../../src/assets/weights.js';
import { memorySource } from '../../../src/assets/byte-source.js';
import type { WeightTensor } from '../../../src/assets/weight-tensors.js';
import { elementCount } from '../../../src/base/dtype.js';
import { fail } from '../../../src/base/errors.js';
import { float32ToFloat16 } from '../../../src/base/half.js';
import type { FloatArrays } from '../../../src/assets/floats.js';

export interface FakeFile {
  readonly file: WeightFile;
  /** Tensor → times read. */
  readonly reads: ReadonlyMap<string, number>;
}

/** @param values made at each read, so that large ones are not held */
export function fakeWeightFile(
  shapes: Readonly<Record<string, readonly number[]>>,
  values: (name: string, count: number) => Float32Array,
): FakeFile {
  const reads = new Map<string, number>();
  const source = memorySource('fake.safetensors', new Uint8Array());
  const find = (name: string): WeightTensor | undefined => {
    const shape = shapes[name];
    return shape === undefined ? undefined : { source, dtype: 'F32', shape, start: 0, end: 4 * elementCount(shape) };
  };
  const get = (name: string): Float32Array => {
    const shape = shapes[name];
    if (shape === undefined) throw fail('missingWeight', `no ${name}`);
    reads.set(name, (reads.get(name) ?? 0) + 1);
    return values(name, elementCount(shape));
  };
  const readers: { readonly [A in keyof FloatArrays]: (name: string) => FloatArrays[A] } = {
    float32: get,
    float16: (name) => float32ToFloat16(get(name)),
  };
  const file: WeightFile = {
    name: 'fake.safetensors',
    tensors: new Map(),
    find,
    read: (name, as, _signal, onBytes) => {
      const out = readers[as](name);
      onBytes?.(out.byteLength);
      return Promise.resolve(out);
    },
    bytes: (name) => Promise.resolve(new Uint8Array(get(name).buffer)),
  };
  return { file, reads };
}

/** Reproducible numbers in −scale…scale. */
export function noise(seed: number, count: number, scale = 1): Float32Array {
  let state = (seed * 2654435761 + 12345) >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return scale * (state / 2 ** 31 - 1);
  });
}

/** A seed of one's own for each name. */
export function seedOf(name: string): number {
  return [...name].reduce((hash, letter) => (Math.imul(hash, 31) + letter.charCodeAt(0)) >>> 0, 7);
}
