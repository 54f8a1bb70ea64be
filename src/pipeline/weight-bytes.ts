/** @file How large the weights of graphs are: in the file, and on the device. */
import type { WeightFile } from '../assets/weights.js';
import { valueBytes } from '../onnx/liveness.js';
import type { Graph } from '../onnx/types.js';

/** Bytes in the file of a graph's weights, for each of the blocks that have these prefixes; each tensor once. */
export function fileBytes(file: WeightFile, { weights }: Graph, prefixes: readonly string[] = ['']): number {
  const names = weights.flatMap(({ tensors }) => tensors);
  return prefixes.reduce(
    (sum, prefix) =>
      sum +
      bytesOf(
        file,
        names.map((name) => prefix + name),
      ),
    0,
  );
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

const NONE: ReadonlySet<string> = new Set();

/** Bytes on the device of one graph's weights; those that are changed are there twice. @param prefix of the block whose weights they are */
export function deviceBytes({ weights }: Graph, changed = NONE, prefix = ''): number {
  return weights.reduce((sum, { value, tensors }) => {
    const times = tensors.some((name) => changed.has(prefix + name)) ? 2 : 1;
    return sum + times * valueBytes(value);
  }, 0);
}
