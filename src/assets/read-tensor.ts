/** @file The values of one tensor, all at once or a few rows at a time: decoded, scaled, in the order and orientation that are wanted. */
import { elementCount, type FloatType } from '../base/dtype.js';
import { fail } from '../base/errors.js';
import { isBlockType } from '../base/gguf-blocks.js';
import { decodeFloats, storedBytes, toHalves, type FloatArrays } from './floats.js';
import type { Room } from './room.js';
import type { OnBytes } from './source.js';
import { cutRows, transposeBytes, type WeightTensor } from './weight-tensors.js';

export interface ReadTensorOptions {
  /** For messages. */
  readonly where: string;
  readonly signal?: AbortSignal | undefined;
  readonly onBytes?: OnBytes | undefined;
}

/** The values in row-major order of `tensor.shape`. @throws invalidModelFile (not floats; too large for float16), downloadFailed, aborted */
export async function readTensor<A extends FloatType>(
  tensor: WeightTensor,
  as: A,
  options: ReadTensorOptions,
): Promise<FloatArrays[A]> {
  const { swapped, transposed, shape } = tensor;
  const values = await readStored(tensor, as, options);
  if (swapped === undefined && transposed === undefined) return values;
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const turned = transposed === true ? transposeBytes(bytes, shape, values.BYTES_PER_ELEMENT) : swapHalves(bytes);
  return decodeFloats(turned, NATIVE[as], as, options.where);
}

const NATIVE = { float32: 'F32', float16: 'F16' } as const;

/** In the order of the file. */
async function readStored<A extends FloatType>(
  { source, start, end, dtype, scale }: WeightTensor,
  as: A,
  { where, signal, onBytes }: ReadTensorOptions,
  room?: Room,
): Promise<FloatArrays[A]> {
  const bytes = await source.read(start, end, signal, onBytes, room?.of(end - start));
  if (scale === undefined) return decodeFloats(bytes, dtype, as, where);
  const factors = await readTensor(scale, 'float32', { where: `${where}: scale`, signal, onBytes });
  return FROM_FLOAT32[as](scaled(decodeFloats(bytes, dtype, 'float32', where), factors), where);
}

const FROM_FLOAT32: { readonly [A in FloatType]: (values: Float32Array, where: string) => FloatArrays[A] } = {
  float32: (values) => values,
  float16: toHalves,
};

/** Each row times its factor, or all times the only one. */
function scaled(values: Float32Array, factors: Float32Array): Float32Array {
  const out = new Float32Array(values.length);
  const each = values.length / factors.length;
  factors.forEach((factor, row) => {
    for (let i = row * each; i < (row + 1) * each; i++) out[i] = (values[i] ?? 0) * factor;
  });
  return out;
}

function swapHalves(bytes: Uint8Array): Uint8Array {
  const half = bytes.length / 2;
  const out = new Uint8Array(bytes.length);
  out.set(bytes.subarray(half));
  out.set(bytes.subarray(0, half), half);
  return out;
}

/** The bytes in row-major order of `tensor.shape`, of type `tensor.dtype`; a scale is not applied. @throws invalidModelFile for a transpose of blocks */
export async function readTensorBytes(
  { source, start, end, shape, dtype, transposed, swapped }: WeightTensor,
  { where, signal, onBytes }: ReadTensorOptions,
): Promise<Uint8Array> {
  const stored = await source.read(start, end, signal, onBytes);
  if (swapped === true) return swapHalves(stored);
  if (transposed === undefined) return stored;
  if (!isBlockType(dtype)) return transposeBytes(stored, shape, storedBytes(1, dtype));
  throw fail('invalidModelFile', `${where} is kept in blocks of type ${dtype}, which cannot be transposed.`);
}

/** Bytes of the values that are decoded at a time: enough that a read costs little beside its bytes. */
const PIECE_BYTES = 8 << 20;

export type ReadPiecesOptions = ReadTensorOptions & {
  readonly maxBytes?: number;
  /** Where pieces may be read into: each is then gone when the next but one is read, which is when the next is asked for. Keeps one. */
  readonly room?: Room | undefined;
};

/**
 * The values of a tensor in type `as`, some at a time, in order; the last piece may be smaller. What is held is two pieces of `maxBytes` and what
 * they are decoded from (the next one is read while the caller works). Where values belong together (blocks, rows with a factor of their
 * own, halves that are swapped) no row is cut, and a transposed matrix comes in one piece.
 * @throws invalidModelFile (not floats; too large for float16), downloadFailed, aborted
 */
export function readTensorPieces<A extends FloatType>(
  tensor: WeightTensor,
  as: A,
  options: ReadPiecesOptions,
): AsyncGenerator<FloatArrays[A]> {
  const { scale, swapped, transposed, dtype, shape } = tensor;
  const plain = scale === undefined && swapped === undefined && transposed === undefined && !isBlockType(dtype);
  return readRows(plain ? { ...tensor, shape: [elementCount(shape)] } : tensor, as, options);
}

/** The rows of a tensor as float32, some at a time; otherwise as {@link readTensorPieces}. */
export function readTensorRows(tensor: WeightTensor, options: ReadPiecesOptions): AsyncGenerator<Float32Array> {
  return readRows(tensor, 'float32', options);
}

async function* readRows<A extends FloatType>(
  tensor: WeightTensor,
  as: A,
  { maxBytes = PIECE_BYTES, room, ...options }: ReadPiecesOptions,
): AsyncGenerator<FloatArrays[A]> {
  const [rows = 1, ...row] = tensor.shape;
  if (tensor.transposed === true || tensor.shape.length === 0) {
    yield await readTensor(tensor, as, options);
    return;
  }
  const step = Math.max(1, Math.floor(maxBytes / (VALUE_BYTES[as] * Math.max(1, elementCount(row)))));
  const cuts = runs(rows, tensor.swapped === true).flatMap(([from, to]) => stepsOf(from, to, step));
  const read = (at: number): Promise<FloatArrays[A]> | undefined => {
    const cut = cuts[at];
    return cut && readStored(cutRows(tensor, ...cut, options.where), as, options, room);
  };
  let next = read(0);
  for (let at = 1; next !== undefined; at++) {
    const piece = await next;
    next = read(at);
    next?.catch(() => undefined); // it is thrown when it is waited for, if the caller goes on
    yield piece;
  }
}

/** `from`…`to − 1` in steps. */
function stepsOf(from: number, to: number, step: number): readonly (readonly [from: number, to: number])[] {
  return Array.from({ length: Math.ceil((to - from) / step) }, (_, i) => [
    from + i * step,
    Math.min(to, from + (i + 1) * step),
  ]);
}

const VALUE_BYTES = { float32: 4, float16: 2 } as const satisfies Record<FloatType, number>;

/** Rows of the file in the order that is wanted. */
function runs(rows: number, swapped: boolean): readonly (readonly [from: number, to: number])[] {
  return swapped
    ? [
        [rows / 2, rows],
        [0, rows / 2],
      ]
    : [[0, rows]];
}
