/**
 * @file Where the parts of rounded matrices lie in the file that keeps them: a safetensors file, whose places all follow from names, shapes and
 * formats before a value is known. Pure.
 *
 * A matrix `W` in few bits has the tensors `W.scales` (float32), `W.codes`, `W.zeros` where there are zero points, and `W.halves`, its scales as
 * float16: in this order, so that what a session is bound to, scales in either type, is one stretch of the file. In float16 it is the tensor `W`.
 */
import { packedSizes, type PackingFormat } from '../../base/packed-matrix.js';
import { matrixOf } from '../packed-weight.js';
import type { WeightFile } from '../weights.js';

/** Raised when the same matrix would get other bytes than before: files of another version are made anew. */
export const CONVERTED_VERSION = 1;

/** What a matrix is rounded to. */
export type RoundedFormat = PackingFormat | 'float16';

/** A matrix that is to be rounded. */
export interface RoundedMatrix {
  /** Internal name, as in {@link WeightFile.find}. */
  readonly name: string;
  readonly format: RoundedFormat;
}

/** From byte `start` (inclusive) to byte `end` (exclusive). */
export interface Stretch {
  readonly start: number;
  readonly end: number;
}

export type PackedParts = Readonly<Record<'scales' | 'codes' | 'zeros' | 'halves', Stretch>>;

interface Placed extends Stretch {
  readonly name: string;
}

/** A matrix in few bits, and where its parts are. */
export interface PlacedCodes extends Placed {
  readonly format: PackingFormat;
  readonly parts: PackedParts;
}

/** A matrix in float16: its values are all of its stretch. */
export interface PlacedHalves extends Placed {
  readonly format: 'float16';
  /** `[out, in]` */
  readonly shape: readonly [number, number];
}

export type PlacedMatrix = PlacedCodes | PlacedHalves;

export interface ConvertedLayout {
  /** The file's first bytes. */
  readonly header: Uint8Array<ArrayBuffer>;
  /** Of the whole file. */
  readonly bytes: number;
  /** In the order of the file. */
  readonly matrices: readonly PlacedMatrix[];
}

/** Gives out room in the file, from its first byte after the header on, and writes down who has it. */
interface Room {
  readonly end: number;
  place(tensor: string, dtype: 'F32' | 'U8' | 'F16', shape: readonly number[], bytes: number): Stretch;
}

/** @param matrices each once @throws missingWeight, invalidModelFile (no matrix) */
export function layOut(file: WeightFile, matrices: readonly RoundedMatrix[]): ConvertedLayout {
  const entries: [string, unknown][] = [
    ['__metadata__', { format: 'MatMulNBits', version: String(CONVERTED_VERSION) }],
  ];
  let end = 0;
  const room: Room = {
    get end() {
      return end;
    },
    place(tensor, dtype, shape, bytes) {
      const stretch = { start: end, end: end + bytes };
      if (bytes > 0) entries.push([tensor, { dtype, shape, data_offsets: [stretch.start, stretch.end] }]);
      end = stretch.end;
      return stretch;
    },
  };
  const placed = matrices.map((matrix) => place(file, matrix, room));
  const header = headerOf(entries);
  return { header, bytes: header.length + end, matrices: placed.map((matrix) => moved(matrix, header.length)) };
}

function place(file: WeightFile, { name, format }: RoundedMatrix, room: Room): PlacedMatrix {
  const { rows, columns } = matrixOf(file, name);
  if (format === 'float16') {
    const shape = [rows, columns] as const;
    return { name, format, shape, ...room.place(name, 'F16', shape, 2 * rows * columns) };
  }
  const { bits, block } = format;
  const sizes = packedSizes(rows, columns, format);
  const blocks = Math.ceil(columns / block);
  const start = room.end;
  const parts = {
    scales: room.place(`${name}.scales`, 'F32', [rows, blocks], 4 * sizes.scales),
    codes: room.place(`${name}.codes`, 'U8', [rows, blocks, (block * bits) / 8], sizes.codes),
    zeros: room.place(`${name}.zeros`, 'U8', [rows, Math.ceil((blocks * bits) / 8)], sizes.zeros),
    halves: room.place(`${name}.halves`, 'F16', [rows, blocks], 2 * sizes.scales),
  };
  return { name, format, start, end: room.end, parts };
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
  const move = ({ start, end }: Stretch): Stretch => ({ start: start + by, end: end + by });
  if (matrix.format === 'float16') return { ...matrix, ...move(matrix) };
  const { scales, codes, zeros, halves } = matrix.parts;
  const parts = { scales: move(scales), codes: move(codes), zeros: move(zeros), halves: move(halves) };
  return { ...matrix, ...move(matrix), parts };
}
