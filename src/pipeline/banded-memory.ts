/** @file What decoding in bands takes of the GPU's memory, told from the config alone. Pure; follows the order of banded-decoder.ts. */
import { BAND_IO, bandStages, type BandStage } from '../graphs/banded-decoder.js';
import { EMPTY_POOL, runOnPool, type BufferPool } from '../onnx/buffer-pool.js';
import type { Dialect } from '../onnx/dialects/dialect.js';
import { bufferBytes, valueBytes, type RunBinding } from '../onnx/liveness.js';
import type { Graph, NamedValue } from '../onnx/types.js';
import { bandedGraphs, type BandedShape } from './banded-decoder.js';

/** In bytes. */
export interface BandedMemory {
  /** All weights of the decoder; kernels are not turned for good, and are there once. */
  readonly weights: number;
  /** Most bytes of bands at once, between the stages and in them. */
  readonly bands: number;
  /** What the runs leave in ONNX Runtime's pool. */
  readonly pool: number;
  /** All of it at the worst moment, when a second picture is decoded. */
  readonly peak: number;
}

/** The decoder alone on an empty device. */
export function predictBands(shape: BandedShape, dialect: Dialect): BandedMemory {
  const { config, plan } = shape;
  const [trunk, ...graphs] = bandedGraphs(shape, dialect);
  const heights = [...new Set(plan.heights)];
  const weights = weightBytes(trunk === undefined ? graphs : [trunk, ...graphs]);
  let pool: BufferPool = EMPTY_POOL;
  let alive = 0;
  let bands = 0;
  const run = (graph: Graph): void => {
    alive += sum(ownOutputs(graph));
    bands = Math.max(bands, alive);
    ({ pool } = runOnPool(pool, graph, bindingOf(graph)));
  };
  if (trunk !== undefined) run(trunk);
  for (const [i, stage] of bandStages(config, plan.wholeBlocks).entries()) {
    for (const height of plan.heights) {
      const graph = graphs[i * heights.length + heights.indexOf(height)];
      if (graph === undefined) continue;
      run(graph);
      alive -= sum(graph.outputs.filter(({ name }) => name === BAND_IO.moments));
      alive -= sum(ownInputs(graph).filter(({ name }) => !staysAsSkip(stage, name)));
    }
  }
  return { weights, bands, pool: pool.bytes, peak: weights + bands + pool.bytes };
}

/** A residual block that keeps its width adds what its first convolution read. */
const staysAsSkip = (stage: BandStage, input: string): boolean =>
  stage.kind === 'first' && !stage.widens && input === BAND_IO.body;

const OWN_INPUTS: ReadonlySet<string> = new Set([BAND_IO.body, BAND_IO.above, BAND_IO.below, BAND_IO.skip]);

const ownInputs = ({ inputs }: Graph): readonly NamedValue[] => inputs.filter(({ name }) => OWN_INPUTS.has(name));
/** The picture alone is read back. */
const ownOutputs = ({ outputs }: Graph): readonly NamedValue[] =>
  outputs.filter(({ name }) => name !== BAND_IO.picture);

function bindingOf(graph: Graph): RunBinding {
  return {
    onDevice: new Set([...ownInputs(graph), ...ownOutputs(graph)].map(({ name }) => name)),
    given: true,
    turned: new Set(graph.weights.flatMap(({ use, value }) => (use === 'conv' ? [value] : []))),
  };
}

/** Each weight once. */
function weightBytes(graphs: readonly Graph[]): number {
  const all = new Map(graphs.flatMap(({ weights }) => weights.map((weight) => [weight.name, weight] as const)));
  return sum([...all.values()]);
}

function sum(values: readonly { readonly value: NamedValue['value'] }[]): number {
  return values.reduce((total, { value }) => total + bufferBytes(valueBytes(value)), 0);
}
