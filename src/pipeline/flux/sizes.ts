/** @file How large the parts of a FLUX.1 model are on the device, told from its graphs. */
import { peakLiveBytes } from '../../onnx/liveness.js';
import type { GraphOptions } from '../../onnx/net.js';
import { decoderNetwork } from '../networks.js';
import type { Plan } from '../plan.js';
import { deviceBytes } from '../weight-bytes.js';
import { fluxClipGraph, type BlockGraph, type OnceGraphs, type StepGraphs } from './graphs.js';
import type { FluxSizes } from './memory.js';
import type { FluxModel } from './model.js';
import { t5Graphs } from './t5-encoder.js';

/** What decides about them besides the model. */
export interface SizedTask {
  /** Of the text. */
  readonly tokens: number;
  readonly latent: Plan['latent'];
}

/**
 * @param changed tensors of the transformer that LoRAs change; those of one block stand for all
 */
export function fluxSizes(
  { clip, t5, vae }: Pick<FluxModel, 'clip' | 't5' | 'vae'>,
  graphs: OnceGraphs & StepGraphs,
  { tokens, latent }: SizedTask,
  changed: ReadonlySet<string>,
  options: GraphOptions,
): FluxSizes {
  const blockBytes = ({ graph, prefixes }: BlockGraph): number => deviceBytes(graph, changed, prefixes[0]);
  const text = t5Graphs(t5, tokens, options);
  const { image, double, single, output, condition, modulation } = graphs;
  const { graph: decoder } = decoderNetwork(vae.config, { latent }, options, 0);
  const runs = [double.graph, single.graph].map((graph) => peakLiveBytes(graph));
  return {
    clip: deviceBytes(fluxClipGraph(clip, { dialect: options.dialect, dtype: 'float32' })),
    t5Block: deviceBytes(text.block),
    t5Blocks: text.prefixes.length,
    doubleBlock: blockBytes(double),
    doubleBlocks: double.prefixes.length,
    singleBlock: blockBytes(single),
    singleBlocks: single.prefixes.length,
    modulation: [modulation.double, modulation.single].reduce(
      (sum, block) => sum + block.prefixes.length * blockBytes(block),
      0,
    ),
    ends: [image, graphs.text, condition, output].reduce((sum, graph) => sum + deviceBytes(graph, changed), 0),
    vae: deviceBytes(decoder),
    runs: runs.reduce((sum, bytes) => sum + bytes, 0),
    decoding: peakLiveBytes(decoder),
  };
}
