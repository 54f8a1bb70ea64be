/**
 * @file Where the parts of rounded matrices lie in the file that keeps them: a safetensors file, whose places all follow from names, shapes and
 * formats before a value is known. Pure.
 *
 * A matrix `W` has the tensors `W.scales` (float32), `W.codes`, `W.zeros` where there are zero points, and `W.halves`, its scales as float16: in this
 * order, so that what a session is bound to, scales in either type, is one stretch of the file.
 */
import { packedSizes, type PackingFormat } from '../../base/packed-matrix.js';
import { matrixOf } from '../packed-weight.js';
import type { WeightFile } from '../weights.js';

/** Raised when the same matrix would get other bytes than before: files of another version are made anew. */
export const CONVERTED_VERSION = 1;

/** A matrix that is to be rounded. */
export interface RoundedMatrix {
  /** Internal name, as in {@link WeightFile.find}. */
  readonly name: string;
  readonly format: PackingFormat;
}

/** From byte `start` (inclusive) to byte `end` (exclusive). */
export interface Stretch {
  readonly start: number;
  readonly end: number;
}

export type ConvertedPart = 'scales' | 'codes' | 'zeros' | 'halves';

/** A matrix and where its parts are. */
export interface PlacedMatrix extends RoundedMatrix, Stretch {
  readonly parts: Readonly<Record<ConvertedPart, Stretch>>;
}

export interface ConvertedLayout {
  /** The file's first bytes. */
  readonly header: Uint8Array<ArrayBuffer>;
  /** Of the whole file. */
  readonly bytes: number;
  /** In the order of the file. */
  readonly matrices: readonly PlacedMatrix[];
}

interface Entry {
  readonly dtype: 'F32' | 'U8' | 'F16';
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** @param matrices each once @throws missingWeight, invalidModelFile (no matrix) */
export function layOut(file: WeightFile, matrices: readonly RoundedMatrix[]): ConvertedLayout {
  const entries: [string, unknown][] = [
    ['__metadata__', { format: 'MatMulNBits', version: String(CONVERTED_VERSION) }],
  ];
  let end = 0;
  const placed = matrices.map((matrix): PlacedMatrix => {
    const start = end;
    const place = (part: ConvertedPart, dtype: Entry['dtype'], shape: readonly number[], bytes: number): Stretch => {
      const stretch = { start: end, end: end + bytes };
      if (bytes > 0) entries.push([`${matrix.name}.${part}`, { dtype, shape, data_offsets: [end, end + bytes] }]);
      end += bytes;
      return stretch;
    };
    const { rows, columns } = matrixOf(file, matrix.name);
    const { bits, block } = matrix.format;
    const sizes = packedSizes(rows, columns, matrix.format);
    const blocks = Math.ceil(columns / block);
    const parts = {
      scales: place('scales', 'F32', [rows, blocks], 4 * sizes.scales),
      codes: place('codes', 'U8', [rows, blocks, (block * bits) / 8], sizes.codes),
      zeros: place('zeros', 'U8', [rows, Math.ceil((blocks * bits) / 8)], sizes.zeros),
      halves: place('halves', 'F16', [rows, blocks], 2 * sizes.scales),
    };
    return { ...matrix, start, end, parts };
  });
  const header = headerOf(entries);
  return { header, bytes: header.length + end, matrices: placed.map((matrix) => moved(matrix, header.length)) };
}

/** Eight bytes: how long the JSON is; the JSON, with spaces up to a multiple of 8. */
function headerOf(entries: readonly (readonly [string, unknown])[]): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  const length = Math.ceil(json.length / 8) * 8;
  const header = new Uint8Array(8 + length).fill(0x20);
  header.set(json, 8);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  return header;
}

function moved(matrix: PlacedMatrix, by: number): PlacedMatrix {
  const { parts } = matrix;
  const move = ({ start, end }: Stretch): Stretch => ({ start: start + by, end: end + by });
  const { scales, codes, zeros, halves } = parts;
  return {
    ...matrix,
    ...move(matrix),
    parts: { scales: move(scales), codes: move(codes), zeros: move(zeros), halves: move(halves) },
  };
}
