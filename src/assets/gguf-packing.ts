/**
 * @file GGUF's formats of whole numbers around zero → the layout of `MatMulNBits`, code for code: nothing is rounded. Value = scale·(code − middle)
 * in both; only where the bits lie differs. Formats: github.com/ggml-org/llama.cpp, ggml/src/ggml-common.h (MIT).
 */
import { float16Value } from '../base/half.js';
import type { PackedRows, PackingFormat } from '../base/packed-matrix.js';
import type { StoredType } from './floats.js';

/** Values of a block, which share a scale. */
const BLOCK = 32;

interface Codes {
  /** Bytes of a block: the scale as float16, then the codes. */
  readonly bytes: number;
  readonly bits: number;
  /** Value `i` of the block at byte `at`, in scales. */
  readonly value: (data: Uint8Array, at: number, i: number) => number;
}

/** Byte i holds value i in its low half and value i + 16 in its high one. */
const nibble = (data: Uint8Array, at: number, i: number): number =>
  ((data[at + (i & 15)] ?? 0) >> (i < 16 ? 0 : 4)) & 0xf;

const FORMATS: { readonly [T in StoredType]?: Codes } = {
  Q4_0: { bytes: 18, bits: 4, value: (data, at, i) => nibble(data, at + 2, i) - 8 },
  Q5_0: {
    bytes: 22,
    bits: 5,
    value: (data, at, i) => (nibble(data, at + 6, i) | ((((data[at + 2 + (i >> 3)] ?? 0) >> (i & 7)) & 1) << 4)) - 16,
  },
  Q8_0: { bytes: 34, bits: 8, value: (data, at, i) => ((data[at + 2 + i] ?? 0) << 24) >> 24 },
};

/** Whether a matrix of this type has exactly the same values in `format`. */
export function packsExactly(type: StoredType, { bits, block }: PackingFormat): boolean {
  const codes = FORMATS[type];
  return codes !== undefined && codes.bits <= bits && block === BLOCK;
}

/**
 * Whole rows of a matrix for which {@link packsExactly} holds.
 * @param data the bytes of the rows, one after the other
 * @param columns a multiple of 32
 */
export function packBlocks(data: Uint8Array, type: StoredType, columns: number, format: PackingFormat): PackedRows {
  const from = FORMATS[type];
  if (from === undefined) throw new TypeError(`${type} has no codes around zero`);
  const blocks = Math.floor(data.length / from.bytes);
  const middle = 2 ** (format.bits - 1);
  const codes = new Uint8Array((blocks * BLOCK * format.bits) / 8);
  const scales = new Float32Array(blocks);
  for (let b = 0; b < blocks; b++) {
    const at = b * from.bytes;
    scales[b] = float16Value((data[at] ?? 0) | ((data[at + 1] ?? 0) << 8));
    for (let i = 0; i < BLOCK; i++) {
      const code = from.value(data, at, i) + middle;
      if (format.bits === 8) codes[b * BLOCK + i] = code;
      else {
        const byte = (b * BLOCK + i) >> 1;
        codes[byte] = (codes[byte] ?? 0) | (code << (4 * (i & 1)));
      }
    }
  }
  return format.zeros ? { codes, scales, zeros: middles(blocks, columns / BLOCK, format.bits) } : { codes, scales };
}

/** The zero points of `count` blocks, `each` in a row: all in the middle. Of 4 bits, a row of an odd number of blocks ends with half a byte. */
function middles(count: number, each: number, bits: 4 | 8): Uint8Array {
  if (bits === 8) return new Uint8Array(count).fill(128);
  const row = Math.ceil(each / 2);
  const zeros = new Uint8Array((count / each) * row).fill(0x88);
  if (each % 2 === 1) for (let end = row - 1; end < zeros.length; end += row) zeros[end] = 0x08;
  return zeros;
}
