/**
 * @file Matrices of 4 or 8 bits in the layout of ONNX Runtime's `MatMulNBits`, made by the rule of its own block quantiser, and back to floats.
 * Operator: ContribOperators of github.com/microsoft/onnxruntime. Rows are independent, so a matrix can be packed a few rows at a time.
 */
import { fail } from './errors.js';

/** In each row every `block` columns share a scale and, with `zeros`, a zero point; value = (code − zero)·scale. Without: zero is 2^(bits − 1). */
export interface PackingFormat {
  readonly bits: 4 | 8;
  /** A power of two ≥ 16. */
  readonly block: number;
  readonly zeros: boolean;
}

/** Some rows of a matrix; B = ⌈columns/block⌉ blocks a row. The parts of more rows are those of some followed by those of the rest. */
export interface PackedRows {
  /** `[rows, B, block·bits/8]`; of 4 bits the even column low; 0 where the row has ended. */
  readonly codes: Uint8Array;
  /** `[rows, B]`; may be negative where there are no zero points. */
  readonly scales: Float32Array;
  /** `[rows, ⌈B·bits/8⌉]`; of 4 bits the even block low. Absent without zero points. */
  readonly zeros?: Uint8Array;
}

/** Lengths of the parts of `rows` rows. */
export function packedSizes(
  rows: number,
  columns: number,
  { bits, block, zeros }: PackingFormat,
): { readonly codes: number; readonly scales: number; readonly zeros: number } {
  const blocks = Math.ceil(columns / block);
  return {
    codes: (rows * blocks * block * bits) / 8,
    scales: rows * blocks,
    zeros: zeros ? rows * Math.ceil((blocks * bits) / 8) : 0,
  };
}

/**
 * Packs whole rows: the bytes are those of `quantize_matmul_4bits` and `…_8bits` of onnxruntime.
 * @param values `[rows, columns]`
 * @throws invalidModelFile when a value is not finite
 */
export function packRows(values: Float32Array, columns: number, format: PackingFormat): PackedRows {
  const { bits, block } = format;
  const rows = columns === 0 ? 0 : values.length / columns;
  const sizes = packedSizes(rows, columns, format);
  const codes = new Uint8Array(sizes.codes);
  const scales = new Float32Array(sizes.scales);
  const zeros = new Uint8Array(sizes.zeros);
  const blocks = Math.ceil(columns / block);
  const [top, middle] = [2 ** bits - 1, 2 ** (bits - 1)];
  const words = new Int32Array(values.buffer, values.byteOffset, values.length);
  const found = new Int32Array(2);
  const extremes = new Float32Array(found.buffer);
  const putCodes = bits === 8 ? putBytes : putNibbles;
  for (let row = 0; row < rows; row++) {
    for (let b = 0; b < blocks; b++) {
      const first = row * columns + b * block;
      const end = Math.min(first + block, (row + 1) * columns);
      findExtremes(words, first, end, found);
      const [above = 0, below = 0] = extremes;
      const [low, high] = [-below, above];
      if (!Number.isFinite(high - low)) throw notFinite();
      const scale = format.zeros ? spanningScale(low, high, top) : symmetricScale(low, high, middle);
      const zero = format.zeros ? zeroPoint(low, scale, top) : middle;
      scales[row * blocks + b] = scale;
      if (format.zeros) put(zeros, (row * sizes.zeros) / rows, b, zero, bits);
      putCodes(codes, ((row * blocks + b) * block * bits) / 8, values, first, end, inverseOf(scale), zero);
    }
  }
  return format.zeros ? { codes, scales, zeros } : { codes, scales };
}

// Plain numbers as arguments, no objects, and no branch that depends on a value, since processors guess those wrong: a model has 12 billion values. Floats of
// one sign are ordered as their bits are; and `x & (x >> 31)` is x where it is negative, else 0.

/** The bits of the largest value and of the smallest one's magnitude, of `words` and 0, into `found`; those of a NaN where there is one. */
function findExtremes(words: Int32Array, first: number, end: number, found: Int32Array): void {
  let [above, below] = [0, 0];
  for (let i = first; i < end; i++) {
    const word = words[i] ?? 0;
    const magnitude = word & 0x7fffffff;
    const negative = magnitude & (word >> 31);
    const toAbove = above - (magnitude - negative);
    const toBelow = below - negative;
    above -= toAbove & (toAbove >> 31);
    below -= toBelow & (toBelow >> 31);
  }
  found[0] = above;
  found[1] = below;
}

function putBytes(
  codes: Uint8Array,
  at: number,
  values: Float32Array,
  first: number,
  end: number,
  inverse: number,
  zero: number,
): void {
  for (let i = first; i < end; i++) {
    const code = steps(values[i] ?? 0, inverse, zero);
    codes[at + i - first] = code - (code >> 8);
  }
}

function putNibbles(
  codes: Uint8Array,
  at: number,
  values: Float32Array,
  first: number,
  end: number,
  inverse: number,
  zero: number,
): void {
  for (let i = first; i < end; i += 2) {
    const even = steps(values[i] ?? 0, inverse, zero);
    const odd = i + 1 < end ? steps(values[i + 1] ?? 0, inverse, zero) : 0;
    codes[at + ((i - first) >> 1)] = (even - (even >> 4)) | ((odd - (odd >> 4)) << 4);
  }
}

/** round(value/scale + zero), from 0 to 2^bits, of which the last becomes 2^bits − 1. */
function steps(value: number, inverse: number, zero: number): number {
  return (Math.fround(Math.fround(value * inverse) + zero) + 0.5) | 0;
}

/** The values that the operator multiplies with, `[rows, columns]`. */
export function unpackRows({ codes, scales, zeros }: PackedRows, columns: number, format: PackingFormat): Float32Array {
  const { bits, block } = format;
  const blocks = Math.ceil(columns / block);
  const rows = blocks === 0 ? 0 : scales.length / blocks;
  const out = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let b = 0; b < blocks; b++) {
      const scale = scales[row * blocks + b] ?? 0;
      const zero = zeros === undefined ? 2 ** (bits - 1) : get(zeros, (row * zeros.length) / rows, b, bits);
      const at = ((row * blocks + b) * block * bits) / 8;
      const [first, end] = [b * block, Math.min(columns, (b + 1) * block)];
      for (let i = first; i < end; i++) out[row * columns + i] = (get(codes, at, i - first, bits) - zero) * scale;
    }
  }
  return out;
}

/** How far `approximate` is from `exact`: root of the mean square relative to that of `exact`, and the largest difference. */
export function approximationError(
  exact: Float32Array,
  approximate: Float32Array,
): { readonly relative: number; readonly max: number } {
  let [square, norm, max] = [0, 0, 0];
  for (let i = 0; i < exact.length; i++) {
    const value = exact[i] ?? 0;
    const off = Math.abs((approximate[i] ?? 0) - value);
    square += off * off;
    norm += value * value;
    max = Math.max(max, off);
  }
  return { relative: norm === 0 ? Math.sqrt(square) : Math.sqrt(square / norm), max };
}

/** 0 for scales too small to have one: all codes are then that of zero. */
function inverseOf(scale: number): number {
  const inverse = Math.fround(1 / scale);
  return Number.isFinite(inverse) ? inverse : 0;
}

/** The value of largest magnitude becomes code 0, so that the scale has the other sign; of two such values the negative one. */
function symmetricScale(low: number, high: number, middle: number): number {
  return Math.fround((high > -low ? high : low) / -middle) + 0; // no −0
}

/** From the lowest value to the highest. */
function spanningScale(low: number, high: number, top: number): number {
  return Math.fround(Math.fround(high - low) / top);
}

function zeroPoint(low: number, scale: number, top: number): number {
  if (scale === 0) return 0;
  const zero = Math.floor(Math.fround(Math.fround(-low / scale) + 0.5));
  return Math.min(top, Math.max(0, zero));
}

function notFinite(): Error {
  return fail('invalidModelFile', 'A matrix holds values that are not finite; they cannot be kept in few bits.');
}

function put(bytes: Uint8Array, start: number, index: number, code: number, bits: 4 | 8): void {
  if (bits === 8) bytes[start + index] = code;
  else {
    const at = start + (index >> 1);
    bytes[at] = (bytes[at] ?? 0) | (code << (4 * (index & 1)));
  }
}

function get(bytes: Uint8Array, start: number, index: number, bits: 4 | 8): number {
  if (bits === 8) return bytes[start + index] ?? 0;
  return ((bytes[start + (index >> 1)] ?? 0) >> (4 * (index & 1))) & 0xf;
}
