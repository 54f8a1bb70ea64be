/**
 * @file The decoder of AutoencoderKL in bands of rows, with the result of the whole one: its beginning as one graph that cuts the picture
 * into bands, then a graph for each convolution (band-graph.ts) that runs on one band after the other.
 */
import type { AutoencoderKLConfig } from '../models/configs/autoencoder-kl.js';
import { cutRows } from '../onnx/bands.js';
import { writeGraph, type GraphOptions } from '../onnx/net.js';
import type { Graph } from '../onnx/types.js';
import { decoderTrunk, VAE_IO } from './autoencoder-kl.js';
import type { BandStage } from './band-graph.js';

/** Outputs of {@link bandedTrunkGraph}. */
export const trunkOutput = (part: 'made' | 'first' | 'last', band: number): string => `${part}.${band}`;

/** The stages behind the first `blocks` up blocks. */
export function decoderStages(config: AutoencoderKLConfig, blocks: number): readonly BandStage[] {
  const widths = [...config.blockOutChannels].reverse();
  const top = widths.length - 1;
  const stages: BandStage[] = [];
  for (let level = blocks; level <= top; level++) {
    const [before = 0, width = 0] = [widths[level - 1], widths[level]];
    const upsampler = `decoder.up_blocks.${level - 1}.upsamplers.0`;
    const plain = { widens: false, measured: true };
    stages.push({ kind: 'upsample', module: upsampler, level: level - 1, channels: before, out: before, ...plain });
    for (let j = 0; j <= config.layersPerBlock; j++) {
      const module = `decoder.up_blocks.${level}.resnets.${j}`;
      const channels = j === 0 ? before : width;
      const block = { module, level, out: width, widens: channels !== width };
      const measured = j < config.layersPerBlock || level === top;
      stages.push({ kind: 'first', ...block, channels, measured: true });
      stages.push({ kind: 'second', ...block, channels: width, measured });
    }
  }
  const last = { module: 'decoder', level: top, channels: widths[top] ?? 0, out: config.outChannels };
  return [...stages, { kind: 'picture', ...last, widens: false, measured: false }];
}

/**
 * `latents` `[1,h,w,C]` (divided by the scaling factor) → the rows behind the first `blocks` up blocks, cut into bands: of band i `made.i`, and
 * its edges `first.i` and `last.i`.
 * @param heights rows of latents in each band, h in all
 */
export function bandedTrunkGraph(
  config: AutoencoderKLConfig,
  { width, heights, blocks }: { readonly width: number; readonly heights: readonly number[]; readonly blocks: number },
  options: GraphOptions,
): Graph {
  return writeGraph('vae_decoder_trunk', options, (net) => {
    const h = heights.reduce((a, b) => a + b, 0);
    const latents = net.image(VAE_IO.latents, { n: 1, h, w: width, c: config.latentChannels });
    const x = decoderTrunk(net, config, latents, blocks);
    let from = 0;
    heights.forEach((height, band) => {
      const to = from + height * 2 ** (blocks - 1);
      net.output(trunkOutput('made', band), cutRows(net, x, from, to));
      net.output(trunkOutput('first', band), cutRows(net, x, from, from + 1));
      net.output(trunkOutput('last', band), cutRows(net, x, to - 1, to));
      from = to;
    });
  });
}
