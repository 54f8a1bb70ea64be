/** @file Running graphs of transformers on golden weights: a whole component's, or those of one block under the names of its graph. */
import { viewWeights, type WeightFile } from '../../src/assets/weights.js';
import { sameShape, withPrefix, type WeightLayout } from '../../src/models/layouts/layout.js';
import type { Graph } from '../../src/onnx/types.js';
import type { Runtime } from '../../src/runtime/runtime.js';
import type { Arrays, Inputs } from '../../src/runtime/session.js';
import { compare, isWithin, type Comparison } from '../golden-runner/report.js';

/** Files that use the graphs' own names. */
export const PLAIN_LAYOUT: WeightLayout = { places: (name) => [{ name }], shape: sameShape };

/** The weights whose names begin with `prefix`, without it. */
export function weightsUnder(prefix: string, file: WeightFile): WeightFile {
  return viewWeights(file.name, file.tensors, withPrefix(prefix, PLAIN_LAYOUT));
}

export async function runGraph(runtime: Runtime, weights: WeightFile, graph: Graph, inputs: Inputs): Promise<Arrays> {
  const bank = runtime.openBank(weights);
  const model = await bank.load(graph);
  try {
    return await model.run(inputs);
  } finally {
    await model.dispose();
    bank.dispose();
  }
}

export function floats(values: ArrayLike<number> | undefined): Float32Array {
  return Float32Array.from(values ?? []);
}

/** Within `share` of the golden's standard deviation. */
export function compareByStd(
  name: string,
  got: ArrayLike<number> | undefined,
  expected: ArrayLike<number> | undefined,
  share: number,
): Comparison {
  const golden = floats(expected);
  const mean = golden.reduce((a, b) => a + b, 0) / golden.length;
  const std = Math.sqrt(golden.reduce((a, b) => a + (b - mean) ** 2, 0) / golden.length);
  return compare(name, got ?? [], golden, { absolute: share * std, relative: 0 });
}

/** Those out of tolerance; of none at all, that there are none. */
export function outOfTolerance(comparisons: readonly Comparison[]): readonly Comparison[] {
  return comparisons.length === 0
    ? [{ name: 'nothing was compared', worst: Infinity, allowed: 0 }]
    : comparisons.filter((c) => !isWithin(c));
}
