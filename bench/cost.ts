/** @file What running a graph costs, told from the graph alone: shader dispatches and arithmetic. */
import { flopsOf } from '../src/onnx/cost.js';
import { dispatchCount } from '../src/onnx/liveness.js';
import type { Graph } from '../src/onnx/types.js';

export interface Cost {
  readonly dispatches: number;
  /** Floating-point operations of convolutions, products and attention; the rest is memory traffic. */
  readonly flops: number;
}

/** Told from the graph alone. */
export function costOf(graph: Graph): Cost {
  return { dispatches: graph.nodes.reduce((sum, node) => sum + dispatchCount(node), 0), flops: flopsOf(graph) };
}
