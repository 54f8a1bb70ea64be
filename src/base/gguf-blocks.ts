/**
 * @file The block formats of GGUF files → float32, each operation rounded as gguf-py's `quants.py` does. A row is a whole number of blocks,
 * each with scales of its own. Formats: github.com/ggml-org/llama.cpp, ggml/src/ggml-common.h (MIT).
 */
import { float16Value } from './half.js';

export type BlockType =
  'Q4_0' | 'Q4_1' | 'Q5_0' | 'Q5_1' | 'Q8_0' | 'Q2_K' | 'Q3_K' | 'Q4_K' | 'Q5_K' | 'Q6_K' | 'IQ4_NL' | 'IQ4_XS';

interface BlockFormat {
  /** Values in a block. */
  readonly values: number;
  readonly bytes: number;
  /** Decodes the block that begins at byte `at`, to `out` from `to` on. */
  readonly decode: (block: Uint8Array, at: number, out: Float32Array, to: number) => void;
}

/** Whether `type` is a block format. */
export function isBlockType(type: string): type is BlockType {
  return Object.hasOwn(BLOCK_FORMATS, type);
}

/** The values of whole blocks. */
export function decodeBlocks(bytes: Uint8Array, type: BlockType): Float32Array {
  const { values, bytes: size, decode } = BLOCK_FORMATS[type];
  const count = Math.floor(bytes.length / size);
  const out = new Float32Array(count * values);
  for (let i = 0; i < count; i++) decode(bytes, i * size, out, i * values);
  return out;
}

const { fround } = Math;

/** A float16 at byte `at`. */
function half(bytes: Uint8Array, at: number): number {
  return float16Value((bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8));
}

function signed(byte: number | undefined): number {
  return ((byte ?? 0) << 24) >> 24;
}

/** 32 values of 4 or 5 bits: bytes hold value i low and value i + 16 high; of the fifth bits a word of 32. */
function smallBlock(bits: 4 | 5, offset: 'centred' | 'minimum'): Pick<BlockFormat, 'decode' | 'values' | 'bytes'> {
  const minimum = offset === 'minimum';
  const highAt = minimum ? 4 : 2;
  const codesAt = highAt + (bits === 5 ? 4 : 0);
  const middle = minimum ? 0 : 2 ** (bits - 1);
  return {
    values: 32,
    bytes: codesAt + 16,
    decode: (block, at, out, to) => {
      const scale = half(block, at);
      const base = minimum ? half(block, at + 2) : 0;
      for (let i = 0; i < 32; i++) {
        const nibble = ((block[at + codesAt + (i & 15)] ?? 0) >> (i < 16 ? 0 : 4)) & 0xf;
        const fifth = bits === 5 ? (((block[at + highAt + (i >> 3)] ?? 0) >> (i & 7)) & 1) << 4 : 0;
        const value = fround(scale * ((nibble | fifth) - middle));
        out[to + i] = minimum ? value + base : value; // adding 0 would lose the sign of −0
      }
    },
  };
}

/** Eight pairs of 6-bit scale and 6-bit minimum in 12 bytes: the first four in six bits of bytes 0–7, whose upper bits go to the last four. */
function scaleAndMinimum(
  block: Uint8Array,
  at: number,
  i: number,
): { readonly scale: number; readonly minimum: number } {
  const byte = (k: number): number => block[at + k] ?? 0;
  if (i < 4) return { scale: byte(i) & 0x3f, minimum: byte(i + 4) & 0x3f };
  return {
    scale: (byte(i + 4) & 0xf) | ((byte(i - 4) >> 2) & 0x30),
    minimum: (byte(i + 4) >> 4) | ((byte(i) >> 2) & 0x30),
  };
}

/** 256 values of 4 or 5 bits in eight parts of 32, each with a scale and a minimum. */
function largeBlock(bits: 4 | 5): BlockFormat {
  const codesAt = bits === 5 ? 48 : 16;
  return {
    values: 256,
    bytes: codesAt + 128,
    decode: (block, at, out, to) => {
      const [scales, minima] = [half(block, at), half(block, at + 2)];
      for (let part = 0; part < 8; part++) {
        const { scale, minimum } = scaleAndMinimum(block, at + 4, part);
        const [d, m] = [fround(scales * scale), fround(minima * minimum)];
        for (let i = 0; i < 32; i++) {
          const nibble = ((block[at + codesAt + 32 * (part >> 1) + i] ?? 0) >> (4 * (part & 1))) & 0xf;
          const fifth = bits === 5 ? (((block[at + 16 + i] ?? 0) >> part) & 1) << 4 : 0;
          out[to + 32 * part + i] = fround(d * (nibble | fifth)) - m;
        }
      }
    },
  };
}

/** Two bits of 256 values: each 32 bytes hold four times 32 values, the first lowest. `part` counts these 32s. */
function twoBits(block: Uint8Array, codesAt: number, part: number, i: number): number {
  return ((block[codesAt + 32 * (part >> 2) + i] ?? 0) >> (2 * (part & 3))) & 3;
}

/** Every 16 values have a 4-bit scale and a 4-bit minimum. */
const Q2_K: BlockFormat = {
  values: 256,
  bytes: 84,
  decode: (block, at, out, to) => {
    const [scales, minima] = [half(block, at + 80), half(block, at + 82)];
    for (let i = 0; i < 256; i++) {
      const both = block[at + (i >> 4)] ?? 0;
      const [d, m] = [fround(scales * (both & 0xf)), fround(minima * (both >> 4))];
      out[to + i] = fround(d * twoBits(block, at + 16, i >> 5, i & 31)) - m;
    }
  },
};

/** Every 16 values have a 6-bit scale; the third bits come first, one byte for each of 32 places. */
const Q3_K: BlockFormat = {
  values: 256,
  bytes: 110,
  decode: (block, at, out, to) => {
    const scales = half(block, at + 108);
    for (let i = 0; i < 256; i++) {
      const [group, part] = [i >> 4, i >> 5];
      const low = ((block[at + 96 + (group & 7)] ?? 0) >> (group < 8 ? 0 : 4)) & 0xf;
      const high = ((block[at + 104 + (group & 3)] ?? 0) >> (2 * (group >> 2))) & 3;
      const third = ((block[at + (i & 31)] ?? 0) >> part) & 1;
      const code = twoBits(block, at + 32, part, i & 31) - (third === 1 ? 0 : 4);
      out[to + i] = fround(scales * ((low | (high << 4)) - 32)) * code;
    }
  },
};

/** Every 16 values have an 8-bit scale; four bits of 64 values each in 64 bytes, two bits as {@link twoBits}. */
const Q6_K: BlockFormat = {
  values: 256,
  bytes: 210,
  decode: (block, at, out, to) => {
    const scales = half(block, at + 208);
    for (let i = 0; i < 256; i++) {
      const part = i >> 5;
      const low = ((block[at + 64 * (part >> 2) + (i & 63)] ?? 0) >> (part & 2 ? 4 : 0)) & 0xf;
      const code = (low | (twoBits(block, at + 128, part, i & 31) << 4)) - 32;
      out[to + i] = fround(scales * signed(block[at + 192 + (i >> 4)])) * code;
    }
  },
};

const Q8_0: BlockFormat = {
  values: 32,
  bytes: 34,
  decode: (block, at, out, to) => {
    const scale = half(block, at);
    for (let i = 0; i < 32; i++) out[to + i] = scale * signed(block[at + 2 + i]);
  },
};

/** What the 16 codes of the non-linear formats stand for (`kvalues_iq4nl`). */
const NON_LINEAR = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113] as const;

/** 32 values: bytes hold value i low and value i + 16 high. */
function decodeNonLinear(block: Uint8Array, at: number, scale: number, out: Float32Array, to: number): void {
  for (let i = 0; i < 32; i++) {
    const code = ((block[at + (i & 15)] ?? 0) >> (i < 16 ? 0 : 4)) & 0xf;
    out[to + i] = scale * (NON_LINEAR[code] ?? 0);
  }
}

const IQ4_NL: BlockFormat = {
  values: 32,
  bytes: 18,
  decode: (block, at, out, to) => decodeNonLinear(block, at + 2, half(block, at), out, to),
};

/** Eight parts of 32 values, each with a 6-bit scale. */
const IQ4_XS: BlockFormat = {
  values: 256,
  bytes: 136,
  decode: (block, at, out, to) => {
    const scales = half(block, at);
    for (let part = 0; part < 8; part++) {
      const low = ((block[at + 4 + (part >> 1)] ?? 0) >> (4 * (part & 1))) & 0xf;
      const high = ((block[at + 2 + (part >> 2)] ?? 0) >> (2 * (part & 3))) & 3;
      decodeNonLinear(block, at + 8 + 16 * part, fround(scales * ((low | (high << 4)) - 32)), out, to + 32 * part);
    }
  },
};

export const BLOCK_FORMATS: Readonly<Record<BlockType, BlockFormat>> = {
  Q4_0: smallBlock(4, 'centred'),
  Q4_1: smallBlock(4, 'minimum'),
  Q5_0: smallBlock(5, 'centred'),
  Q5_1: smallBlock(5, 'minimum'),
  Q8_0,
  Q2_K,
  Q3_K,
  Q4_K: largeBlock(4),
  Q5_K: largeBlock(5),
  Q6_K,
  IQ4_NL,
  IQ4_XS,
};
