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

/** Arrays that are asked for ahead: about what is read until the device answers. */
const RESERVED = 24;

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

export interface LoaderOptions {
  /** What `load` will be asked for, in this order, without `into`: arrays are made ahead. */
  readonly upcoming?: readonly Weight[];
  /** Whether the device is given runs meanwhile. Default: no. */
  readonly besideRuns?: boolean;
}

export function openFloatLoader(
  arrays: ArrayStore,
  file: WeightFile,
  options: ReadOptions,
  { upcoming = [], besideRuns = false }: LoaderOptions = {},
): FloatLoader {
  const read = { ...options, room: arrays.openConverter && createRoom(1) }; // on a GPU, where arrays are copies
  const converter = arrays.openConverter?.(besideRuns);
  const converted: Weight[] = [];
  const reservations = reserve(arrays, upcoming);
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
          ? arrays.storePieces(pieces, value.shape, type, name, reservations.of(weight))
          : arrays.refillPieces(into.array, pieces);
      }
      if (bits.conversion.to === 'float16') converted.push(weight);
      const pieces = whenFree(bits.pieces, into);
      return into === undefined
        ? converter.store(pieces, bits.conversion, value.shape, name, reservations.of(weight))
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
    dispose() {
      reservations.cancel();
      converter?.dispose();
    },
  };
}

/** Arrays of `weights`, some of them ahead of what is asked for. */
interface Reservations {
  /** Whose it is from now on. */
  of(weight: Weight): Promise<DeviceArray> | undefined;
  /** Frees what nobody asked for. */
  cancel(): void;
}

function reserve(arrays: ArrayStore, weights: readonly Weight[]): Reservations {
  const made = new Map<Weight, Promise<DeviceArray>>();
  const ahead = weights.values();
  const make = (): void => {
    const { value: weight } = ahead.next();
    if (weight === undefined) return;
    const array = arrays.reserve?.(weight.value.shape, weightType(weight), weight.name);
    array?.catch(() => undefined); // told to whoever asks for it
    if (array !== undefined) made.set(weight, array);
  };
  for (let i = 0; i < RESERVED; i++) make();
  return {
    of(weight) {
      const array = made.get(weight);
      made.delete(weight);
      make();
      return array;
    },
    cancel() {
      for (const array of made.values())
        array.then(
          (unused) => unused.dispose(),
          () => undefined,
        );
      made.clear();
    },
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
