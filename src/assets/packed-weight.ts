/** @file A matrix of a model's file in few bits: read, decoded and packed a few rows at a time, so that it is never whole in memory as floats. */
import { fail } from '../base/errors.js';
import { show } from '../base/fields.js';
import { packedSizes, packRows, type PackedRows, type PackingFormat } from '../base/packed-matrix.js';
import { packBlocks, packsExactly } from './gguf-packing.js';
import { readTensorBytes, readTensorRows } from './read-tensor.js';
import type { OnBytes } from './source.js';
import type { WeightTensor } from './weight-tensors.js';
import type { WeightFile } from './weights.js';

export interface ReadPackedOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onBytes?: OnBytes | undefined;
  /** float32 bytes that are held at a time. Default 8 MiB. */
  readonly maxBytes?: number;
}

/** A matrix, and how it is called in messages. */
interface Matrix {
  readonly tensor: WeightTensor;
  readonly where: string;
  readonly rows: number;
  readonly columns: number;
}

/** Whether a tensor is rounded when it is packed, and is not kept code for code. */
export function isRounded({ dtype, transposed }: WeightTensor, format: PackingFormat): boolean {
  return transposed === true || !packsExactly(dtype, format);
}

/**
 * The matrix `name`, `[out, in]`, as `MatMulNBits` takes it; of a file of few bits code for code where that can be (see `gguf-packing.ts`).
 * @throws missingWeight, invalidModelFile (no matrix of finite floats), downloadFailed, aborted
 */
export async function readPackedWeight(
  file: WeightFile,
  name: string,
  format: PackingFormat,
  options: ReadPackedOptions = {},
): Promise<PackedRows> {
  const { rows, columns } = matrixOf(file, name);
  const sizes = packedSizes(rows, columns, format);
  const [codes, scales] = [new Uint8Array(sizes.codes), new Float32Array(sizes.scales)];
  const zeros = format.zeros ? new Uint8Array(sizes.zeros) : undefined;
  let row = 0;
  for await (const part of readPackedPieces(file, name, format, options)) {
    if (part.scales.length === scales.length) return part; // it came whole
    const before = packedSizes(row, columns, format);
    codes.set(part.codes, before.codes);
    scales.set(part.scales, before.scales);
    zeros?.set(part.zeros ?? [], before.zeros);
    row += part.scales.length / Math.ceil(columns / format.block);
  }
  return zeros === undefined ? { codes, scales } : { codes, scales, zeros };
}

/**
 * The same a few rows at a time, in order: what is held does not grow with the matrix. What is kept code for code, and a transposed matrix, come
 * whole. @throws as {@link readPackedWeight}
 */
export async function* readPackedPieces(
  file: WeightFile,
  name: string,
  format: PackingFormat,
  options: ReadPackedOptions = {},
): AsyncGenerator<PackedRows> {
  const { tensor, where, columns } = matrixOf(file, name);
  if (isRounded(tensor, format)) {
    for await (const values of readTensorRows(tensor, { where, ...options })) yield packRows(values, columns, format);
  } else {
    const { signal, onBytes } = options;
    yield packBlocks(await readTensorBytes(tensor, { where, signal, onBytes }), tensor.dtype, columns, format);
  }
}

/** @throws missingWeight, invalidModelFile */
export function matrixOf(file: WeightFile, name: string): Matrix {
  const where = `${file.name}: tensor ${show(name)}`;
  const tensor = file.find(name);
  if (tensor === undefined) throw fail('missingWeight', `${file.name} has no weight ${show(name)}.`);
  const [rows, columns, ...more] = tensor.shape;
  if (rows !== undefined && columns !== undefined && more.length === 0) return { tensor, where, rows, columns };
  throw fail('invalidModelFile', `${where} is [${tensor.shape.join(', ')}]; a matrix was expected.`);
}
