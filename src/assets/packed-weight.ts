/** @file A matrix of a model's file in few bits: read, decoded and packed a few rows at a time, so that it is never whole in memory as floats. */
import { fail } from '../base/errors.js';
import { show } from '../base/fields.js';
import { packedSizes, packRows, type PackedRows, type PackingFormat } from '../base/packed-matrix.js';
import { packBlocks, packsExactly } from './gguf-packing.js';
import { readTensorBytes, readTensorRows } from './read-tensor.js';
import type { OnBytes } from './source.js';
import type { WeightFile } from './weights.js';

export interface ReadPackedOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onBytes?: OnBytes | undefined;
  /** float32 bytes that are held at a time. Default 4 MiB. */
  readonly maxBytes?: number;
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
  const where = `${file.name}: tensor ${show(name)}`;
  const tensor = file.find(name);
  if (tensor === undefined) throw fail('missingWeight', `${file.name} has no weight ${show(name)}.`);
  const [rows, columns, ...more] = tensor.shape;
  if (rows === undefined || columns === undefined || more.length > 0) {
    throw fail('invalidModelFile', `${where} is [${tensor.shape.join(', ')}]; a matrix was expected.`);
  }
  if (tensor.transposed === undefined && packsExactly(tensor.dtype, format)) {
    const { signal, onBytes } = options;
    return packBlocks(await readTensorBytes(tensor, { where, signal, onBytes }), tensor.dtype, columns, format);
  }
  const sizes = packedSizes(rows, columns, format);
  const [codes, scales] = [new Uint8Array(sizes.codes), new Float32Array(sizes.scales)];
  const zeros = format.zeros ? new Uint8Array(sizes.zeros) : undefined;
  let row = 0;
  for await (const values of readTensorRows(tensor, { where, ...options })) {
    const part = packRows(values, columns, format);
    const before = packedSizes(row, columns, format);
    codes.set(part.codes, before.codes);
    scales.set(part.scales, before.scales);
    zeros?.set(part.zeros ?? [], before.zeros);
    row += columns === 0 ? 0 : values.length / columns;
  }
  return zeros === undefined ? { codes, scales } : { codes, scales, zeros };
}
