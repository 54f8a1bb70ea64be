/** @file Which matrices of a network are kept on the device in few bits: those that its file keeps so, and those that are to be rounded. */
import type { WeightFile } from '../../assets/weights.js';
import { isBlockType, type BlockType } from '../../base/gguf-blocks.js';
import type { WeightBits } from '../../models/details.js';
import type { Packing } from '../../onnx/packed.js';
import type { PackedFormat } from '../../onnx/types.js';

/** Columns that share a scale: those of the formats of GGUF, or a part of them. */
const BLOCK = 32;

/** Each format as the nearest of the operator's: no fewer bits, and a zero point where values do not lie around 0. */
const FORMATS: Readonly<Record<BlockType, Omit<PackedFormat, 'block'>>> = {
  Q2_K: { bits: 4, zeros: true },
  Q3_K: { bits: 4, zeros: false },
  Q4_0: { bits: 4, zeros: false },
  Q4_1: { bits: 4, zeros: true },
  Q4_K: { bits: 4, zeros: true },
  IQ4_NL: { bits: 8, zeros: false },
  IQ4_XS: { bits: 8, zeros: false },
  Q5_0: { bits: 8, zeros: false },
  Q5_1: { bits: 8, zeros: true },
  Q5_K: { bits: 8, zeros: true },
  Q6_K: { bits: 8, zeros: false },
  Q8_0: { bits: 8, zeros: false },
};

/** Which weights may be packed. */
export interface PackingChoice {
  /** Tensors that stay floats, since changes are added to them. */
  readonly floats: ReadonlySet<string>;
  /** What matrices of floats are rounded to; absent: they stay. */
  readonly bits?: WeightBits | undefined;
}

/**
 * For a graph whose weights are `prefix + name` for each of several blocks: a matrix is packed when every block has it in few bits, and then in the
 * format that loses nothing of any of them that another would keep.
 */
export function packingOf(file: WeightFile, prefixes: readonly string[], { floats, bits }: PackingChoice): Packing {
  return (weight) => {
    let common: PackedFormat | undefined;
    for (const prefix of prefixes) {
      const tensor = floats.has(prefix + weight) ? undefined : file.find(prefix + weight);
      const format = tensor === undefined ? undefined : (formatOf(tensor.dtype) ?? roundedTo(bits, tensor.shape));
      if (format === undefined) return undefined;
      common = {
        bits: common?.bits === 8 ? 8 : format.bits,
        zeros: common?.zeros === true || format.zeros,
        block: BLOCK,
      };
    }
    return common;
  };
}

function formatOf(type: string): Omit<PackedFormat, 'block'> | undefined {
  return isBlockType(type) ? FORMATS[type] : undefined;
}

/** Of floats: symmetric, as the operator's own quantiser does it. Only matrices, which are what the operator takes. */
function roundedTo(bits: WeightBits | undefined, shape: readonly number[]): Omit<PackedFormat, 'block'> | undefined {
  return bits === undefined || shape.length !== 2 ? undefined : { bits, zeros: false };
}
