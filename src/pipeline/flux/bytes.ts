/** @file How large the weights of graphs are: in the file, and on the device. */
import type { WeightFile } from '../../assets/weights.js';
import { valueBytes } from '../../onnx/liveness.js';
import type { Graph } from '../../onnx/types.js';

/** Bytes in the file of a graph's weights, for each of the blocks that have these prefixes; each tensor once. */
export function fileBytes(file: WeightFile, { weights }: Graph, prefixes: readonly string[] = ['']): number {
  let total = 0;
  for (const prefix of prefixes) {
    for (const name of new Set(weights.flatMap(({ tensors }) => tensors))) {
      const tensor = file.find(prefix + name);
      total += tensor === undefined ? 0 : tensor.end - tensor.start;
    }
  }
  return total;
}

/** Bytes on the device of one graph's weights. */
export function deviceBytes({ weights }: Graph): number {
  return weights.reduce((sum, { value }) => sum + valueBytes(value), 0);
}
