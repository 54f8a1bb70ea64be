/** @file What running a graph costs, told from the graph alone: shader dispatches and arithmetic. */
import { elementCount } from '../src/base/dtype.js';
import { dispatchCount } from '../src/onnx/liveness.js';
import type { Graph, Node } from '../src/onnx/types.js';

export interface Cost {
  readonly dispatches: number;
  /** Floating-point operations of convolutions, products and attention; the rest is memory traffic. */
  readonly flops: number;
}

/** Told from the graph alone. */
export function costOf({ nodes }: Graph): Cost {
  const sum = (of: (node: Node) => number): number => nodes.reduce((total, node) => total + of(node), 0);
  return { dispatches: sum(dispatchCount), flops: sum(flopsOf) };
}

/** A multiplication and an addition for each element of the output and each of what is summed over. */
function flopsOf({ opType, inputs, outputs }: Node): number {
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
