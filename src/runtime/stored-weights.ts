/** @file The weights of one file as they were read: in arrays on the device, or, where sessions hold them as constants, kept for the next session. */
import { createRoom } from '../assets/room.js';
import type { WeightFile } from '../assets/weights.js';
import { fail } from '../base/errors.js';
import type { Weight } from '../onnx/types.js';
import type { ArrayStore, DeviceArray, Pieces, Stored } from './device-array.js';
import { openFloatLoader } from './load-floats.js';
import { arrayType, readPieces, readWeight, readWeights, type ReadOptions } from './read-weight.js';

/** One weight, in one type. */
export interface StoredWeight {
  readonly weight: Weight;
  /** Of a constant. The browser may move it to the disk. */
  blob?: Blob | undefined;
  /** Of an input. */
  base?: DeviceArray | undefined;
  /** `base` with changes; a session reads it instead. */
  changed?: DeviceArray | undefined;
  /** Which changes `changed` has; '' for none. */
  applied: string;
}

/** Reads each weight once. */
export interface StoredWeights {
  of(weight: Weight): StoredWeight;
  all(): readonly StoredWeight[];
  /** Puts them into arrays, those that are in none yet. @throws missingWeight, invalidModelFile, outOfMemory, aborted */
  loadInputs(weights: readonly StoredWeight[], options: ReadOptions): Promise<void>;
  /** Their bytes for a session, in this order. @throws missingWeight, invalidModelFile, aborted */
  loadConstants(weights: readonly StoredWeight[], options: ReadOptions): Promise<readonly (Blob | Uint8Array)[]>;
  /** To be called when a session has read its constants: leaves some of the browser's store of Blobs to others, if it was found full. */
  makeRoom(): void;
  dispose(): void;
}

export function createStoredWeights(arrays: ArrayStore, file: WeightFile): StoredWeights {
  const entries = new Map<string, StoredWeight>();
  /** No more Blobs are kept where there was no room for one: constants are then read from the file for each session. */
  let room: 'enough' | 'exhausted' | 'made' = 'enough';

  const keep = async (stored: StoredWeight, pieces: Pieces): Promise<Blob | Uint8Array> => {
    const kept = await keepPieces(pieces);
    if (kept instanceof Blob) return (stored.blob = kept);
    room = 'exhausted';
    return kept;
  };
  const loadConstant = async (stored: StoredWeight, options: ReadOptions): Promise<Blob | Uint8Array> =>
    room === 'enough'
      ? keep(stored, readPieces(file, stored.weight, options))
      : bytesOf(await readWeight(file, stored.weight, options));

  const loadFloats = async (weights: readonly StoredWeight[], options: ReadOptions): Promise<void> => {
    const loader = openFloatLoader(arrays, file, options, { upcoming: weights.map(({ weight }) => weight) });
    try {
      for (const stored of weights) stored.base = await loader.load(stored.weight);
      await loader.check(options).catch((error: unknown) => {
        for (const stored of weights) drop(stored);
        throw error;
      });
    } finally {
      loader.dispose();
    }
  };

  return {
    of(weight) {
      const key = `${weight.name}:${arrayType(weight)}`;
      const stored = entries.get(key) ?? { weight, applied: '' };
      entries.set(key, stored);
      return stored;
    },
    all: () => [...entries.values()],
    async loadInputs(weights, options) {
      const store = async (stored: StoredWeight, values: Stored): Promise<void> => {
        const { weight } = stored;
        stored.base = await arrays.store(values, weight.value.shape, arrayType(weight), weight.name);
        stored.blob = undefined;
      };
      const absent = weights.filter(({ base }) => base === undefined);
      for (const stored of absent)
        if (stored.blob !== undefined) await store(stored, await valuesOf(stored.weight, stored.blob));
      const unread = absent.filter(({ base }) => base === undefined);
      await loadFloats(
        unread.filter(({ weight }) => weight.packed === undefined),
        options,
      );
      const packed = unread.filter(({ weight }) => weight.packed !== undefined);
      const room = arrays.openConverter && createRoom(); // on a GPU, where arrays are copies
      for await (const [stored, values] of readWeights(file, packed, { ...options, room })) await store(stored, values);
    },
    async loadConstants(weights, options) {
      const loaded = new Map<StoredWeight, Blob | Uint8Array>();
      for (const stored of weights) {
        if (stored.blob !== undefined) loaded.set(stored, stored.blob);
        else if (stored.weight.packed === undefined) loaded.set(stored, await loadConstant(stored, options));
      }
      const packed = weights.filter((stored) => !loaded.has(stored));
      for await (const [stored, values] of readWeights(file, packed, options))
        loaded.set(stored, room === 'enough' ? await keep(stored, [values]) : bytesOf(values));
      return weights.map((stored) => loaded.get(stored) ?? new Uint8Array());
    },
    makeRoom() {
      if (room !== 'exhausted') return;
      const kept = [...entries.values()].filter(({ blob }) => blob !== undefined);
      for (const stored of kept.slice(kept.length >> 1)) stored.blob = undefined;
      room = 'made';
    },
    dispose() {
      for (const stored of entries.values()) drop(stored);
      entries.clear();
    },
  };
}

/** Back to the weight as it was read. */
export function restore(stored: StoredWeight): void {
  stored.changed?.dispose();
  stored.changed = undefined;
  stored.applied = '';
}

/** Frees its arrays. */
export function drop(stored: StoredWeight): void {
  restore(stored);
  stored.base?.dispose();
  stored.base = undefined;
}

/** What a session is fed. @throws disposed */
export function arrayOf({ weight, base, changed }: StoredWeight): DeviceArray {
  const array = changed ?? base;
  if (array === undefined) throw fail('disposed', `The weights of this model were disposed ("${weight.name}").`);
  return array;
}

async function valuesOf(weight: Weight, blob: Blob): Promise<Stored> {
  const bytes = await blob.arrayBuffer();
  const type = arrayType(weight);
  if (type === 'uint8') return new Uint8Array(bytes);
  return type === 'float16' ? new Uint16Array(bytes) : new Float32Array(bytes);
}

function bytesOf({ buffer, byteOffset, byteLength }: Stored): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer, byteOffset, byteLength) as Uint8Array<ArrayBuffer>; // never shared
}

/** The pieces in the browser's store of Blobs, which has taken each before the next is read; as bytes where it has no room for one of them. */
async function keepPieces(pieces: Pieces): Promise<Blob | Uint8Array> {
  const kept: Blob[] = [];
  const rest: Uint8Array<ArrayBuffer>[] = [];
  for await (const piece of pieces) {
    const bytes = bytesOf(piece);
    const part = rest.length > 0 ? undefined : new Blob([bytes]);
    if (part !== undefined && (await isReadable(part))) kept.push(part);
    else rest.push(bytes);
  }
  const [only, ...others] = kept;
  if (rest.length === 0) return only !== undefined && others.length === 0 ? only : new Blob(kept);
  const read = await Promise.all(kept.map(async (part) => new Uint8Array(await part.arrayBuffer())));
  return joined([...read, ...rest]);
}

function joined(parts: readonly Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> {
  const [only, ...others] = parts;
  if (only !== undefined && others.length === 0) return only;
  const out = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/**
 * Whether the browser had room for it; waits until it has taken the bytes. A Blob that fails in the middle of a session's creation
 * breaks all later creations.
 */
function isReadable(blob: Blob): Promise<boolean> {
  const read = blob.slice(0, 1).arrayBuffer();
  return read.then(
    () => true,
    () => false,
  );
}
