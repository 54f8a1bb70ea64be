/**
 * @file AutoencoderKL: latents → picture (decoder) and picture → latent distribution (encoder).
 * Rombach et al. 2022, appendix G (https://arxiv.org/abs/2112.10752); diffusers `autoencoder_kl.py`, `vae.py`.
 */
import type { FloatType } from '../base/dtype.js';
import type { AutoencoderKLConfig } from '../models/configs/autoencoder-kl.js';
import type { Dialect } from '../onnx/dialects/dialect.js';
import { writeGraph, type Image, type Net } from '../onnx/net.js';
import type { Graph } from '../onnx/types.js';
import { downsample, resnetBlock, upsample } from './layers.js';

export const VAE_IO = { latents: 'latents', picture: 'picture', moments: 'moments' } as const;

/** Norms of the autoencoder all use this epsilon. */
export const EPS = 1e-6;

export interface AutoencoderShape {
  readonly batch: number;
  /** Height and width of the graph's input: latents for the decoder, pixels for the encoder. */
  readonly height: number;
  readonly width: number;
}

interface WriteOptions {
  readonly dialect: Dialect;
  readonly dtype: FloatType;
}

/** `latents` `[N,h,w,4]` (already divided by the scaling factor) → `picture` `[N,8h,8w,3]` in −1…1 before clamping. */
export function vaeDecoderGraph(
  config: AutoencoderKLConfig,
  { batch: n, height: h, width: w }: AutoencoderShape,
  options: WriteOptions,
): Graph {
  return writeGraph('vae_decoder', options, (net) => {
    const latents = net.image(VAE_IO.latents, { n, h, w, c: config.latentChannels });
    const x = decoderTrunk(net, config, latents, config.blockOutChannels.length);
    const decoder = net.at('decoder');
    const normal = decoder.groupNorm('conv_norm_out', x, { groups: config.normNumGroups, eps: EPS, silu: true });
    net.output(VAE_IO.picture, decoder.conv('conv_out', normal, { channels: config.outChannels }));
  });
}

/** The decoder's beginning, up to the residual blocks of its `blocks`-th up block: 2^(blocks − 1) times the latents' size. */
export function decoderTrunk(net: Net, config: AutoencoderKLConfig, latents: Image, blocks: number): Image {
  const channels = [...config.blockOutChannels].reverse();
  const groups = config.normNumGroups;
  const z = config.usePostQuantConv
    ? net.pointwise('post_quant_conv', latents, { channels: config.latentChannels })
    : latents;
  const decoder = net.at('decoder');
  let x = decoder.conv('conv_in', z, { channels: channels[0] ?? 0 });
  x = midBlock(decoder.at('mid_block'), config, x);
  channels.slice(0, blocks).forEach((width, i) => {
    if (i > 0) x = upsample(decoder.at(`up_blocks.${i - 1}`), x);
    for (let j = 0; j < config.layersPerBlock + 1; j++) {
      const block = decoder.at(`up_blocks.${i}.resnets.${j}`);
      x = resnetBlock(block, x, undefined, { channels: width, groups, eps: EPS });
    }
  });
  return x;
}

/** `picture` `[N,H,W,3]` in −1…1 → `moments` `[N,H/8,W/8,8]`: mean and log-variance of the latent distribution. */
export function vaeEncoderGraph(
  config: AutoencoderKLConfig,
  { batch: n, height: h, width: w }: AutoencoderShape,
  options: WriteOptions,
): Graph {
  return writeGraph('vae_encoder', options, (net) => {
    const picture = net.image(VAE_IO.picture, { n, h, w, c: config.inChannels });
    const x = net.at('encoder').conv('conv_in', picture, { channels: config.blockOutChannels[0] ?? 0 });
    net.output(VAE_IO.moments, encoderTail(net, config, x, 0));
  });
}

/** The encoder's end, from its down block `first` on: what that reads → the moments. */
export function encoderTail(root: Net, config: AutoencoderKLConfig, input: Image, first: number): Image {
  const net = root.at('encoder');
  const channels = config.blockOutChannels;
  const groups = config.normNumGroups;
  let x = input;
  channels.forEach((width, i) => {
    if (i < first) return;
    const block = net.at(`down_blocks.${i}`);
    for (let j = 0; j < config.layersPerBlock; j++) {
      x = resnetBlock(block.at(`resnets.${j}`), x, undefined, { channels: width, groups, eps: EPS });
    }
    if (i < channels.length - 1) x = downsample(block, x, 0);
  });
  x = midBlock(net.at('mid_block'), config, x);
  x = net.groupNorm('conv_norm_out', x, { groups, eps: EPS, silu: true });
  x = net.conv('conv_out', x, { channels: 2 * config.latentChannels });
  return config.useQuantConv ? root.pointwise('quant_conv', x, { channels: 2 * config.latentChannels }) : x;
}

function midBlock(net: Net, config: AutoencoderKLConfig, x: Image): Image {
  const options = { channels: x.c, groups: config.normNumGroups, eps: EPS };
  x = resnetBlock(net.at('resnets.0'), x, undefined, options);
  if (config.midBlockAttention) x = attentionBlock(net.at('attentions.0'), x, config.normNumGroups);
  return resnetBlock(net.at('resnets.1'), x, undefined, options);
}

/** Self-attention over all pixels with a single head as wide as the channels. */
function attentionBlock(net: Net, x: Image, groups: number): Image {
  const tokens = net.toTokens(net.groupNorm('group_norm', x, { groups, eps: EPS }));
  const channels = x.c;
  const q = net.linear('to_q', tokens, { channels });
  const k = net.linear('to_k', tokens, { channels });
  const v = net.linear('to_v', tokens, { channels });
  const y = net.linear('to_out.0', net.wideAttention(q, k, v), { channels });
  return net.add(x, net.toImage(y, x.h, x.w));
}
