/** @file Matrices that were rounded once, read from the file that keeps them: bytes as sessions are bound to them, nothing is computed. */
import type { FloatType } from '../../base/dtype.js';
import { fail } from '../../base/errors.js';
import type { PackingFormat } from '../../base/packed-matrix.js';
import { decodeFloats } from '../floats.js';
import type { ByteSource, OnBytes } from '../source.js';
import type { WeightTensor } from '../weight-tensors.js';
import type { ConvertedLayout, PlacedCodes, Stretch } from './layout.js';

/** What `MatMulNBits` takes of a matrix; scales as float32, or as float16 bits. */
export interface MatrixParts {
  readonly codes: Uint8Array;
  readonly scales: Float32Array | Uint16Array;
  readonly zeros?: Uint8Array | undefined;
}

/** A matrix that is kept. */
export interface KeptMatrix {
  /** Bytes that are read for scales of this type. */
  bytes(scales: FloatType): number;
  /**
   * @param room as in `ByteSource.read`; from its first byte on
   * @throws storageFailed, invalidModelFile (it was deleted by hand), aborted
   */
  read(
    scales: FloatType,
    signal?: AbortSignal,
    onBytes?: OnBytes,
    room?: Uint8Array<ArrayBuffer>,
  ): Promise<MatrixParts>;
}

export interface KeptMatrices {
  /** In few bits; `undefined` where it is not kept, or in another format. */
  find(name: string, format: PackingFormat): KeptMatrix | undefined;
  /** In float16; `undefined` where it is not kept so. */
  halves(name: string): WeightTensor | undefined;
}

/** @throws storageFailed when the file has another layout, and what reading its header does */
export async function openKeptMatrices(
  source: ByteSource,
  { header, bytes, matrices }: ConvertedLayout,
  signal?: AbortSignal,
): Promise<KeptMatrices> {
  const found = source.size === bytes ? await source.read(0, header.length, signal) : new Uint8Array();
  if (found.length !== header.length || !header.every((byte, i) => byte === found[i])) {
    throw fail('storageFailed', `${source.name} is not what was written there.`, { hint: 'Delete the stored model.' });
  }
  const byName = new Map(matrices.map((matrix) => [matrix.name, matrix]));
  return {
    find(name, format) {
      const matrix = byName.get(name);
      if (matrix === undefined || matrix.format === 'float16') return undefined;
      return isSame(matrix.format, format) ? keptMatrix(source, matrix) : undefined;
    },
    halves(name) {
      const matrix = byName.get(name);
      if (matrix?.format !== 'float16') return undefined;
      const { shape, start, end } = matrix;
      return { dtype: 'F16', shape, start, end, source };
    },
  };
}

function isSame(a: PackingFormat, b: PackingFormat): boolean {
  return a.bits === b.bits && a.block === b.block && a.zeros === b.zeros;
}

function keptMatrix(source: ByteSource, { name, format, parts }: PlacedCodes): KeptMatrix {
  const { codes, zeros } = parts;
  const scalesOf = { float32: parts.scales, float16: parts.halves } as const;
  const all = {
    float32: { start: parts.scales.start, end: zeros.end },
    float16: { start: codes.start, end: parts.halves.end },
  } as const satisfies Record<FloatType, Stretch>;
  return {
    bytes: (scales) => all[scales].end - all[scales].start,
    async read(as, signal, onBytes, room) {
      const { start, end } = all[as];
      const bytes = await source.read(start, end, signal, onBytes, room);
      const cut = (part: Stretch): Uint8Array => bytes.subarray(part.start - start, part.end - start);
      const scales = decodeFloats(cut(scalesOf[as]), as === 'float32' ? 'F32' : 'F16', as, name);
      return { codes: cut(codes), scales, ...(format.zeros ? { zeros: cut(zeros) } : {}) };
    },
  };
}
