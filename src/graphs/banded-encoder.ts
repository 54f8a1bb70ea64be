/**
 * @file The encoder of AutoencoderKL in bands of rows, with the result of the whole one: a graph for each convolution (band-graph.ts) that runs on one band
 * after the other, then the end as one graph that puts the bands together.
 */
import type { AutoencoderKLConfig } from '../models/configs/autoencoder-kl.js';
import { stackRows } from '../onnx/bands.js';
import { writeGraph, type GraphOptions, type Image } from '../onnx/net.js';
import type { Graph } from '../onnx/types.js';
import { encoderTail, VAE_IO } from './autoencoder-kl.js';
import type { BandStage } from './band-graph.js';

/** Inputs of {@link bandedTailGraph}. */
export const tailInput = (band: number): string => `band.${band}`;

/** The stages before the last `blocks` down blocks. */
export function encoderStages(config: AutoencoderKLConfig, blocks: number): readonly BandStage[] {
  const widths = config.blockOutChannels;
  const top = widths.length - 1;
  const [narrowest = 0] = widths;
  const colours = { kind: 'colours', module: 'encoder', level: top, channels: config.inChannels } as const;
  const stages: BandStage[] = [{ ...colours, out: narrowest, widens: false, measured: true }];
  for (let i = 0; i <= top - blocks; i++) {
    const [before, width] = [widths[i - 1] ?? narrowest, widths[i] ?? 0];
    const level = top - i;
    for (let j = 0; j < config.layersPerBlock; j++) {
      const module = `encoder.down_blocks.${i}.resnets.${j}`;
      const channels = j === 0 ? before : width;
      const block = { module, level, out: width, widens: channels !== width };
      stages.push({ kind: 'first', ...block, channels, measured: true });
      stages.push({ kind: 'second', ...block, channels: width, measured: j < config.layersPerBlock - 1 });
    }
    const module = `encoder.down_blocks.${i}.downsamplers.0`;
    const halved = { module, level, channels: width, out: width, widens: false };
    stages.push({ kind: 'downsample', ...halved, measured: i < top - blocks });
  }
  return stages;
}

/**
 * What the stages made, `band.i` from top to bottom → `moments` `[1,h,w,2C]`: the last `blocks` down blocks and the rest, on the whole picture.
 * @param heights rows of latents in each band, h in all; `width`: columns of latents
 */
export function bandedTailGraph(
  config: AutoencoderKLConfig,
  { width, heights, blocks }: { readonly width: number; readonly heights: readonly number[]; readonly blocks: number },
  options: GraphOptions,
): Graph {
  return writeGraph('vae_encoder_tail', options, (net) => {
    const first = config.blockOutChannels.length - blocks;
    const scale = 2 ** (blocks - 1);
    const c = config.blockOutChannels[first - 1] ?? 0;
    const bands = heights.map((height, i): Image =>
      net.image(tailInput(i), { n: 1, h: height * scale, w: width * scale, c }),
    );
    const [top, ...others] = bands;
    if (top === undefined) throw new TypeError('a picture has at least one band');
    net.output(VAE_IO.moments, encoderTail(net, config, stackRows(net, top, ...others), first));
  });
}
