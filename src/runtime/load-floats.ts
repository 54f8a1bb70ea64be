/** @file Weights that are floats, from a file into arrays on the device: in pieces, and as the file has them where the device converts them itself. */
import { createRoom } from '../assets/room.js';
import type { WeightFile } from '../assets/weights.js';
import { elementCount } from '../base/dtype.js';
import { fail } from '../base/errors.js';
import type { Weight } from '../onnx/types.js';
import type { ArrayStore, DeviceArray, StoredFloats } from './device-array.js';
import { readBits, readPieces, readWeight, weightType, type ReadOptions } from './read-weight.js';

/** Of fewer, sending the program takes longer than converting them here. */
const CONVERTED_VALUES = 1 << 16;

/** An array that is there already. */
export interface Refill {
  /** Not to be used any more but through what is returned. */
  readonly array: DeviceArray;
  /** Nothing is written before this: the first values are read meanwhile. */
  readonly free: () => Promise<void>;
}

/** For as long as weights are read. */
export interface FloatLoader {
  /** @param into by default a new array @throws missingWeight, invalidModelFile, outOfMemory, aborted */
  load(weight: Weight, into?: Refill): Promise<DeviceArray>;
  /**
   * To be called when all are loaded; waits for the device. Those that it converted may hold values that do not fit into float16: then this throws,
   * and their arrays are of no use.
   * @param reading which one it is, is found by reading
   * @throws invalidModelFile, aborted
   */
  check(reading?: ReadOptions): Promise<void>;
  /** What it needed beside the arrays is freed. */
  dispose(): void;
}

/** @param besideRuns whether the device is given runs meanwhile */
export function openFloatLoader(
  arrays: ArrayStore,
  file: WeightFile,
  options: ReadOptions,
  besideRuns = false,
): FloatLoader {
  const read = { ...options, room: arrays.openConverter && createRoom(1) }; // on a GPU, where arrays are copies
  const converter = arrays.openConverter?.(besideRuns);
  const converted: Weight[] = [];
  return {
    async load(weight, into) {
      const { name, value } = weight;
      const type = weightType(weight);
      const count = elementCount(value.shape);
      const fits = count >= CONVERTED_VALUES && converter?.takes(count, type) === true;
      const bits = fits ? await readBits(file, weight, read) : undefined;
      if (bits === undefined || converter === undefined) {
        const pieces = whenFree(readPieces(file, weight, read), into);
        return into === undefined
          ? arrays.storePieces(pieces, value.shape, type, name)
          : arrays.refillPieces(into.array, pieces);
      }
      if (bits.conversion.to === 'float16') converted.push(weight);
      const pieces = whenFree(bits.pieces, into);
      return into === undefined
        ? converter.store(pieces, bits.conversion, value.shape, name)
        : converter.refill(into.array, pieces, bits.conversion);
    },
    async check(reading = {}) {
      if (converted.length === 0 || (await converter?.overflowed()) !== true) return;
      for (const weight of converted) await readWeight(file, weight, reading);
      throw fail(
        'internalError',
        `${file.name}: a weight does not fit into float16, and none was found that does not.`,
      );
    },
    dispose: () => converter?.dispose(),
  };
}

async function* whenFree<P extends StoredFloats>(
  pieces: AsyncIterable<P>,
  into: Refill | undefined,
): AsyncGenerator<P> {
  for await (const piece of pieces) {
    await into?.free();
    yield piece;
  }
}
