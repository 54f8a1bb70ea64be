/**
 * @file Which matrices of a network are kept on the device in few bits: those that its file keeps so, and those that are to be rounded. And how LoRAs
 * change them: what they add is a product of low rank, which is computed beside the matrix; only what is not makes the matrix floats.
 */
import { productRank, wholeRank, type ChangedWeights } from '../../assets/weight-change.js';
import type { WeightFile } from '../../assets/weights.js';
import { isBlockType, type BlockType } from '../../base/gguf-blocks.js';
import type { WeightBits } from '../../models/details.js';
import type { Branches, Packing } from '../../onnx/packed.js';
import type { PackedFormat } from '../../onnx/types.js';
import type { NamedTensors } from '../weight-bytes.js';

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
  readonly floats: NamedTensors;
  /** What matrices of floats are rounded to; absent, or 16: they stay floats. */
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

/** How matrices that are in few bits take their changes. */
export interface PackedChanges {
  /** Tensors that become floats for them. */
  readonly floats: ReadonlySet<string>;
  /** The ranks of what is added beside the others. */
  readonly ranks: ReadonlyMap<string, number>;
}

/**
 * A branch of rank r beside a matrix of n inputs and m outputs takes r·(n + m) numbers and as many multiplications a token, where the matrix has n·m. Above
 * this share of it the matrix becomes floats (docs/performance.md, "LoRAs on few bits").
 */
const LARGEST_BRANCH = 0.5;

/** What is to be done should the tensors of `changed` be in few bits. */
export function packedChanges(file: WeightFile, changed: ChangedWeights): PackedChanges {
  const floats = new Set<string>();
  const ranks = new Map<string, number>();
  for (const [tensor, changes] of changed) {
    const [out = 0, columns = 0, ...more] = file.find(tensor)?.shape ?? [];
    const rank = more.length > 0 ? undefined : productRank(changes);
    if (rank === undefined || wholeRank(rank) * (out + columns) > LARGEST_BRANCH * out * columns) floats.add(tensor);
    else ranks.set(tensor, wholeRank(rank));
  }
  return { floats, ranks };
}

/** For a graph whose weights are `prefix + name` for each of several blocks: all have a branch where one has, of the largest of the ranks. */
export function branchesOf(prefixes: readonly string[], { ranks }: PackedChanges): Branches {
  return (weight) => {
    const all = prefixes.flatMap((prefix) => ranks.get(prefix + weight) ?? []);
    return all.length === 0 ? undefined : Math.max(...all);
  };
}

/** Whether matrices that are rounded to so many bits are codes, no floats. */
export function isFew(bits: WeightBits | undefined): bits is PackedFormat['bits'] {
  return bits === 4 || bits === 8;
}

function formatOf(type: string): Omit<PackedFormat, 'block'> | undefined {
  return isBlockType(type) ? FORMATS[type] : undefined;
}

/** Of floats: symmetric, as the operator's own quantiser does it. Only matrices, which are what the operator takes. */
function roundedTo(bits: WeightBits | undefined, shape: readonly number[]): Omit<PackedFormat, 'block'> | undefined {
  return !isFew(bits) || shape.length !== 2 ? undefined : { bits, zeros: false };
}
