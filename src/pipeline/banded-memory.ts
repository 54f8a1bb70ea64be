/**
 * @file What decoding and encoding in parts takes of the GPU's memory, told from the config alone: the runs in bands (banded-decoder.ts, banded-encoder.ts) or
 * in windows (banded-tiny.ts), in their order, and what they leave. Pure.
 */
import { BAND_IO, type BandStage } from '../graphs/band-graph.js';
import { decoderStages } from '../graphs/banded-decoder.js';
import { encoderStages } from '../graphs/banded-encoder.js';
import type { AutoencoderTinyConfig } from '../models/configs/autoencoder-tiny.js';
import { EMPTY_POOL, planRun, type BufferPool, type PooledRun } from '../onnx/buffer-pool.js';
import type { Dialect } from '../onnx/dialects/dialect.js';
import { bufferBytes, valueBytes, type RunBinding } from '../onnx/liveness.js';
import type { Graph, NamedValue } from '../onnx/types.js';
import { bandedGraphs } from './banded-decoder.js';
import { bandedEncoderGraphs } from './banded-encoder.js';
import { ofStage, type BandedShape } from './banded-runs.js';
import type { BandPlan } from './banded-plan.js';
import { windowGraphs, windowHeights, type Window } from './banded-tiny.js';

/** A decoder or an encoder in parts. */
export interface NetworkParts {
  /** Each once; they share their weights, all of which are inputs. */
  readonly graphs: readonly Graph[];
  /** One picture. */
  readonly runs: readonly PartRun[];
}

/** One run, and the arrays of our own on the device that come and go with it, in bytes. */
export interface PartRun {
  readonly graph: Graph;
  readonly binding: RunBinding;
  readonly run: (pool: BufferPool) => PooledRun;
  /** Made for its outputs. */
  readonly made: number;
  /** Freed after it. */
  readonly freed: number;
}

/** The runs of a decoder in bands. */
export function bandParts(shape: BandedShape, dialect: Dialect): NetworkParts {
  const { config, plan } = shape;
  const graphs = bandedGraphs(shape, dialect);
  const [trunk, ...bound] = graphs.map(bindBand);
  const first: readonly PartRun[] = trunk === undefined ? [] : [{ ...trunk, freed: 0 }];
  return { graphs, runs: [...first, ...stageRuns(decoderStages(config, plan.wholeBlocks), bound, plan)] };
}

/** The runs of an encoder in bands, for one picture. */
export function encoderParts(shape: BandedShape, dialect: Dialect): NetworkParts {
  const { config, plan } = shape;
  const graphs = bandedEncoderGraphs(shape, dialect);
  const [tail, ...others] = graphs;
  const bound = others.map(bindBand);
  const stages = encoderStages(config, plan.wholeBlocks);
  const [first, ...more] = stageRuns(stages, bound, plan);
  if (tail === undefined || first === undefined) return { graphs, runs: [] };
  // The picture is there before its first band is read: each with its two edges, which the other bands' graphs call `above` and `below`.
  const picture = sum(ofStage(bound, 0, plan).flatMap(({ graph }) => ownInputs(graph)));
  const left = sum(ofStage(bound, stages.length - 1, plan).flatMap(({ graph }) => ownOutputs(graph)));
  const last = { ...bind(tail, tail.inputs, []), freed: left };
  return { graphs, runs: [{ ...first, made: first.made + picture }, ...more, last] };
}

function stageRuns(
  stages: readonly BandStage[],
  bound: readonly Omit<PartRun, 'freed'>[],
  plan: BandPlan,
): readonly PartRun[] {
  return stages.flatMap((stage, i) =>
    ofStage(bound, i, plan).map((run) => {
      const moments = run.graph.outputs.filter(({ name }) => name === BAND_IO.moments);
      const read = ownInputs(run.graph).filter(({ name }) => !staysAsSkip(stage, name));
      // A row of the band above that is not read is freed as the one below is.
      const unread = stage.kind === 'downsample' ? read.filter(({ name }) => name === BAND_IO.below) : [];
      return { ...run, freed: sum(moments) + sum(read) + sum(unread) };
    }),
  );
}

/** The runs of a decoder in windows, which leave nothing on the device. */
export function windowParts(
  config: AutoencoderTinyConfig,
  width: number,
  windows: readonly Window[],
  dialect: Dialect,
): NetworkParts {
  const graphs = windowGraphs(config, width, windows, dialect);
  const heights = windowHeights(windows);
  const bound = graphs.map((graph) => {
    const binding = { turned: kernelsOf(graph) };
    return { graph, binding, run: planRun(graph, binding), made: 0, freed: 0 };
  });
  return { graphs, runs: windows.flatMap(({ start, end }) => bound[heights.indexOf(end - start)] ?? []) };
}

/** In bytes. */
export interface PartsRun {
  /** ONNX Runtime's after two pictures; a third takes no more. */
  readonly pool: BufferPool;
  /** Most bytes of arrays of our own at once. */
  readonly arrays: number;
  /** Those and the pool, with the copies in and out, at the worst moment. */
  readonly peak: number;
}

/** Two pictures on a device whose pool is `before`; weights are not counted. */
export function runParts(before: BufferPool, { runs }: NetworkParts): PartsRun {
  let pool = before;
  let alive = 0;
  let arrays = 0;
  let peak = before.bytes;
  for (const { run, made, freed } of [...runs, ...runs]) {
    alive += made;
    arrays = Math.max(arrays, alive);
    const after = run(pool);
    peak = Math.max(peak, alive + after.peakBytes);
    ({ pool } = after);
    alive -= freed;
  }
  return { pool, arrays, peak };
}

/** Bytes of the weights of a decoder in parts: kernels are not turned for good, and are there once. */
export function partsWeights({ graphs }: NetworkParts): number {
  const all = new Map(graphs.flatMap(({ weights }) => weights.map((weight) => [weight.name, weight] as const)));
  return sum([...all.values()]);
}

/** In bytes. */
export interface BandedMemory {
  readonly weights: number;
  /** Most bytes of bands at once, between the stages and in them. */
  readonly bands: number;
  /** What the runs leave in ONNX Runtime's pool. */
  readonly pool: number;
  /** All of it at the worst moment. */
  readonly peak: number;
}

/** The decoder in bands, alone on an empty device. */
export function predictBands(shape: BandedShape, dialect: Dialect): BandedMemory {
  const parts = bandParts(shape, dialect);
  const weights = partsWeights(parts);
  const { pool, arrays, peak } = runParts(EMPTY_POOL, parts);
  return { weights, bands: arrays, pool: pool.bytes, peak: weights + peak };
}

const bindBand = (graph: Graph): Omit<PartRun, 'freed'> => bind(graph, ownInputs(graph), ownOutputs(graph));

/** @param read, written in arrays of our own */
function bind(graph: Graph, read: readonly NamedValue[], written: readonly NamedValue[]): Omit<PartRun, 'freed'> {
  const own = [...read, ...written].map(({ name }) => name);
  const binding = { onDevice: new Set(own), given: true, turned: kernelsOf(graph) };
  return { graph, binding, run: planRun(graph, binding), made: sum(written) };
}

/** A residual block that keeps its width adds what its first convolution read. */
const staysAsSkip = (stage: BandStage, input: string): boolean =>
  stage.kind === 'first' && !stage.widens && input === BAND_IO.body;

const OWN_INPUTS: ReadonlySet<string> = new Set([BAND_IO.body, BAND_IO.above, BAND_IO.below, BAND_IO.skip]);

const ownInputs = ({ inputs }: Graph): readonly NamedValue[] => inputs.filter(({ name }) => OWN_INPUTS.has(name));
/** The picture alone is read back. */
const ownOutputs = ({ outputs }: Graph): readonly NamedValue[] =>
  outputs.filter(({ name }) => name !== BAND_IO.picture);

const kernelsOf = ({ weights }: Graph): NonNullable<RunBinding['turned']> =>
  new Set(weights.flatMap(({ use, value }) => (use === 'conv' ? [value] : [])));

function sum(values: readonly { readonly value: NamedValue['value'] }[]): number {
  return values.reduce((total, { value }) => total + bufferBytes(valueBytes(value)), 0);
}
