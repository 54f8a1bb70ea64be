/**
 * @file UNet2DConditionModel: noisy latents + time + text → the network's prediction. Read top to bottom like the paper
 * (Rombach et al. 2022, https://arxiv.org/abs/2112.10752; diffusers `unet_2d_condition.py`).
 */
import type { Dialect } from '../onnx/dialects/dialect.js';
import { writeGraph, type Image, type Net, type Tokens } from '../onnx/net.js';
import type { Graph } from '../onnx/types.js';
import type { FloatType } from '../base/dtype.js';
import type { UNetConfig } from '../models/configs/unet.js';
import { downsample, resnetBlock, spatialTransformer, upsample } from './layers.js';

/** What a UNet graph is made for. */
export interface UNetShape {
  /** 1, or 2 with classifier-free guidance. */
  readonly batch: number;
  /** Latent height and width (picture / 8). */
  readonly height: number;
  readonly width: number;
  /** Tokens of text per picture: 77 per chunk. */
  readonly textTokens: number;
}

/** Names of the graph's inputs and outputs. */
export const UNET_IO = {
  sample: 'sample',
  time: 'time_sinusoid',
  text: 'encoder_hidden_states',
  /** SDXL: pooled text and sinusoids of the time ids, side by side. */
  added: 'added_conditions',
  /** LCM: sinusoid of the guidance scale. */
  guidance: 'timestep_cond',
  output: 'out_sample',
} as const;

/**
 * Inputs: `sample` `[N,H,W,in_channels]` (dialect layout), `time_sinusoid` `[N, C₀]` (see {@link timestepSinusoid}),
 * `encoder_hidden_states` `[N·S, D]`, and where the config asks for them `added_conditions` and `timestep_cond` (`[N, ·]`). Output: `out_sample` `[N,H,W,out_channels]`.
 * @throws invalidGraph where a width does not fit.
 */
export function unetGraph(
  config: UNetConfig,
  shape: UNetShape,
  options: { readonly dialect: Dialect; readonly dtype: FloatType },
): Graph {
  const { batch: n, height: h, width: w } = shape;
  return writeGraph('unet', options, (net) => {
    const sample = net.image(UNET_IO.sample, { n, h, w, c: config.inChannels });
    const sinusoid = net.tokens(UNET_IO.time, { n, s: 1, c: first(config.blockOutChannels) });
    const text = net.tokens(UNET_IO.text, { n, s: shape.textTokens, c: first(config.crossAttentionDim) });
    const { addition, timeCondProjDim } = config;
    const added = addition && net.tokens(UNET_IO.added, { n, s: 1, c: addition.inputDim });
    const guidance =
      timeCondProjDim === undefined ? undefined : net.tokens(UNET_IO.guidance, { n, s: 1, c: timeCondProjDim });
    net.output(UNET_IO.output, unet(net, config, { sample, sinusoid, text, added, guidance }));
  });
}

interface UNetInputs {
  readonly sample: Image;
  readonly sinusoid: Tokens;
  readonly text: Tokens;
  readonly added: Tokens | undefined;
  readonly guidance: Tokens | undefined;
}

function unet(net: Net, config: UNetConfig, inputs: UNetInputs): Image {
  const { sample, text } = inputs;
  const time = timeEmbedding(net, config, inputs);
  const levels = config.blockOutChannels.map((channels, level) => levelOf(config, channels, level));
  const { normNumGroups: groups, normEps: eps } = config;

  let x = net.conv('conv_in', sample, { channels: first(config.blockOutChannels), kernel: config.convInKernel });
  const skips: Image[] = [x];
  levels.forEach((level, i) => {
    const block = net.at(`down_blocks.${i}`);
    for (let j = 0; j < level.layers; j++) {
      x = resnetBlock(block.at(`resnets.${j}`), x, time, level);
      if (level.attendsDown) x = spatialTransformer(block.at(`attentions.${j}`), x, text, level);
      skips.push(x);
    }
    if (i < levels.length - 1) {
      x = downsample(block, x, config.downsamplePadding);
      skips.push(x);
    }
  });

  x = midBlock(net.at('mid_block'), x, { time, text, config, level: last(levels) });

  [...levels].reverse().forEach((level, i) => {
    const block = net.at(`up_blocks.${i}`);
    for (let j = 0; j < level.layers + 1; j++) {
      x = net.at(`up_blocks.${i}.resnets.${j}`).concat(x, pop(skips));
      x = resnetBlock(block.at(`resnets.${j}`), x, time, level);
      if (level.attendsUp) x = spatialTransformer(block.at(`attentions.${j}`), x, text, level);
    }
    if (i < levels.length - 1) x = upsample(block, x);
  });

  x = net.groupNorm('conv_norm_out', x, { groups, eps, silu: true });
  return net.conv('conv_out', x, { channels: config.outChannels, kernel: config.convOutKernel });
}

/**
 * MLP on the sinusoid of the timestep (plus, in LCM, a projection of the guidance scale's), plus in SDXL (Podell et al. 2023, §2.2) an
 * MLP on the added conditions. The result is SiLU of the sum, since every reader applies it first.
 */
function timeEmbedding(
  net: Net,
  { timeEmbeddingDim: channels }: UNetConfig,
  { sinusoid, guidance, added }: UNetInputs,
): Tokens {
  const mlp = (at: Net, x: Tokens): Tokens =>
    at.linear('linear_2', at.activate(at.linear('linear_1', x, { channels }), 'silu'), { channels });
  const embedding = net.at('time_embedding');
  const x =
    guidance === undefined
      ? sinusoid
      : embedding.add(sinusoid, embedding.linear('cond_proj', guidance, { channels: sinusoid.c, bias: false }));
  const time = mlp(embedding, x);
  return embedding.activate(
    added === undefined ? time : embedding.add(time, mlp(net.at('add_embedding'), added)),
    'silu',
  );
}

function midBlock(
  net: Net,
  x: Image,
  {
    time,
    text,
    config,
    level,
  }: { readonly time: Tokens; readonly text: Tokens; readonly config: UNetConfig; readonly level: Level },
): Image {
  if (config.midBlockType === undefined) return x;
  const options = { ...level, outputScale: config.midBlockScaleFactor };
  x = resnetBlock(net.at('resnets.0'), x, time, options);
  if (config.midBlockType === 'UNetMidBlock2DCrossAttn')
    x = spatialTransformer(net.at('attentions.0'), x, text, { ...level, onlyCrossAttention: false });
  else return x;
  return resnetBlock(net.at('resnets.1'), x, time, options);
}

/** Everything that one resolution needs to know. */
interface Level {
  readonly channels: number;
  readonly layers: number;
  readonly heads: number;
  readonly depth: number;
  readonly groups: number;
  readonly eps: number;
  readonly onlyCrossAttention: boolean;
  readonly attendsDown: boolean;
  readonly attendsUp: boolean;
}

function levelOf(config: UNetConfig, channels: number, level: number): Level {
  const up = config.upBlockTypes.length - 1 - level;
  return {
    channels,
    layers: config.layersPerBlock[level] ?? 1,
    heads: config.heads[level] ?? 1,
    depth: config.transformerLayersPerBlock[level] ?? 1,
    groups: config.normNumGroups,
    eps: config.normEps,
    onlyCrossAttention: config.onlyCrossAttention[level] ?? false,
    attendsDown: config.downBlockTypes[level] === 'CrossAttnDownBlock2D',
    attendsUp: config.upBlockTypes[up] === 'CrossAttnUpBlock2D',
  };
}

/**
 * Sinusoidal time features (Vaswani et al. 2017, §3.5, as in diffusers `get_timestep_embedding`), `[dim]`, made on the CPU in
 * float32 like torch does, since GPU sin/cos are only good to 2e-4.
 */
export function timestepSinusoid(
  timestep: number,
  dim: number,
  options: { readonly flipSinToCos: boolean; readonly freqShift: number },
): Float32Array {
  const half = dim >> 1;
  const out = new Float32Array(dim);
  for (let i = 0; i < half; i++) {
    const exponent = Math.fround(Math.fround(-Math.log(10000) * i) / (half - options.freqShift));
    const angle = Math.fround(Math.fround(timestep) * Math.fround(Math.exp(exponent)));
    out[options.flipSinToCos ? half + i : i] = Math.sin(angle);
    out[options.flipSinToCos ? i : half + i] = Math.cos(angle);
  }
  return out;
}

function first(list: readonly number[]): number {
  return list[0] ?? 0;
}

function last<T>(list: readonly T[]): T {
  const item = list[list.length - 1];
  if (item === undefined) throw new RangeError('a UNet has at least one level');
  return item;
}

function pop(skips: Image[]): Image {
  const skip = skips.pop();
  if (skip === undefined) throw new RangeError('the up blocks read more skips than the down blocks wrote');
  return skip;
}
