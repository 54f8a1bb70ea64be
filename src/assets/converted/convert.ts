/**
 * @file Rounds matrices of a model once, into a file that is kept beside it: a few rows at a time, nothing is held whole. Which file that is, is said by
 * what its bytes depend on, so that another version of the model, other bits or another way to round are another file.
 */
import { throwIfAborted } from '../../base/errors.js';
import { float32ToFloat16 } from '../../base/half.js';
import type { PackedRows } from '../../base/packed-matrix.js';
import type { DerivedFile, DerivedOutput } from '../derived-files.js';
import { createSha256 } from '../download/sha256.js';
import { matrixOf, readPackedPieces } from '../packed-weight.js';
import { readTensorPieces } from '../read-tensor.js';
import type { ByteSource, OnBytes } from '../source.js';
import type { WeightTensor } from '../weight-tensors.js';
import type { WeightFile } from '../weights.js';
import {
  CONVERTED_VERSION,
  type ConvertedLayout,
  type PackedParts,
  type PlacedCodes,
  type PlacedHalves,
  type PlacedMatrix,
} from './layout.js';

export interface ConversionOptions {
  readonly signal?: AbortSignal | undefined;
  /** Told of bytes of the converted file; first of those that an earlier try has left. */
  readonly onBytes?: OnBytes | undefined;
}

/**
 * The file of `layout`, as the store keeps it.
 * @param what of the model it is: the network's name
 * @returns `undefined` where it cannot be told whether the model's files will be the same another day
 */
export async function conversionOf(
  file: WeightFile,
  layout: ConvertedLayout,
  what: string,
  { signal, onBytes }: ConversionOptions = {},
): Promise<DerivedFile | undefined> {
  const key = await keyOf(file, layout, signal);
  if (key === undefined) return undefined;
  const write: DerivedFile['write'] = (output, from) => writeConverted(file, layout, output, from, { signal, onBytes });
  return { what, key, bytes: layout.bytes, write };
}

/** A hash of all that the bytes depend on: those of the model, which of them are read, in which order, and the formats. */
async function keyOf(
  file: WeightFile,
  { header, matrices }: ConvertedLayout,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const known = new Map<ByteSource, string>();
  const placeOf = async (tensor: WeightTensor): Promise<unknown> => {
    const { source, start, end, dtype, transposed, swapped, scale } = tensor;
    const identity = known.get(source) ?? (await source.identity?.(signal));
    if (identity === undefined) return undefined;
    known.set(source, identity);
    const factors = scale && (await placeOf(scale));
    if (scale !== undefined && factors === undefined) return undefined;
    return [identity, start, end, dtype, transposed, swapped, factors];
  };
  const hash = createSha256();
  const add = (value: unknown): void => hash.update(new TextEncoder().encode(`${JSON.stringify(value)}\n`));
  add(['darkroom', CONVERTED_VERSION]);
  hash.update(header);
  for (const { name, format } of matrices) {
    const tensor = file.find(name);
    const place = tensor && (await placeOf(tensor));
    if (place === undefined) return undefined;
    add(format === 'float16' ? [name, format, place] : [name, format.bits, format.block, format.zeros, place]);
  }
  return hash.digest();
}

async function writeConverted(
  file: WeightFile,
  { header, matrices }: ConvertedLayout,
  output: DerivedOutput,
  from: number,
  { signal, onBytes }: ConversionOptions,
): Promise<void> {
  onBytes?.(from);
  if (from < header.length) {
    await output.write(header, 0);
    onBytes?.(header.length);
  }
  for (const matrix of matrices) {
    if (matrix.end <= from) continue;
    throwIfAborted(signal);
    await writeMatrix(file, matrix, output, { signal, onBytes });
    await output.done(matrix.end);
  }
}

/** What is held at a time does not grow with the matrix. */
async function writeMatrix(
  file: WeightFile,
  matrix: PlacedMatrix,
  output: DerivedOutput,
  options: ConversionOptions,
): Promise<void> {
  if (matrix.format === 'float16') await writeHalves(file, matrix, output, options);
  else await writeCodes(file, matrix, output, options);
}

async function writeHalves(
  file: WeightFile,
  { name, start }: PlacedHalves,
  output: DerivedOutput,
  { signal, onBytes }: ConversionOptions,
): Promise<void> {
  const { tensor, where } = matrixOf(file, name);
  let at = start;
  for await (const values of readTensorPieces(tensor, 'float16', { where, signal })) {
    await output.write(raw(values), at);
    at += values.byteLength;
    onBytes?.(values.byteLength);
  }
}

/** Each piece of rows goes to its place in each of the parts. */
async function writeCodes(
  file: WeightFile,
  { name, format, parts }: PlacedCodes,
  output: DerivedOutput,
  { signal, onBytes }: ConversionOptions,
): Promise<void> {
  const at = { scales: 0, codes: 0, zeros: 0, halves: 0 };
  for await (const rows of readPackedPieces(file, name, format, { signal })) {
    for (const [part, bytes] of bytesOf(rows)) {
      await output.write(bytes, parts[part].start + at[part]);
      at[part] += bytes.length;
      onBytes?.(bytes.length);
    }
  }
}

function bytesOf({
  codes,
  scales,
  zeros,
}: PackedRows): readonly (readonly [keyof PackedParts, Uint8Array<ArrayBuffer>])[] {
  return [
    ['scales', raw(scales)],
    ['codes', raw(codes)],
    ...(zeros === undefined ? [] : [['zeros', raw(zeros)] as const]),
    ['halves', raw(float32ToFloat16(scales))],
  ];
}

function raw({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer, byteOffset, byteLength) as Uint8Array<ArrayBuffer>; // never shared
}
