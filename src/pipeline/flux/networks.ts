/** @file The networks of a FLUX.1 request as graphs, in the order of their use, told from configs and weight headers: what paint.ts will load. */
import type { ChangedNetwork, ChangedWeights } from '../../assets/weight-change.js';
import type { FloatType } from '../../base/dtype.js';
import { FLUX_IO, type FluxShape } from '../../graphs/flux.js';
import { tokenGrid } from '../../graphs/flux-tokens.js';
import { T5_IO } from '../../graphs/t5.js';
import { fluxWidth } from '../../models/configs/flux-transformer.js';
import { bufferBytes } from '../../onnx/liveness.js';
import type { Graph } from '../../onnx/types.js';
import { SHARED_SETS } from '../../runtime/blocks.js';
import { decoderNetwork, type Network, type NetworkOptions } from '../networks.js';
import type { Plan } from '../plan.js';
import { fluxClipGraph, fluxWeights, onceGraphs, stepGraphs, type BlockGraph } from './graphs.js';
import type { FluxMemory } from './memory.js';
import type { FluxModel } from './model.js';
import { t5Graphs } from './t5-encoder.js';

type SizedFlux = Pick<FluxModel, 'clip' | 't5' | 'transformer' | 'vae' | 'weightBits'>;

/** Features that go from block to block. */
export const ON_DEVICE: ReadonlySet<string> = new Set([
  T5_IO.hidden,
  T5_IO.next,
  T5_IO.bias,
  FLUX_IO.text,
  FLUX_IO.image,
  FLUX_IO.sequence,
  FLUX_IO.cos,
  FLUX_IO.sin,
  FLUX_IO.next('text'),
  FLUX_IO.next('image'),
  FLUX_IO.next('sequence'),
]);

const FIRST_OF_T5: ReadonlySet<string> = new Set([...ON_DEVICE].filter((name) => name !== T5_IO.hidden));

/**
 * @param memory what of the weights stays
 * @param frugal whether each network is freed before the next
 */
export function fluxNetworks(
  model: SizedFlux,
  plan: Plan,
  options: Pick<NetworkOptions, 'dialect' | 'dtype'>,
  changed: ReadonlyMap<ChangedNetwork, ChangedWeights>,
  memory: FluxMemory,
  frugal: boolean,
): readonly Network[] {
  const { clip, t5, vae } = model;
  const { textTokens, shape } = shapeOf(model, plan);
  const ofT5 = t5Graphs(t5, textTokens, options);
  const weights = fluxWeights(model, changed);
  const { image, double, join, single, output } = stepGraphs(weights, shape, options);
  const { text, condition, modulation } = onceGraphs(weights, shape, plan.steps, options);
  const features = featureBytes(model, plan, options.dtype);
  const texts = { onDevice: ON_DEVICE, kind: 'text', brief: !memory.together } as const;
  const transformer = {
    name: 'the transformer',
    kind: 'unet',
    onDevice: ON_DEVICE,
    changed: weights.changed,
    turn: 2,
  } as const;
  const once = (block: BlockGraph): Network => ({
    ...transformer,
    graph: withBlocks(block, memory.modulation ? block.prefixes.length : SHARED_SETS),
    brief: !memory.modulation,
  });
  return [
    {
      ...texts,
      name: "CLIP's text encoder",
      graph: fluxClipGraph(clip, options),
      turn: 0,
      changed: changed.get('encoder1'),
    },
    // The first block is given the embedded words, which are not on the device yet.
    {
      ...texts,
      name: 'T5',
      graph: { ...ofT5.block, weights: [] },
      turn: 1,
      arrays: features.t5,
      onDevice: FIRST_OF_T5,
    },
    ...[withBlocks({ graph: ofT5.block, prefixes: ofT5.prefixes }, memory.t5 + SHARED_SETS), ofT5.output].map(
      (graph): Network => ({ ...texts, name: 'T5', graph, turn: 1, arrays: features.t5 }),
    ),
    { ...transformer, graph: condition },
    once(modulation.double),
    once(modulation.single),
    { ...transformer, graph: text, arrays: features.text },
    ...[
      image,
      withBlocks(double, memory.double + SHARED_SETS),
      join,
      withBlocks(single, memory.single + SHARED_SETS),
      output,
    ].map((graph): Network => ({ ...transformer, graph, arrays: features.text + features.workspace })),
    // What the pictures are made in stays for the next picture, unless networks take turns.
    {
      ...decoderNetwork(vae.config, plan, options, 3),
      ...(frugal ? {} : { arrays: features.text + features.workspace }),
    },
  ];
}

/** How many tokens a plan's pictures and prompts are. */
export function shapeOf(
  { t5 }: Pick<SizedFlux, 't5'>,
  { latent, flux }: Pick<Plan, 'latent' | 'flux'>,
): { readonly textTokens: number; readonly shape: FluxShape } {
  const textTokens = flux?.textTokens ?? t5.tokenizer.length;
  const { rows, columns } = tokenGrid(latent);
  return { textTokens, shape: { textTokens, imageTokens: rows * columns } };
}

/** Bytes of the arrays that features are in: of T5, of the embedded prompts, and of `createWorkspace`. */
function featureBytes(
  model: SizedFlux,
  plan: Plan,
  dtype: FloatType,
): Readonly<Record<'t5' | 'text' | 'workspace', number>> {
  const { t5, transformer } = model;
  const { textTokens, imageTokens } = shapeOf(model, plan).shape;
  const of = (values: number, type: FloatType): number => bufferBytes(values * (type === 'float16' ? 2 : 4));
  const width = fluxWidth(transformer.config);
  const tokens = textTokens + imageTokens;
  return {
    t5: of(t5.config.heads * textTokens * textTokens, dtype) + 2 * of(textTokens * t5.config.width, 'float32'),
    text: (plan.guided ? 2 : 1) * of(textTokens * width, dtype),
    workspace:
      2 * of((tokens * transformer.config.headDim) / 2, dtype) +
      2 * [textTokens, imageTokens, tokens].reduce((sum, rows) => sum + of(rows * width, dtype), 0),
  };
}

/** The graph with the weights of the first `count` of its blocks, and what is added beside those of all; what it runs is one of them. */
export function withBlocks({ graph, prefixes }: BlockGraph, count: number): Graph {
  const weights = prefixes.flatMap((prefix, i) =>
    graph.weights
      .filter(({ branch }) => i < count || branch !== undefined)
      .map((weight) => ({
        ...weight,
        name: prefix + weight.name,
        tensors: weight.tensors.map((tensor) => prefix + tensor),
      })),
  );
  return { ...graph, weights };
}
