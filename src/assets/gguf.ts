/**
 * @file The header of a GGUF file, read as hostile input: names, types, shapes and where each tensor's bytes are. Reads no tensor.
 * Format: the gguf page of github.com/ggml-org/ggml, versions 2 and 3, little-endian.
 */
import { fail } from '../base/errors.js';
import { show } from '../base/fields.js';
import { isBlockType } from '../base/gguf-blocks.js';
import { foreignFile, HEAD_BYTES } from './file-kind.js';
import { storedBytes, type StoredType } from './floats.js';
import { createCursor, type GgufCursor } from './gguf-cursor.js';
import type { ByteSource, OnBytes } from './source.js';

/** One tensor: row-major, at bytes `start` (inclusive) to `end` (exclusive) of its file. */
export interface GgufTensor {
  readonly dtype: StoredType;
  /** The slowest dimension first, as in safetensors; the file has it last. */
  readonly shape: readonly number[];
  readonly start: number;
  readonly end: number;
}

export interface GgufFile {
  readonly name: string;
  /** Numbers, truth values and strings of the header, as text; lists are left out. */
  readonly metadata: ReadonlyMap<string, string>;
  /** In the order of the bytes. */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

/** More of either than any file has. */
const MAX_ENTRIES = 1 << 20;
/** What ggml allows. */
const MAX_DIMENSIONS = 4;
const MAX_NAME_BYTES = 65_535;
const DEFAULT_ALIGNMENT = 32;
const ALIGNMENT = 'general.alignment';

/**
 * Reads and checks a file's header.
 * @throws invalidModelFile, pickleRefused, unsupportedModel (another version or byte order, a kind of block that is not known)
 */
export async function openGguf(source: ByteSource, signal?: AbortSignal, onBytes?: OnBytes): Promise<GgufFile> {
  const { name, size } = source;
  const head = await source.read(0, Math.min(size, HEAD_BYTES), signal);
  if (!isGguf(head)) throw foreignFile(name, head, 'a GGUF file', 'invalidModelFile');
  const cursor = createCursor(source, signal, onBytes);
  await cursor.skip(4);
  checkVersion(name, await cursor.u32());
  const tensorCount = await count(cursor, name, 'tensors');
  const entryCount = await count(cursor, name, 'metadata entries');
  const metadata = await readMetadata(cursor, name, entryCount);
  const infos: TensorEntry[] = [];
  for (let i = 0; i < tensorCount; i++) infos.push(await readTensorEntry(cursor, name));
  const alignment = alignmentOf(name, metadata);
  const dataStart = Math.ceil(cursor.position() / alignment) * alignment;
  const tensors = infos.map((info) => [info.name, place(info, { name, size, dataStart, alignment })] as const);
  tensors.sort(([, a], [, b]) => a.start - b.start || a.end - b.end);
  checkOverlap(name, tensors);
  const byName = new Map(tensors);
  if (byName.size < tensors.length) throw invalid(name, 'two of its tensors have the same name');
  return { name, metadata, tensors: byName };
}

/** Whether a file with these first bytes is opened as GGUF. */
export function isGguf([g0, g1, u, f]: Uint8Array): boolean {
  return g0 === 0x47 && g1 === 0x47 && u === 0x55 && f === 0x46;
}

function checkVersion(name: string, version: number): void {
  if (version === 2 || version === 3) return;
  const what = version === 0x02000000 || version === 0x03000000 ? 'big-endian' : `of version ${version}`;
  throw fail('unsupportedModel', `${name} is a GGUF file ${what}; versions 2 and 3, little-endian, can be read.`, {
    hint: 'Convert the model again with current tools.',
  });
}

async function count(cursor: GgufCursor, name: string, what: string): Promise<number> {
  const value = await cursor.u64();
  if (value <= MAX_ENTRIES) return value;
  throw invalid(name, `its header claims ${value} ${what}; at most ${MAX_ENTRIES} are accepted`);
}

async function readMetadata(cursor: GgufCursor, name: string, entries: number): Promise<ReadonlyMap<string, string>> {
  const metadata = new Map<string, string>();
  const seen = new Set<string>();
  for (let i = 0; i < entries; i++) {
    const key = await cursor.text(MAX_NAME_BYTES);
    if (seen.has(key)) throw invalid(name, `the metadata key ${show(key)} occurs twice`);
    seen.add(key);
    const value = await cursor.value();
    if (value !== undefined) metadata.set(key, value);
  }
  return metadata;
}

function alignmentOf(name: string, metadata: ReadonlyMap<string, string>): number {
  const text = metadata.get(ALIGNMENT);
  const alignment = text === undefined ? DEFAULT_ALIGNMENT : Number(text);
  if (Number.isInteger(Math.log2(alignment)) && alignment >= 1 && alignment <= 1 << 20) return alignment;
  throw invalid(name, `${ALIGNMENT} must be a power of two up to 2^20, got ${show(text)}`);
}

interface TensorEntry {
  readonly name: string;
  /** The fastest dimension first. */
  readonly sizes: readonly number[];
  readonly type: number;
  /** From the beginning of the data. */
  readonly offset: number;
}

async function readTensorEntry(cursor: GgufCursor, file: string): Promise<TensorEntry> {
  const name = await cursor.text(MAX_NAME_BYTES);
  const dimensions = await cursor.u32();
  if (dimensions > MAX_DIMENSIONS) {
    throw invalid(file, `tensor ${show(name)} has ${dimensions} dimensions; at most ${MAX_DIMENSIONS} are known`);
  }
  const sizes: number[] = [];
  for (let i = 0; i < dimensions; i++) sizes.push(await cursor.u64());
  return { name, sizes, type: await cursor.u32(), offset: await cursor.u64() };
}

interface Place {
  readonly name: string;
  readonly size: number;
  readonly dataStart: number;
  readonly alignment: number;
}

function place({ name, sizes, type, offset }: TensorEntry, file: Place): GgufTensor {
  const of = `tensor ${show(name)}`;
  const dtype = TYPES.get(type);
  if (dtype === undefined) {
    const known = [...TYPES.values()].join(', ');
    throw fail('unsupportedModel', `${file.name}: ${of} is of GGUF type ${type}; known are ${known}.`, {
      hint: 'Use another quantisation of this model, such as Q4_K or Q8_0.',
    });
  }
  const bytes = bytesOf(sizes, dtype);
  if (!Number.isFinite(bytes)) {
    throw invalid(
      file.name,
      `${of} of type ${dtype} has ${sizes.join('×')} values: not whole blocks in a row, or too many`,
    );
  }
  if (offset % file.alignment !== 0) {
    throw invalid(file.name, `${of} begins at byte ${offset} of the data, which is no multiple of ${file.alignment}`);
  }
  const start = file.dataStart + offset;
  if (start + bytes > file.size) {
    throw fail(
      'invalidModelFile',
      `${file.name} is cut short: it has ${file.size} bytes, but ${of} ends at byte ${start + bytes}.`,
      { hint: 'The download or copy did not finish: get the file again.' },
    );
  }
  return { dtype, shape: sizes.toReversed(), start, end: start + bytes };
}

/** Infinity when rows are not whole blocks, or the number is too large to be exact. */
function bytesOf([columns = 1, ...more]: readonly number[], dtype: StoredType): number {
  let bytes = storedBytes(columns, dtype);
  if (isBlockType(dtype) && columns === 0) return Infinity;
  for (const size of more) {
    bytes *= size;
    if (!Number.isSafeInteger(bytes)) return Infinity;
  }
  return bytes;
}

function checkOverlap(name: string, tensors: readonly (readonly [string, GgufTensor])[]): void {
  let end = 0;
  for (const [tensor, { start, end: own }] of tensors) {
    if (start < end) throw invalid(name, `tensor ${show(tensor)} overlaps the one before it (byte ${start} < ${end})`);
    end = own;
  }
}

/** `ggml_type`: github.com/ggml-org/llama.cpp, ggml/include/ggml.h. */
const TYPES: ReadonlyMap<number, StoredType> = new Map<number, StoredType>([
  [0, 'F32'],
  [1, 'F16'],
  [2, 'Q4_0'],
  [3, 'Q4_1'],
  [6, 'Q5_0'],
  [7, 'Q5_1'],
  [8, 'Q8_0'],
  [10, 'Q2_K'],
  [11, 'Q3_K'],
  [12, 'Q4_K'],
  [13, 'Q5_K'],
  [14, 'Q6_K'],
  [20, 'IQ4_NL'],
  [23, 'IQ4_XS'],
  [24, 'I8'],
  [25, 'I16'],
  [26, 'I32'],
  [27, 'I64'],
  [28, 'F64'],
  [30, 'BF16'],
]);

function invalid(file: string, what: string): Error {
  return fail('invalidModelFile', `${file} is not a valid GGUF file: ${what}.`);
}
