/** @file Which matrices of a network are kept on the device in few bits: those that its file keeps so. */
import type { WeightFile } from '../../assets/weights.js';
import type { BlockType } from '../../base/gguf-blocks.js';
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

/**
 * For a graph whose weights are `prefix + name` for each of several blocks: a matrix is packed when every block has it in few bits, and then in the
 * format that loses nothing of any of them that another would keep.
 * @param floats tensors that stay floats, since changes are added to them
 */
export function packingOf(file: WeightFile, prefixes: readonly string[], floats: ReadonlySet<string>): Packing {
  return (weight) => {
    let common: PackedFormat | undefined;
    for (const prefix of prefixes) {
      const type = floats.has(prefix + weight) ? undefined : file.find(prefix + weight)?.dtype;
      const format = type === undefined ? undefined : formatOf(type);
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
  return Object.entries(FORMATS).find(([name]) => name === type)?.[1];
}
