/** @file Layers shared by the Stable Diffusion networks: ResNet block, transformer block, samplers. Names are diffusers'. */
import type { Image, Net, Tokens } from '../onnx/net.js';

export interface ResnetOptions {
  readonly channels: number;
  readonly groups: number;
  readonly eps: number;
  /** Divides the residual sum; 1 in all released models. */
  readonly outputScale?: number;
}

/**
 * Residual block of two convolutions (He et al. 2016; time conditioning as in Ho et al. 2020, appendix B).
 * `x` `[N,H,W,I]` → `[N,H,W,channels]`; `time` is SiLU of the time embedding `[N,1,T]`, absent in autoencoders.
 */
export function resnetBlock(net: Net, x: Image, time: Tokens | undefined, options: ResnetOptions): Image {
  const { channels, groups, eps, outputScale = 1 } = options;
  const widens = x.c !== channels;
  let h = net.groupNorm('norm1', x, { groups, eps, silu: true });
  h = net.conv('conv1', h, { channels });
  if (time !== undefined) h = net.add(h, net.linear('time_emb_proj', time, { channels }));
  h = net.groupNorm('norm2', h, { groups, eps, silu: true });
  h = net.conv('conv2', h, { channels, ...(widens ? { plusBias: 'conv_shortcut.bias' } : {}) });
  const sum = widens ? net.pointwise('conv_shortcut', x, { channels, plus: h }) : net.add(x, h);
  return net.scale(sum, 1 / outputScale);
}

export interface TransformerOptions {
  readonly heads: number;
  readonly depth: number;
  readonly groups: number;
  /** The first attention of each block reads the text too. */
  readonly onlyCrossAttention: boolean;
}

/** Spatial transformer (Rombach et al. 2022, appendix E.2.1): pixels become tokens that attend to each other and to the text. */
export function spatialTransformer(net: Net, x: Image, text: Tokens, options: TransformerOptions): Image {
  const normal = net.groupNorm('norm', x, { groups: options.groups, eps: 1e-6 });
  let tokens = net.toTokens(net.pointwise('proj_in', normal, { channels: x.c }));
  for (let i = 0; i < options.depth; i++)
    tokens = transformerBlock(net.at(`transformer_blocks.${i}`), tokens, text, options);
  return net.add(x, net.pointwise('proj_out', net.toImage(tokens, x.h, x.w), { channels: x.c }));
}

/** Pre-norm transformer block: self-attention, attention to the text, gated feed-forward. */
function transformerBlock(
  net: Net,
  x: Tokens,
  text: Tokens,
  { heads, onlyCrossAttention }: TransformerOptions,
): Tokens {
  const eps = 1e-5;
  const h1 = net.layerNorm('norm1', x, { eps });
  x = net.add(x, attention(net.at('attn1'), h1, onlyCrossAttention ? text : h1, heads));
  const h2 = net.layerNorm('norm2', x, { eps });
  x = net.add(x, attention(net.at('attn2'), h2, text, heads));
  const h3 = net.layerNorm('norm3', x, { eps });
  return net.add(x, feedForward(net.at('ff.net'), h3));
}

/** Multi-head attention from `x` to `context` (Vaswani et al. 2017), projections without bias but the last. */
function attention(net: Net, x: Tokens, context: Tokens, heads: number): Tokens {
  const q = net.linear('to_q', x, { channels: x.c, bias: false });
  const k = net.linear('to_k', context, { channels: x.c, bias: false });
  const v = net.linear('to_v', context, { channels: x.c, bias: false });
  return net.linear('to_out.0', net.attention(q, k, v, { heads }), { channels: x.c });
}

/** GEGLU of width 4·C, then back to C. */
function feedForward(net: Net, x: Tokens): Tokens {
  return net.linear('2', net.geglu('0.proj', x, { channels: 4 * x.c }), { channels: x.c });
}

/** Halves height and width. Padding 0 means diffusers' asymmetric form: one row and column at the bottom and right. */
export function downsample(net: Net, x: Image, padding: number): Image {
  const pads = padding === 0 ? ([0, 0, 1, 1] as const) : ([padding, padding, padding, padding] as const);
  return net.conv('downsamplers.0.conv', x, { channels: x.c, stride: 2, pads });
}

/** Doubles height and width: nearest neighbour, then a convolution. */
export function upsample(net: Net, x: Image): Image {
  return net.conv('upsamplers.0.conv', net.at('upsamplers.0').upsample2x(x), { channels: x.c });
}
