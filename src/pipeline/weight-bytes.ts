/** @file How large the weights of graphs are: in the file, and on the device. */
import type { WeightFile } from '../assets/weights.js';
import { valueBytes } from '../onnx/liveness.js';
import type { Graph, Weight } from '../onnx/types.js';

/** Bytes that are read for a graph's weights, for each of the blocks that have these prefixes; each tensor once. */
export function fileBytes(file: WeightFile, { weights }: Graph, prefixes: readonly string[] = ['']): number {
  const names = weights.flatMap(({ tensors }) => tensors);
  const scales = weights.filter(({ packed }) => packed?.part === 'scales');
  return prefixes.reduce((sum, prefix) => {
    const kept = new Map(scales.flatMap((weight) => keptBytes(file, weight, prefix)));
    const others = names.map((name) => prefix + name).filter((name) => !kept.has(name));
    return sum + [...kept.values()].reduce((all, bytes) => all + bytes, 0) + bytesOf(file, others);
  }, 0);
}

/** Of a matrix that was rounded before. */
function keptBytes(file: WeightFile, { tensors, packed, value }: Weight, prefix: string): readonly [string, number][] {
  const name = prefix + (tensors[0] ?? '');
  const kept = packed && file.kept?.find(name, packed.format);
  return kept === undefined ? [] : [[name, kept.bytes(value.dtype === 'float16' ? 'float16' : 'float32')]];
}

/** Bytes in the file of the weights that graphs read together, each tensor once. */
export function sharedBytes(file: WeightFile, graphs: readonly Graph[]): number {
  return bytesOf(
    file,
    graphs.flatMap(({ weights }) => weights.flatMap(({ tensors }) => tensors)),
  );
}

/** Of tensors, each once; what is not there counts nothing. */
function bytesOf(file: WeightFile, names: readonly string[]): number {
  let total = 0;
  for (const name of new Set(names)) {
    const tensor = file.find(name);
    total += tensor === undefined ? 0 : tensor.end - tensor.start;
  }
  return total;
}

/** Some tensors of a file. */
export interface NamedTensors {
  has(tensor: string): boolean;
}

const NONE: NamedTensors = new Set();

/** Whether a weight is on the device as it was read and as it is changed. Beside packed matrices are branches instead ({@link branchBytes}). */
export function isTwice({ tensors, packed, branch }: Weight, changed: NamedTensors, prefix = ''): boolean {
  return packed === undefined && branch === undefined && tensors.some((name) => changed.has(prefix + name));
}

/** Bytes on the device of one graph's weights but its branches; those that are changed are there twice. @param prefix of the block whose weights they are */
export function deviceBytes({ weights }: Graph, changed = NONE, prefix = ''): number {
  return weights
    .filter(({ branch }) => branch === undefined)
    .reduce((sum, weight) => sum + (isTwice(weight, changed, prefix) ? 2 : 1) * valueBytes(weight.value), 0);
}

/** Bytes of what is added beside packed matrices, for one block: on the device for all of them, also where their other weights take turns. */
export function branchBytes({ weights }: Graph): number {
  return weights.reduce((sum, { branch, value }) => sum + (branch === undefined ? 0 : valueBytes(value)), 0);
}
