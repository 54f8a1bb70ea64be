/** @file How large the parts of a FLUX.1 model are on the device, told from its graphs. */
import { flopsOf } from '../../onnx/cost.js';
import { EMPTY_POOL, giveBack, planRun, type BufferPool } from '../../onnx/buffer-pool.js';
import { bufferBytes, peakLiveBytes, valueBytes } from '../../onnx/liveness.js';
import type { GraphOptions } from '../../onnx/net.js';
import type { Graph } from '../../onnx/types.js';
import { decoderNetwork } from '../networks.js';
import type { Plan } from '../plan.js';
import { branchBytes, deviceBytes, type NamedTensors } from '../weight-bytes.js';
import { fluxClipGraph, type BlockGraph, type OnceGraphs, type StepGraphs } from './graphs.js';
import type { FluxSizes } from './memory.js';
import type { FluxModel } from './model.js';
import { ON_DEVICE } from './networks.js';
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
  changed: NamedTensors,
  options: GraphOptions,
): FluxSizes {
  const blockBytes = ({ graph, prefixes }: BlockGraph): number => deviceBytes(graph, changed, prefixes[0]);
  /** Of all blocks, since they stay. */
  const besideBlocks = ({ graph, prefixes }: BlockGraph): number => prefixes.length * branchBytes(graph);
  const endBytes = (graph: Graph): number => deviceBytes(graph, changed) + branchBytes(graph);
  const text = t5Graphs(t5, tokens, options);
  const { image, double, single, output, condition, modulation } = graphs;
  const { graph: decoder } = decoderNetwork(vae.config, { latent }, options, 0);
  return {
    clip: deviceBytes(fluxClipGraph(clip, { dialect: options.dialect, dtype: 'float32' })),
    t5Block: deviceBytes(text.block),
    t5Blocks: text.prefixes.length,
    doubleBlock: blockBytes(double),
    doubleBlocks: double.prefixes.length,
    singleBlock: blockBytes(single),
    singleBlocks: single.prefixes.length,
    doubleBrought: deviceBytes(double.graph),
    singleBrought: deviceBytes(single.graph),
    doubleFlops: flopsOf(double.graph),
    singleFlops: flopsOf(single.graph),
    modulation: [modulation.double, modulation.single].reduce(
      (sum, block) => sum + block.prefixes.length * blockBytes(block) + besideBlocks(block),
      0,
    ),
    ends: [image, graphs.text, condition, output].reduce(
      (sum, graph) => sum + endBytes(graph),
      besideBlocks(double) + besideBlocks(single),
    ),
    vae: deviceBytes(decoder),
    runs: pooledBytes([text.block, double.graph, single.graph, output]) + featureBytes([double.graph, single.graph]),
    decoding: peakLiveBytes(decoder),
  };
}

/** What ONNX Runtime keeps of the runs of these graphs, of each of them two. */
function pooledBytes(graphs: readonly Graph[]): number {
  const binding = { onDevice: ON_DEVICE, given: true };
  const run = (pool: BufferPool, graph: Graph): BufferPool =>
    giveBack(planRun(graph, binding)(pool).pool, graph, binding);
  return graphs.reduce((pool, graph) => run(run(pool, graph), graph), EMPTY_POOL).bytes;
}

/** The arrays that features are in which go from block to block. */
function featureBytes(graphs: readonly Graph[]): number {
  const features = graphs.flatMap(({ inputs, outputs }) => [...inputs, ...outputs]);
  const byName = new Map(features.map(({ name, value }) => [name, bufferBytes(valueBytes(value))]));
  return [...byName].reduce((sum, [name, bytes]) => sum + (ON_DEVICE.has(name) ? bytes : 0), 0);
}
