/**
 * @file The decoder of AutoencoderKL in bands of rows, with the result of the whole one: its beginning as one graph that cuts the picture
 * into bands, then a graph for each convolution that runs on one band after the other. Between two convolutions stands a GroupNorm, which
 * needs the statistics of all bands: each graph measures what it made, and the next one is given mean and deviation of each channel.
 * A 3×3 convolution reads one row of each neighbour.
 */
import { affineSilu, cutRows, normAffine, rowMoments, stackRows, times } from '../onnx/bands.js';
import type { AutoencoderKLConfig } from '../models/configs/autoencoder-kl.js';
import { writeGraph, type GraphOptions, type Image, type Net, type Tokens } from '../onnx/net.js';
import type { Graph } from '../onnx/types.js';
import { decoderTrunk, VAE_IO } from './autoencoder-kl.js';

/** Inputs and outputs of {@link bandGraph}. */
export const BAND_IO = {
  /** A band, `[1,rows,W,C]`. */
  body: 'body',
  /** The last row of the band above and the first of the band below, `[1,1,W,C]`; any numbers at the picture's edge. */
  above: 'above',
  below: 'below',
  /** `[1,1]`: 1, or 0 at the picture's edge. */
  keepAbove: 'keepAbove',
  keepBelow: 'keepBelow',
  /** Of each channel's group, `[1,C]`. */
  mean: 'mean',
  /** 1/√(variance + eps), `[1,C]`. */
  rstd: 'rstd',
  /** What the residual block adds to its second convolution. */
  skip: 'skip',
  /** The band that was made, and its first and last row once more, as the neighbours will need them. */
  made: 'made',
  first: 'first',
  last: 'last',
  /** Of the band that was made: `[2·rows, C]`, rows of means, then of variances, each over the width. */
  moments: 'moments',
  picture: VAE_IO.picture,
} as const;

/** Outputs of {@link bandedTrunkGraph}. */
export const trunkOutput = (part: 'made' | 'first' | 'last', band: number): string => `${part}.${band}`;

/** One convolution of the decoder with what comes before it; reads bands of `channels` and makes bands of `out`. */
export interface BandStage {
  /** `upsample`: nearest 2×, conv. `first`, `second`: norm, SiLU, conv of a residual block. `picture`: norm, SiLU, conv to colours. */
  readonly kind: 'upsample' | 'first' | 'second' | 'picture';
  readonly module: string;
  /** What it reads has 2^level times the latents' size. */
  readonly level: number;
  readonly channels: number;
  readonly out: number;
  /** Whether a residual block of `first` and `second` changes the width, so that what it adds passes a 1×1 convolution. */
  readonly widens: boolean;
  /** Whether a norm follows. */
  readonly measured: boolean;
}

/** The stages behind the first `blocks` up blocks. */
export function bandStages(config: AutoencoderKLConfig, blocks: number): readonly BandStage[] {
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

/**
 * One stage on one band: see {@link BAND_IO}.
 * @param size of the band that it reads
 */
export function bandGraph(
  stage: BandStage,
  { rows, width }: { readonly rows: number; readonly width: number },
  options: GraphOptions,
): Graph {
  return writeGraph(`vae_decoder_${stage.kind}`, options, (root) => {
    const net = root.at(stage.module);
    const size = { n: 1, h: rows, w: width, c: stage.channels };
    const body = net.image(BAND_IO.body, size);
    const made = convolved(net, stage, body);
    const total = stage.kind === 'second' ? net.add(net.image(BAND_IO.skip, { ...size, c: stage.out }), made) : made;
    if (stage.kind === 'picture') return net.output(BAND_IO.picture, total);
    if (stage.kind === 'first' && stage.widens)
      net.output(BAND_IO.skip, net.pointwise('conv_shortcut', body, { channels: stage.out, bias: false }));
    net.output(BAND_IO.made, total);
    net.output(BAND_IO.first, cutRows(net, total, 0, 1));
    net.output(BAND_IO.last, cutRows(net, total, total.h - 1, total.h));
    if (stage.measured) net.output(BAND_IO.moments, rowMoments(net, total));
  });
}

/** Names of norm and convolution in a stage's module. */
const NAMES = {
  first: { norm: 'norm1', conv: 'conv1' },
  second: { norm: 'norm2', conv: 'conv2' },
  picture: { norm: 'conv_norm_out', conv: 'conv_out' },
} as const;

/** The convolution of a stage, of a band with a row of each neighbour. */
function convolved(net: Net, stage: BandStage, body: Image): Image {
  const pads = [0, 1, 0, 1] as const;
  if (stage.kind === 'upsample') {
    const doubled = net.upsample2x(body);
    const all = withNeighbours(net, body, doubled, (row) => cutRows(net, net.upsample2x(row), 0, 1));
    return net.conv('conv', all, { channels: stage.out, pads });
  }
  const { norm, conv } = NAMES[stage.kind];
  const vector = (name: string): Tokens => net.tokens(name, { n: 1, s: 1, c: stage.channels });
  const affine = normAffine(net, norm, vector(BAND_IO.mean), vector(BAND_IO.rstd));
  const normal = (x: Image): Image => affineSilu(net, x, affine);
  const plusBias = stage.kind === 'second' && stage.widens ? { plusBias: 'conv_shortcut.bias' } : {};
  return net.conv(conv, withNeighbours(net, body, normal(body), normal), { channels: stage.out, pads, ...plusBias });
}

/** `prepared` between the neighbours' rows, prepared alike; zeros at the picture's edges, as a convolution pads. */
function withNeighbours(net: Net, body: Image, prepared: Image, prepare: (row: Image) => Image): Image {
  const row = (name: string, keep: string): Image =>
    times(net, prepare(net.image(name, { ...body, h: 1 })), net.tokens(keep, { n: 1, s: 1, c: 1 }));
  const above = row(BAND_IO.above, BAND_IO.keepAbove);
  return stackRows(net, above, prepared, row(BAND_IO.below, BAND_IO.keepBelow));
}
