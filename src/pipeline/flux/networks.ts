/** @file The networks of a FLUX.1 request as graphs, in the order of their use, told from configs and weight headers: what paint.ts will load. */
import type { ChangedNetwork } from '../../assets/weight-change.js';
import { FLUX_IO } from '../../graphs/flux.js';
import { tokenGrid } from '../../graphs/flux-tokens.js';
import { T5_IO } from '../../graphs/t5.js';
import type { GraphOptions } from '../../onnx/net.js';
import type { Graph } from '../../onnx/types.js';
import { decoderNetwork, type Network, type NetworkOptions } from '../networks.js';
import type { Plan } from '../plan.js';
import { fluxClipGraph, fluxWeights, onceGraphs, stepGraphs, type BlockGraph } from './graphs.js';
import type { FluxModel } from './model.js';
import { t5Graphs } from './t5-encoder.js';

type SizedFlux = Pick<FluxModel, 'clip' | 't5' | 'transformer' | 'vae' | 'weightBits'>;

/** Sets of buffers that blocks share where they take turns. */
const RING = 2;

/** Features that go from block to block. */
const ON_DEVICE: ReadonlySet<string> = new Set([
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

/** @param inTurn whether blocks share two sets of buffers, or each has its own */
export function fluxNetworks(
  model: SizedFlux,
  plan: Plan,
  { dialect, dtype }: Pick<NetworkOptions, 'dialect' | 'dtype'>,
  changed: ReadonlyMap<ChangedNetwork, ReadonlySet<string>>,
  inTurn: boolean,
): readonly Network[] {
  const { clip, t5, vae } = model;
  const options: GraphOptions = { dialect, dtype };
  const textTokens = plan.flux?.textTokens ?? t5.tokenizer.length;
  const { rows, columns } = tokenGrid(plan.latent);
  const ofT5 = t5Graphs(t5, textTokens, options);
  const weights = fluxWeights(model, changed);
  const shape = { textTokens, imageTokens: rows * columns };
  const { image, double, join, single, output } = stepGraphs(weights, shape, options);
  const { text, condition, modulation } = onceGraphs(weights, shape, plan.steps, options);
  const all = (block: BlockGraph): Graph => withBlocks(block, inTurn ? RING : block.prefixes.length);
  const network = (name: string, kind: Network['kind'], graph: Graph, turn: number): Network => ({
    name,
    kind,
    graph,
    turn,
    onDevice: ON_DEVICE,
  });
  return [
    {
      ...network("CLIP's text encoder", 'text', fluxClipGraph(clip, { dialect, dtype }), 0),
      changed: changed.get('encoder1'),
    },
    network('T5', 'text', all({ graph: ofT5.block, prefixes: ofT5.prefixes }), 1),
    network("T5's last norm", 'text', ofT5.output, 1),
    ...[
      condition,
      all(modulation.double),
      all(modulation.single),
      text,
      image,
      all(double),
      join,
      all(single),
      output,
    ].map((graph) => ({
      ...network('the transformer', 'unet', graph, 2),
      changed: weights.floats,
    })),
    decoderNetwork(vae.config, plan, { dialect }, 3),
  ];
}

/** The graph with the weights of the first `count` of its blocks; what it runs is one of them. */
function withBlocks({ graph, prefixes }: BlockGraph, count: number): Graph {
  const weights = prefixes.slice(0, count).flatMap((prefix) =>
    graph.weights.map((weight) => ({
      ...weight,
      name: prefix + weight.name,
      tensors: weight.tensors.map((tensor) => prefix + tensor),
    })),
  );
  return { ...graph, weights };
}
