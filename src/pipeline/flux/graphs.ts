/** @file The graphs that FLUX.1's transformer is run with, for one size of picture and text, and what its blocks are called in the file. */
import type { ChangedNetwork, ChangedWeights } from '../../assets/weight-change.js';
import type { WeightFile } from '../../assets/weights.js';
import { clipTextGraph } from '../../graphs/clip-text.js';
import {
  fluxBlockPrefix,
  fluxDoubleBlockGraph,
  fluxEmbedderGraph,
  fluxJoinGraph,
  fluxModulationGraph,
  fluxOutputGraph,
  fluxSingleBlockGraph,
  type FluxShape,
} from '../../graphs/flux.js';
import type { ClipTextConfig } from '../../models/configs/clip-text.js';
import type { FluxTransformerConfig } from '../../models/configs/flux-transformer.js';
import type { WeightBits } from '../../models/details.js';
import type { GraphOptions } from '../../onnx/net.js';
import type { Graph } from '../../onnx/types.js';
import { branchesOf, isFew, packedChanges, packingOf, type PackedChanges } from './packing.js';

/** Blocks of a kind have one graph. */
export interface BlockGraph {
  readonly graph: Graph;
  readonly prefixes: readonly string[];
}

/** Run at every step, in this order. */
export interface StepGraphs {
  readonly image: Graph;
  readonly double: BlockGraph;
  readonly join: Graph;
  readonly single: BlockGraph;
  readonly output: Graph;
}

/** Run once for a prompt and a schedule. */
export interface OnceGraphs {
  /** Text states. */
  readonly text: Graph;
  /** Time, guidance and pooled text of all steps. */
  readonly condition: Graph;
  readonly modulation: { readonly double: BlockGraph; readonly single: BlockGraph };
}

/** What graphs are written for. */
export interface FluxWeights {
  readonly config: FluxTransformerConfig;
  readonly file: WeightFile;
  /** What LoRAs change of it. */
  readonly changed: ChangedWeights;
  /** The same for matrices of few bits. */
  readonly inFewBits: PackedChanges;
  /** What the blocks' matrices of floats are rounded to (16: they stay floats). What comes before and after the blocks is not. */
  readonly bits: WeightBits | undefined;
}

/** @param by what LoRAs change, by network */
export function fluxWeights(
  {
    transformer,
    weightBits,
  }: { readonly transformer: Pick<FluxWeights, 'config' | 'file'>; readonly weightBits: WeightBits | undefined },
  by: ReadonlyMap<ChangedNetwork, ChangedWeights>,
): FluxWeights {
  const { config, file } = transformer;
  const changed: ChangedWeights = by.get('transformer') ?? new Map();
  return { config, file, changed, inFewBits: packedChanges(file, changed), bits: weightBits };
}

/** CLIP as FLUX.1 reads it: the last state, normed, without a projection. */
export function fluxClipGraph(
  { config, tokenizer }: { readonly config: ClipTextConfig; readonly tokenizer: { readonly length: number } },
  options: Parameters<typeof clipTextGraph>[2],
): Graph {
  const hidden = [{ skip: 0, norm: true }];
  return clipTextGraph(config, { tokens: tokenizer.length, hidden, projected: false, masked: false }, options);
}

/** @param controlled to the image tokens of which blocks something is added */
export function stepGraphs(
  weights: FluxWeights,
  shape: FluxShape,
  options: GraphOptions,
  controlled: Readonly<Record<'double' | 'single', boolean>> = { double: false, single: false },
): StepGraphs {
  const { config } = weights;
  const ends = endsOptions(weights, options);
  return {
    image: fluxEmbedderGraph(config, shape, { ...ends, parts: ['image'] }),
    double: blockGraph(weights, 'double', options, (packed) =>
      fluxDoubleBlockGraph(config, shape, { ...packed, modulation: 'given', control: controlled.double }),
    ),
    join: fluxJoinGraph(config, shape, options),
    single: blockGraph(weights, 'single', options, (packed) =>
      fluxSingleBlockGraph(config, shape, { ...packed, modulation: 'given', control: controlled.single }),
    ),
    output: fluxOutputGraph(config, shape, ends),
  };
}

export function onceGraphs(weights: FluxWeights, shape: FluxShape, steps: number, options: GraphOptions): OnceGraphs {
  const { config, bits } = weights;
  const ends = endsOptions(weights, options);
  // What is off in a modulation is off in all features at once, and it is there for a moment only.
  const finer: FluxWeights = { ...weights, bits: isFew(bits) ? MODULATION_BITS : bits };
  const modulation = (kind: 'double' | 'single'): BlockGraph =>
    blockGraph(finer, kind, options, (packed) => fluxModulationGraph(config, kind, steps, packed));
  return {
    text: fluxEmbedderGraph(config, shape, { ...ends, parts: ['text'] }),
    condition: fluxEmbedderGraph(config, { ...shape, steps }, { ...ends, parts: ['condition'] }),
    modulation: { double: modulation('double'), single: modulation('single') },
  };
}

/** Of what comes before and after the blocks: few weights, and each counts. */
function endsOptions(weights: FluxWeights, options: GraphOptions): GraphOptions {
  return packedOptions({ ...weights, bits: undefined }, [''], options);
}

/** For graphs whose weights are those of the blocks of these prefixes. */
function packedOptions(
  { file, inFewBits, bits }: FluxWeights,
  prefixes: readonly string[],
  options: GraphOptions,
): GraphOptions {
  const { floats } = inFewBits;
  return {
    ...options,
    packing: packingOf(file, prefixes, { floats, bits }),
    branches: branchesOf(prefixes, inFewBits),
  };
}

/** Tells graphs apart that have branches of other ranks. */
export function branchName(graphs: readonly Graph[]): string {
  const branches = graphs.flatMap(({ weights }) => weights.filter(({ branch }) => branch === 'right'));
  return branches.map(({ name, value }) => ` ${name} ${value.shape[0] ?? 0}`).join('');
}

const MODULATION_BITS = 8 satisfies WeightBits;

function blockGraph(
  weights: FluxWeights,
  kind: 'double' | 'single',
  options: GraphOptions,
  write: (options: GraphOptions) => Graph,
): BlockGraph {
  const { config } = weights;
  const count = kind === 'double' ? config.doubleBlocks : config.singleBlocks;
  const prefixes = Array.from({ length: count }, (_, i) => fluxBlockPrefix(kind, i));
  return { graph: write(packedOptions(weights, prefixes, options)), prefixes };
}
