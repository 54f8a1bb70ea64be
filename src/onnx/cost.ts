/** @file How much arithmetic a run of a graph is, told from the graph alone. */
import { elementCount } from '../base/dtype.js';
import type { Graph, Node } from './types.js';

/** Floating-point operations of convolutions, products and attention; the rest is memory traffic. */
export function flopsOf({ nodes }: Graph): number {
  return nodes.reduce((sum, node) => sum + nodeFlops(node), 0);
}

/** A multiplication and an addition for each element of the output and each of what is summed over. */
function nodeFlops({ opType, inputs, outputs }: Node): number {
  const [x, w] = inputs.map((value) => value?.shape ?? []);
  const made = elementCount(outputs[0]?.shape ?? []);
  switch (opType) {
    case 'Conv': // weights [out, in, height, width]
      return 2 * made * elementCount(w?.slice(1) ?? []);
    case 'Gemm':
    case 'MatMul':
    case 'MatMulNBits':
      return 2 * made * (x?.at(-1) ?? 0);
    case 'MultiHeadAttention': // q·kᵀ and its product with v: both [n, s, ·] with t keys
      return 2 * 2 * made * (w?.[1] ?? 0);
    default:
      return 0;
  }
}
