/**
 * @file The half that a UNet and its ControlNets have in common: time embedding, down blocks, mid block (Rombach et al. 2022; diffusers
 * `unet_2d_condition.py` and `controlnet.py`), its inputs, and the sizes of what it hands over.
 */
import type { UNetEncoderConfig } from '../models/configs/unet.js';
import type { ImageSize } from '../onnx/dialects/dialect.js';
import type { Image, Net, Tokens } from '../onnx/net.js';
import { downsample, resnetBlock, spatialTransformer } from './layers.js';

/** What a graph is made for. */
export interface UNetShape {
  /** 1, or 2 with classifier-free guidance. */
  readonly batch: number;
  /** Latent height and width (picture / 8). */
  readonly height: number;
  readonly width: number;
  /** Tokens of text per picture: 77 per chunk. */
  readonly textTokens: number;
}

/** Names of the inputs that both kinds of graph have. */
export const ENCODER_IO = {
  sample: 'sample',
  time: 'time_sinusoid',
  text: 'encoder_hidden_states',
  /** SDXL: pooled text and sinusoids of the time ids, side by side. */
  added: 'added_conditions',
  /** LCM: sinusoid of the guidance scale. */
  guidance: 'timestep_cond',
} as const;

export interface EncoderInputs {
  readonly sample: Image;
  readonly sinusoid: Tokens;
  readonly text: Tokens;
  readonly added: Tokens | undefined;
  readonly guidance: Tokens | undefined;
}

/** Declares the inputs that the config asks for. */
export function encoderInputs(net: Net, config: UNetEncoderConfig, shape: UNetShape): EncoderInputs {
  const { batch: n, height: h, width: w } = shape;
  const { addition, timeCondProjDim } = config;
  return {
    sample: net.image(ENCODER_IO.sample, { n, h, w, c: config.inChannels }),
    sinusoid: net.tokens(ENCODER_IO.time, { n, s: 1, c: config.blockOutChannels[0] ?? 0 }),
    text: net.tokens(ENCODER_IO.text, { n, s: shape.textTokens, c: config.crossAttentionDim[0] ?? 0 }),
    added: addition && net.tokens(ENCODER_IO.added, { n, s: 1, c: addition.inputDim }),
    guidance:
      timeCondProjDim === undefined ? undefined : net.tokens(ENCODER_IO.guidance, { n, s: 1, c: timeCondProjDim }),
  };
}

/**
 * MLP on the sinusoid of the timestep (plus, in LCM, a projection of the guidance scale's), plus in SDXL (Podell et al. 2023, §2.2) an
 * MLP on the added conditions. The result is SiLU of the sum, since every reader applies it first.
 */
export function timeEmbedding(
  net: Net,
  { timeEmbeddingDim: channels }: UNetEncoderConfig,
  { sinusoid, guidance, added }: EncoderInputs,
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

/** What blocks are conditioned on. */
export interface Conditions {
  /** SiLU of the time embedding. */
  readonly time: Tokens;
  readonly text: Tokens;
}

/** What the encoder hands over. */
export interface Encoded {
  /** Of `conv_in`, each layer of each level, and each downsampler, in this order. */
  readonly skips: readonly Image[];
  readonly mid: Image;
}

/** Down blocks and mid block on what `conv_in` gave. */
export function encode(net: Net, config: UNetEncoderConfig, x: Image, conditions: Conditions): Encoded {
  const { time, text } = conditions;
  const levels = levelsOf(config);
  const skips: Image[] = [x];
  levels.forEach((level, i) => {
    const block = net.at(`down_blocks.${i}`);
    for (let j = 0; j < level.layers; j++) {
      x = resnetBlock(block.at(`resnets.${j}`), x, time, level);
      if (level.attends) x = spatialTransformer(block.at(`attentions.${j}`), x, text, level);
      skips.push(x);
    }
    if (i < levels.length - 1) {
      x = downsample(block, x, config.downsamplePadding);
      skips.push(x);
    }
  });
  return { skips, mid: midBlock(net.at('mid_block'), config, x, conditions) };
}

function midBlock(net: Net, config: UNetEncoderConfig, x: Image, { time, text }: Conditions): Image {
  const level = levelsOf(config).at(-1);
  if (config.midBlockType === undefined || level === undefined) return x;
  const options = { ...level, outputScale: config.midBlockScaleFactor };
  x = resnetBlock(net.at('resnets.0'), x, time, options);
  if (config.midBlockType === 'UNetMidBlock2D') return x;
  x = spatialTransformer(net.at('attentions.0'), x, text, { ...level, onlyCrossAttention: false });
  return resnetBlock(net.at('resnets.1'), x, time, options);
}

/** Everything that one resolution needs to know. */
export interface Level {
  readonly channels: number;
  readonly layers: number;
  readonly heads: number;
  readonly depth: number;
  readonly groups: number;
  readonly eps: number;
  readonly onlyCrossAttention: boolean;
  /** On the way down. */
  readonly attends: boolean;
}

export function levelsOf(config: UNetEncoderConfig): readonly Level[] {
  return config.blockOutChannels.map((channels, level) => ({
    channels,
    layers: config.layersPerBlock[level] ?? 1,
    heads: config.heads[level] ?? 1,
    depth: config.transformerLayersPerBlock[level] ?? 1,
    groups: config.normNumGroups,
    eps: config.normEps,
    onlyCrossAttention: config.onlyCrossAttention[level] ?? false,
    attends: config.downBlockTypes[level] === 'CrossAttnDownBlock2D',
  }));
}

/** Name of residual `index` (0 for `conv_in`, the last for the mid block): output of a ControlNet's graph, input of a UNet's. */
export function residualName(index: number): string {
  return `residual.${String(index).padStart(2, '0')}`;
}

/** A residual that a ControlNet gives and a UNet takes. */
export interface ResidualShape extends ImageSize {
  readonly name: string;
}

/** The sizes of {@link Encoded}, skips first and the mid block's output last, for latents of this size. In the dialect's layout. */
export function residualShapes(
  config: UNetEncoderConfig,
  { batch: n, height, width }: Pick<UNetShape, 'batch' | 'height' | 'width'>,
): readonly ResidualShape[] {
  const levels = levelsOf(config);
  const sizes: ImageSize[] = [{ n, h: height, w: width, c: levels[0]?.channels ?? 0 }];
  let [h, w] = [height, width];
  levels.forEach(({ layers, channels: c }, i) => {
    for (let j = 0; j < layers; j++) sizes.push({ n, h, w, c });
    if (i === levels.length - 1) return;
    [h, w] = [halved(h, config.downsamplePadding), halved(w, config.downsamplePadding)];
    sizes.push({ n, h, w, c });
  });
  sizes.push({ n, h, w, c: levels.at(-1)?.channels ?? 0 });
  return sizes.map((size, i) => ({ name: residualName(i), ...size }));
}

/** Side after a downsampler: kernel 3, stride 2, padded by 1 on both sides or (padding 0) at the end alone. */
function halved(side: number, padding: number): number {
  return Math.floor((side + (padding === 0 ? 1 : 2 * padding) - 3) / 2) + 1;
}
