/** @file The header of a safetensors file, read as hostile input: names, types, shapes and where each tensor's bytes are. Reads no tensor. */
import { DTYPE_BYTES, type DType } from '../base/dtype.js';
import { fail } from '../base/errors.js';
import { show } from '../base/fields.js';
import { foreignFile, HEAD_BYTES } from './file-kind.js';
import { parseJson } from './json.js';
import type { ByteSource, OnBytes } from './source.js';

/** One tensor: row-major, little-endian, at bytes `start` (inclusive) to `end` (exclusive) of its file. */
export interface TensorInfo {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly start: number;
  readonly end: number;
}

export interface SafetensorsFile {
  readonly name: string;
  /** The header's `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
  /** In the order of the bytes. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
}

/** Longest header, in bytes, that the reference implementation accepts. */
const MAX_HEADER_BYTES = 100_000_000;
const OPEN_BRACE = 0x7b;

/**
 * Reads and checks a file's header; as strict about sizes and places as the reference implementation.
 * Format: github.com/huggingface/safetensors, README, "Format" (8 bytes: header length N; N bytes: JSON; then the tensors, without holes).
 * @throws invalidModelFile, pickleRefused, unsupportedModel (GGUF); the message says what the file is or what is wrong with it
 */
export async function openSafetensors(
  source: ByteSource,
  signal?: AbortSignal,
  onBytes?: OnBytes,
): Promise<SafetensorsFile> {
  const head = await source.read(0, Math.min(source.size, HEAD_BYTES), signal);
  if (head[8] !== OPEN_BRACE) throw foreignFile(source.name, head, 'a safetensors file', 'invalidModelFile');
  const length = new DataView(head.buffer, head.byteOffset).getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES) {
    throw invalid(source.name, `its header claims ${length} bytes; at most ${MAX_HEADER_BYTES} are accepted`);
  }
  const dataStart = 8 + Number(length);
  if (dataStart > source.size) throw cutShort(source.name, source.size, `its header alone ends at byte ${dataStart}`);
  return parseHeader(decodeUtf8(source.name, await source.read(8, dataStart, signal, onBytes)), {
    name: source.name,
    dataStart,
    size: source.size,
  });
}

interface Place {
  readonly name: string;
  /** Where the tensors' bytes begin, and where the file ends. */
  readonly dataStart: number;
  readonly size: number;
}

const HEADER_JSON = { dialect: 'strict', code: 'invalidModelFile', plainIntegers: true } as const;

/** The checked contents of a header. @throws invalidModelFile */
function parseHeader(text: string, place: Place): SafetensorsFile {
  const where = `The header of ${place.name}`;
  const header = new Map(entriesOf(parseJson(text, where, HEADER_JSON), place.name, 'its header'));
  const metadata = header.get('__metadata__');
  header.delete('__metadata__');
  const tensors = [...header].map(([name, entry]) => [name, parseTensor(entry, name, place)] as const);
  tensors.sort(([, a], [, b]) => a.start - b.start || a.end - b.end);
  checkCoverage(tensors, place);
  return { name: place.name, metadata: parseMetadata(metadata, place.name), tensors: new Map(tensors) };
}

function parseMetadata(value: unknown, file: string): ReadonlyMap<string, string> {
  if (value === undefined || value === null) return new Map();
  return new Map(
    entriesOf(value, file, '__metadata__').map(([key, text]) => {
      if (typeof text === 'string') return [key, text];
      throw invalid(file, `__metadata__ ${JSON.stringify(key)} must be a string, got ${show(text)}`);
    }),
  );
}

function parseTensor(entry: unknown, tensor: string, { name, dataStart }: Place): TensorInfo {
  const of = `tensor ${show(tensor)}`;
  const fields = new Map(entriesOf(entry, name, of));
  const dtype = fields.get('dtype');
  if (!isDType(dtype))
    throw invalid(name, `${of} has dtype ${show(dtype)}; known are ${Object.keys(DTYPE_BYTES).join(', ')}`);
  const shape = fields.get('shape');
  if (!isSizes(shape)) throw invalid(name, `${of}: shape must be a list of whole numbers ≥ 0, got ${picture(shape)}`);
  const offsets = fields.get('data_offsets');
  const [begin, end, ...rest] = isSizes(offsets) ? offsets : [];
  if (begin === undefined || end === undefined || rest.length > 0 || begin > end) {
    throw invalid(name, `${of}: data_offsets must be [begin, end] with begin ≤ end, got ${picture(offsets)}`);
  }
  const bytes = byteLength(shape, dtype);
  if (bytes !== end - begin) {
    throw invalid(
      name,
      `${of} of type ${dtype} and shape [${shape.join(', ')}] needs ${bytes} bytes, but its data_offsets span ${end - begin}`,
    );
  }
  return { dtype, shape, start: dataStart + begin, end: dataStart + end };
}

/** Infinity when the number, or one on the way to it, is too large to be exact. */
function byteLength(shape: readonly number[], dtype: DType): number {
  let bytes: number = DTYPE_BYTES[dtype];
  for (const size of shape) {
    bytes *= size;
    if (!Number.isSafeInteger(bytes)) return Infinity;
  }
  return bytes;
}

/** The tensors, sorted by their place, must fill the file from `dataStart` to its end: no overlap, no hole, nothing missing. */
function checkCoverage(tensors: readonly (readonly [string, TensorInfo])[], { name, dataStart, size }: Place): void {
  const last = tensors.reduce((end, [, tensor]) => Math.max(end, tensor.end), dataStart);
  if (last > size) throw cutShort(name, size, `its tensors end at byte ${last}`);
  let next = dataStart;
  for (const [tensor, { start, end }] of tensors) {
    if (start < next)
      throw invalid(name, `tensor ${show(tensor)} overlaps the one before it (byte ${start} < ${next})`);
    if (start > next) throw invalid(name, `there is a hole of ${start - next} bytes before tensor ${show(tensor)}`);
    next = end;
  }
  if (next < size) throw invalid(name, `${size - next} bytes after the last tensor belong to none`);
}

function entriesOf(value: unknown, file: string, what: string): [string, unknown][] {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return Object.entries(value);
  throw invalid(file, `${what} must be a JSON object, got ${show(value)}`);
}

function isDType(value: unknown): value is DType {
  return typeof value === 'string' && Object.hasOwn(DTYPE_BYTES, value);
}

function isSizes(value: unknown): value is readonly number[] {
  return (
    Array.isArray(value) &&
    value.every((size: unknown) => Number.isSafeInteger(size) && Number(size) >= 0 && !Object.is(size, -0))
  );
}

/** A short list in full, else what `show` makes of it. */
function picture(value: unknown): string {
  return Array.isArray(value) && value.length <= 8 ? `[${value.map(show).join(', ')}]` : show(value);
}

function decodeUtf8(name: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw fail('invalidModelFile', `${name}: its header is not UTF-8 text.`, { cause });
  }
}

function invalid(file: string, what: string): Error {
  return fail('invalidModelFile', `${file} is not a valid safetensors file: ${what}.`);
}

function cutShort(file: string, size: number, why: string): Error {
  return fail('invalidModelFile', `${file} is cut short: it has ${size} bytes, but ${why}.`, {
    hint: 'The download or copy did not finish: get the file again.',
  });
}
