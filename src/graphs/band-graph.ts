/**
 * @file One convolution of AutoencoderKL on one band of rows of a picture, so that all bands one after the other give what it gives on the whole. Between two
 * convolutions stands a GroupNorm, which needs the statistics of all bands: each graph measures what it made, and the next one is given mean and
 * deviation of each channel. A 3×3 convolution reads one row of each neighbour.
 */
import { affineSilu, cutRows, normAffine, rowMoments, stackRows, times } from '../onnx/bands.js';
import { writeGraph, type GraphOptions, type Image, type Net, type Tokens } from '../onnx/net.js';
import type { Graph } from '../onnx/types.js';
import { VAE_IO } from './autoencoder-kl.js';

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

/** One convolution with what comes before it; reads bands of `channels` and makes bands of `out`. */
export interface BandStage {
  /**
   * `first`, `second`: norm, SiLU, conv of a residual block. Of the decoder: `upsample`: nearest 2×, conv; `picture`: norm, SiLU, conv to colours. Of
   * the encoder: `colours`: conv of the picture; `downsample`: conv that halves.
   */
  readonly kind: 'first' | 'second' | 'upsample' | 'picture' | 'colours' | 'downsample';
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

/**
 * One stage on one band: see {@link BAND_IO}.
 * @param size of the band that it reads
 */
export function bandGraph(
  stage: BandStage,
  { rows, width }: { readonly rows: number; readonly width: number },
  options: GraphOptions,
): Graph {
  return writeGraph(`vae_band_${stage.kind}`, options, (root) => {
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
  if (stage.kind === 'colours') {
    const all = withNeighbours(net, body, body, (row) => row);
    return net.conv('conv_in', all, { channels: stage.out, pads });
  }
  if (stage.kind === 'downsample') {
    // Padded at the bottom and on the right alone, so that no row is read of the band above.
    const all = stackRows(
      net,
      body,
      neighbour(net, body, 'below', (row) => row),
    );
    return net.conv('conv', all, { channels: stage.out, stride: 2, pads: [0, 0, 0, 1] });
  }
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

/** `prepared` between the neighbours' rows, prepared alike. */
function withNeighbours(net: Net, body: Image, prepared: Image, prepare: (row: Image) => Image): Image {
  return stackRows(net, neighbour(net, body, 'above', prepare), prepared, neighbour(net, body, 'below', prepare));
}

/** A neighbour's row, prepared; zeros at the picture's edge, as a convolution pads. */
function neighbour(net: Net, body: Image, side: 'above' | 'below', prepare: (row: Image) => Image): Image {
  const keep = side === 'above' ? BAND_IO.keepAbove : BAND_IO.keepBelow;
  return times(net, prepare(net.image(BAND_IO[side], { ...body, h: 1 })), net.tokens(keep, { n: 1, s: 1, c: 1 }));
}
