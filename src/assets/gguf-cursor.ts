/** @file Reads the values of a GGUF header one after the other, fetching the file in growing pieces; every size is checked before it is used. */
import { fail } from '../base/errors.js';
import type { ByteSource, OnBytes } from './source.js';

/** Each read throws invalidModelFile at the file's end, and at the end of what a header may be. */
export interface GgufCursor {
  position(): number;
  u32(): Promise<number>;
  /** A number beyond 2^53 − 1 is refused: no size is. */
  u64(): Promise<number>;
  /** A string of at most `limit` bytes. */
  text(limit: number): Promise<string>;
  skip(bytes: number): Promise<void>;
  /** A metadata value behind its type, as text; a list is skipped and gives `undefined`. */
  value(): Promise<string | undefined>;
}

/** Longest header in bytes, as of safetensors; those of language models hold vocabularies of some MB. */
const MAX_HEADER_BYTES = 100_000_000;
const FIRST_BYTES = 64 << 10;
const MAX_TEXT_BYTES = 16 << 20;
/** Lists in lists. */
const MAX_DEPTH = 8;

/** A number, or truth value, of metadata. */
interface Scalar {
  readonly bytes: number;
  readonly read: (view: DataView) => number | bigint | boolean;
}

/** `gguf_metadata_value_type`; 8 is a string, 9 a list. */
const SCALARS: ReadonlyMap<number, Scalar> = new Map<number, Scalar>([
  [0, { bytes: 1, read: (view) => view.getUint8(0) }],
  [1, { bytes: 1, read: (view) => view.getInt8(0) }],
  [2, { bytes: 2, read: (view) => view.getUint16(0, true) }],
  [3, { bytes: 2, read: (view) => view.getInt16(0, true) }],
  [4, { bytes: 4, read: (view) => view.getUint32(0, true) }],
  [5, { bytes: 4, read: (view) => view.getInt32(0, true) }],
  [6, { bytes: 4, read: (view) => view.getFloat32(0, true) }],
  [7, { bytes: 1, read: (view) => view.getUint8(0) !== 0 }],
  [10, { bytes: 8, read: (view) => view.getBigUint64(0, true) }],
  [11, { bytes: 8, read: (view) => view.getBigInt64(0, true) }],
  [12, { bytes: 8, read: (view) => view.getFloat64(0, true) }],
]);
const STRING = 8;
const LIST = 9;

/** At the beginning of `source`. */
export function createCursor(source: ByteSource, signal?: AbortSignal, onBytes?: OnBytes): GgufCursor {
  const { name, size } = source;
  let held = new Uint8Array(0);
  let heldAt = 0;
  let at = 0;

  const invalid = (what: string): Error => fail('invalidModelFile', `${name} is not a valid GGUF file: ${what}.`);

  const advance = (bytes: number): number => {
    const end = at + bytes;
    if (end > size) {
      throw fail(
        'invalidModelFile',
        `${name} is cut short: it has ${size} bytes, but its header needs ${end} or more.`,
        {
          hint: 'The download or copy did not finish: get the file again.',
        },
      );
    }
    if (end > MAX_HEADER_BYTES) throw invalid(`its header is longer than ${MAX_HEADER_BYTES} bytes`);
    const start = at;
    at = end;
    return start;
  };

  /** The next bytes, which are passed. */
  const take = async (bytes: number): Promise<DataView> => {
    const start = advance(bytes);
    if (at > heldAt + held.length || start < heldAt) {
      const end = Math.min(size, start + Math.max(bytes, FIRST_BYTES, start)); // as much again as was read
      held = new Uint8Array(await source.read(start, end, signal, onBytes));
      heldAt = start;
    }
    return new DataView(held.buffer, held.byteOffset + start - heldAt, bytes);
  };

  const u32 = async (): Promise<number> => (await take(4)).getUint32(0, true);

  const u64 = async (): Promise<number> => {
    const value = (await take(8)).getBigUint64(0, true);
    if (value <= Number.MAX_SAFE_INTEGER) return Number(value);
    throw invalid(`it has ${value} where a size was expected`);
  };

  const text = async (limit: number): Promise<string> => {
    const length = await u64();
    if (length > limit) throw invalid(`it has a string of ${length} bytes; at most ${limit} are accepted`);
    return new TextDecoder().decode(await take(length));
  };

  const skip = (bytes: number): Promise<void> => {
    advance(bytes);
    return Promise.resolve();
  };

  const skipList = async (depth: number): Promise<void> => {
    if (depth > MAX_DEPTH) throw invalid(`its metadata has more than ${MAX_DEPTH} lists in lists`);
    const type = await u32();
    const length = await u64();
    const scalar = SCALARS.get(type);
    if (scalar !== undefined) return skip(length * scalar.bytes);
    if (type !== STRING && type !== LIST) throw invalid(`its metadata has a list of type ${type}`);
    for (let i = 0; i < length; i++) await (type === STRING ? skip(await u64()) : skipList(depth + 1));
  };

  return {
    position: () => at,
    u32,
    u64,
    text,
    skip,
    value: async () => {
      const type = await u32();
      if (type === STRING) return text(MAX_TEXT_BYTES);
      if (type === LIST) {
        await skipList(1);
        return undefined;
      }
      const scalar = SCALARS.get(type);
      if (scalar === undefined) throw invalid(`its metadata has a value of type ${type}`);
      return String(scalar.read(await take(scalar.bytes)));
    },
  };
}
