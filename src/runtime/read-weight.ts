/** @file Weights of a graph, read from the model's files: checked, summed where they are sums, packed where they are, in the graph's type. */
import type { MatrixParts } from '../assets/converted/kept-matrices.js';
import { readPackedWeight } from '../assets/packed-weight.js';
import type { Room } from '../assets/room.js';
import type { OnBytes } from '../assets/source.js';
import type { WeightFile } from '../assets/weights.js';
import { elementCount, type FloatType } from '../base/dtype.js';
import { fail } from '../base/errors.js';
import { float32ToFloat16 } from '../base/half.js';
import type { PackingFormat } from '../base/packed-matrix.js';
import type { Weight } from '../onnx/types.js';
import type { Conversion } from './device-floats.js';
import { toStored, type ArrayType, type Stored, type StoredFloats } from './device-array.js';

export interface ReadOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onBytes?: OnBytes | undefined;
  /**
   * Where a matrix of few bits, or a piece of floats, may be read into: it is then gone when the next one is asked for. Pieces are read one ahead, so
   * that room for them keeps one.
   */
  readonly room?: Room | undefined;
}

/**
 * The values of all `weights`, one after the other; the parts of a packed matrix come together, as it is read once for all of them.
 * @throws as {@link readWeight}
 */
export async function* readWeights<W extends { readonly weight: Weight }>(
  file: WeightFile,
  weights: readonly W[],
  options: ReadOptions,
): AsyncGenerator<readonly [W, Stored]> {
  const packed = new Map<string, W[]>();
  for (const entry of weights) {
    const { weight } = entry;
    const [name = ''] = weight.tensors;
    if (weight.packed === undefined) yield [entry, await readWeight(file, weight, options)];
    else packed.set(name, [...(packed.get(name) ?? []), entry]);
  }
  for (const [name, parts] of packed) {
    const format = parts[0]?.weight.packed?.format;
    if (format === undefined) continue;
    const scales = parts.find(({ weight }) => weight.packed?.part === 'scales')?.weight ?? parts[0]?.weight;
    const matrix = await readMatrix(
      file,
      name,
      format,
      scales?.value.dtype === 'float16' ? 'float16' : 'float32',
      options,
    );
    for (const entry of parts) yield [entry, partOf(file, entry.weight, matrix)];
  }
}

/** As it was kept when it was rounded before; else it is read and rounded now. */
async function readMatrix(
  file: WeightFile,
  name: string,
  format: PackingFormat,
  scalesAs: FloatType,
  options: ReadOptions,
): Promise<MatrixParts> {
  const kept = file.kept?.find(name, format);
  if (kept !== undefined)
    return kept.read(scalesAs, options.signal, options.onBytes, options.room?.of(kept.bytes(scalesAs)));
  const { codes, scales, zeros } = await readPackedWeight(file, name, format, options);
  return { codes, scales: toStored(scales, scalesAs), zeros };
}

/** What one tensor of the graph has of a packed matrix. */
function partOf(file: WeightFile, { name, packed, value }: Weight, matrix: MatrixParts): Stored {
  const part = packed === undefined ? undefined : matrix[packed.part];
  if (part?.length !== elementCount(value.shape)) {
    throw fail(
      'invalidModelFile',
      `${file.name}: "${name}" has ${part?.length ?? 'no'} values, the config asks for [${value.shape.join(', ')}].`,
      { hint: 'The weights do not belong to this config.' },
    );
  }
  return part;
}

/** @throws missingWeight, invalidModelFile (another shape than the graph was written for), aborted */
export async function readWeight(
  file: WeightFile,
  weight: Weight,
  { signal, onBytes }: ReadOptions,
): Promise<StoredFloats> {
  for (const name of weight.tensors) checkShape(file, name, weight);
  const [first, ...rest] = weight.tensors;
  if (first === undefined) throw fail('internalError', `${weight.name}: a weight without tensors.`);
  if (rest.length === 0) return file.read(first, weightType(weight), signal, onBytes);
  const sum = new Float32Array(await file.read(first, 'float32', signal, onBytes));
  for (const name of rest) {
    const more = await file.read(name, 'float32', signal, onBytes);
    for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) + (more[i] ?? 0);
  }
  return weightType(weight) === 'float32' ? sum : float32ToFloat16(sum);
}

/**
 * The values of a weight that is not packed, in pieces, in order: what is held does not grow with the weight. Sums, and files that give no pieces,
 * come at once. @throws as {@link readWeight}
 */
export async function* readPieces(
  file: WeightFile,
  weight: Weight,
  options: ReadOptions,
): AsyncGenerator<StoredFloats> {
  const [name = '', ...rest] = weight.tensors;
  if (rest.length > 0 || file.pieces === undefined) {
    yield await readWeight(file, weight, options);
    return;
  }
  checkShape(file, name, weight);
  yield* file.pieces(name, weightType(weight), options.signal, options.onBytes, options.room);
}

/** Small floats in another coding than the graph's. */
export interface ReadBits {
  readonly conversion: Conversion;
  readonly pieces: AsyncIterable<Uint16Array>;
}

/** Factors from 2^−64 to 2^64: their products with the values of small floats are normal numbers of float32. */
const SCALE_EXPONENT = 64;

/**
 * The values of a weight as the file has them, in pieces, where the device can convert them; `undefined` where they have to be read.
 * @throws as {@link readWeight}
 */
export async function readBits(
  file: WeightFile,
  weight: Weight,
  { signal, onBytes, room }: ReadOptions,
): Promise<ReadBits | undefined> {
  const [name = '', ...rest] = weight.tensors;
  const found = rest.length === 0 ? file.bits?.(name) : undefined;
  const to = weightType(weight);
  if (found === undefined || (found.coding === 'F16' && to === 'float16')) return undefined;
  checkShape(file, name, weight);
  const scale = await found.scale(signal, onBytes);
  if (scale !== undefined && !(Math.abs(Math.log2(Math.abs(scale))) <= SCALE_EXPONENT)) return undefined;
  return { conversion: { from: found.coding, to, scale }, pieces: found.read(signal, onBytes, room) };
}

/** What a weight is kept in on the device. */
export function arrayType(weight: Weight): ArrayType {
  return weight.packed !== undefined && weight.value.dtype === 'uint8' ? 'uint8' : weightType(weight);
}

/** What a weight that is not packed is read as. */
export function weightType(weight: Weight): FloatType {
  const { dtype } = weight.value;
  if (dtype === 'float32' || dtype === 'float16') return dtype;
  throw fail('internalError', `${weight.name}: weights are floats, not ${dtype}.`);
}

/**
 * Whether a file has all weights of a graph, in its shapes, told from the header: what comes last in a run is known to fit before it begins.
 * @throws missingWeight, invalidModelFile (another shape than the graph was written for)
 */
export function checkWeights(file: WeightFile, weights: readonly Weight[]): void {
  for (const weight of weights)
    for (const name of weight.tensors) if (weight.packed === undefined) checkShape(file, name, weight);
}

function checkShape(file: WeightFile, name: string, weight: Weight): void {
  const found = file.find(name);
  if (found === undefined) {
    throw fail('missingWeight', `${file.name} has no weight "${name}" [${weight.value.shape.join(', ')}].`, {
      hint: 'The file does not belong to this config, or it is incomplete.',
    });
  }
  // A 1×1 convolution and a linear layer hold the same bytes: [out, in] and [out, in, 1, 1].
  const [got, wanted] = [squeeze(found.shape), squeeze(weight.value.shape)];
  if (got.join() !== wanted.join()) {
    throw fail(
      'invalidModelFile',
      `${file.name}: "${name}" is [${found.shape.join(', ')}], the config asks for [${weight.value.shape.join(', ')}].`,
      {
        hint: 'The weights do not belong to this config.',
      },
    );
  }
}

/** Drops trailing ones. */
function squeeze(shape: readonly number[]): readonly number[] {
  let end = shape.length;
  while (end > 1 && shape[end - 1] === 1) end--;
  return shape.slice(0, end);
}
