/** @file How large the parts of a FLUX.1 model are on the device, told from its graphs. */
import { elementCount } from '../../base/dtype.js';
import { clipTextGraph } from '../../graphs/clip-text.js';
import { peakLiveBytes } from '../../onnx/liveness.js';
import type { GraphOptions } from '../../onnx/net.js';
import { deviceBytes } from './bytes.js';
import type { BlockGraph, OnceGraphs, StepGraphs } from './graphs.js';
import type { FluxSizes } from './memory.js';
import type { FluxModel } from './model.js';
import { t5Graphs } from './t5-encoder.js';

/**
 * @param tokens of the text
 * @param changed tensors of the transformer that LoRAs change; those of one block stand for all
 */
export function fluxSizes(
  { clip, t5, vae }: Pick<FluxModel, 'clip' | 't5' | 'vae'>,
  graphs: OnceGraphs & StepGraphs,
  tokens: number,
  changed: ReadonlySet<string>,
  options: GraphOptions,
): FluxSizes {
  const blockBytes = ({ graph, prefixes }: BlockGraph): number => deviceBytes(graph, changed, prefixes[0]);
  const text = t5Graphs(t5, tokens, options);
  const clipShape = {
    tokens: clip.tokenizer.length,
    hidden: [{ skip: 0, norm: true }],
    projected: false,
    masked: false,
  };
  const { image, double, single, output, condition, modulation } = graphs;
  const runs = [double.graph, single.graph].map((graph) => peakLiveBytes(graph));
  return {
    clip: deviceBytes(clipTextGraph(clip.config, clipShape, { dialect: options.dialect, dtype: 'float32' })),
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
    vae: [...vae.file.tensors.values()].reduce((sum, { shape }) => sum + 4 * elementCount(shape), 0),
    runs: runs.reduce((sum, bytes) => sum + bytes, 0),
    decoding: peakLiveBytes(decoder),
  };
}
