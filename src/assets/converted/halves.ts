/**
 * @file A file's weights, some of which are rounded to float16: read from where they are kept, if they are, else rounded while they are read, to the same
 * values.
 */
import { sameShape, type WeightLayout } from '../../models/layouts/layout.js';
import type { FloatType } from '../../base/dtype.js';
import { decodeFloats, type FloatArrays } from '../floats.js';
import type { Room } from '../room.js';
import type { OnBytes } from '../source.js';
import { viewWeights, type WeightFile } from '../weights.js';
import type { KeptMatrices } from './kept-matrices.js';

const PLAIN: WeightLayout = { places: (internal) => [{ name: internal }], shape: sameShape };

/**
 * @param given as the model has them
 * @param isRounded names those that are rounded, as in {@link WeightFile.find}
 * @param kept those that are kept by now
 */
export function withHalves(
  given: WeightFile,
  isRounded: (name: string) => boolean,
  kept: () => KeptMatrices | undefined,
): WeightFile {
  /** The file that has the weight, in it under the same name. */
  const fileOf = (name: string): WeightFile => {
    const tensor = kept()?.halves(name);
    return tensor === undefined ? given : viewWeights(given.name, new Map([[name, tensor]]), PLAIN);
  };
  /** Whether what is read has to be rounded. */
  const isExact = (name: string, file: WeightFile): boolean => file === given && isRounded(name);
  async function* pieces<A extends FloatType>(
    name: string,
    as: A,
    signal?: AbortSignal,
    onBytes?: OnBytes,
    room?: Room,
  ): AsyncGenerator<FloatArrays[A]> {
    const file = fileOf(name);
    if (!isExact(name, file)) yield* file.pieces?.(name, as, signal, onBytes, room) ?? [];
    else
      for await (const halves of given.pieces?.(name, 'float16', signal, onBytes, room) ?? [])
        yield decodeHalves(halves, as, name);
  }
  return {
    ...given,
    get kept() {
      return kept();
    },
    find: (name) => fileOf(name).find(name),
    bytes: (name, ...options) => fileOf(name).bytes(name, ...options),
    bits: (name) => fileOf(name).bits?.(name),
    async read(name, as, signal, onBytes) {
      const file = fileOf(name);
      if (!isExact(name, file)) return file.read(name, as, signal, onBytes);
      return decodeHalves(await given.read(name, 'float16', signal, onBytes), as, name);
    },
    ...(given.pieces === undefined ? {} : { pieces }),
  };
}

function decodeHalves<A extends FloatType>(halves: Uint16Array, as: A, name: string): FloatArrays[A] {
  return decodeFloats(new Uint8Array(halves.buffer, halves.byteOffset, halves.byteLength), 'F16', as, name);
}
