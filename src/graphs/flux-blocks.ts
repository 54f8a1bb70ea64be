/**
 * @file The layers of FLUX.1's transformer, as functions on features. Black Forest Labs 2024, https://github.com/black-forest-labs/flux;
 * Esser et al. 2024 (https://arxiv.org/abs/2403.03206, fig. 2); diffusers `transformer_flux.py`. One picture at a time.
 */
import { fluxWidth, type FluxTransformerConfig } from '../models/configs/flux-transformer.js';
import type { Net, Tokens } from '../onnx/net.js';
import {
  cast,
  finite,
  gate,
  joinChannels,
  modulatedNorm,
  padTokens,
  rotate,
  splitAt,
  type RotaryTable,
} from '../onnx/sequence.js';
import { joinTokens } from '../onnx/vision.js';
import {
  embeddingMlp,
  gatedModulation,
  geluFeedForward,
  modulationRows,
  modulationTable,
  project,
  type GatedModulation,
  type Projections,
  type ProjectionNames,
  type Role,
} from './transformer-layers.js';

/** All layer norms: without weights, with this epsilon. */
const NORM = { eps: 1e-6 };

/** The streams that blocks have: double blocks `text` and `image`, single blocks `sequence`. */
export type BlockStream = 'text' | 'image' | 'sequence';

const LAYER: readonly Role[] = ['shift', 'scale', 'gate'];
const LAST: readonly Role[] = ['scale', 'shift'];

/** Which module makes a stream's modulation, and for which layers. */
const MODULATIONS: Readonly<Record<BlockStream, { readonly module: string; readonly roles: readonly Role[] }>> = {
  text: { module: 'norm1_context.linear', roles: [...LAYER, ...LAYER] },
  image: { module: 'norm1.linear', roles: [...LAYER, ...LAYER] },
  sequence: { module: 'norm.linear', roles: LAYER },
};

/** Rows of a stream's modulation table: three for each of its layers. */
export function modulationSize(stream: BlockStream): number {
  return MODULATIONS[stream].roles.length;
}

/** What the condition is made of; each for `n` steps. */
export interface ConditionInputs {
  /** Sinusoid of 1000·σ, `[n, 256]`. */
  readonly time: Tokens;
  /** Sinusoid of 1000·guidance, `[n, 256]`; of guidance-distilled models. */
  readonly guidance: Tokens | undefined;
  /** CLIP's pooled text, `[n, pooledDim]`. */
  readonly pooled: Tokens;
}

/** SiLU of the embedding of time, guidance and pooled text, `[n, C]`: every reader applies it first. */
export function condition(net: Net, config: FluxTransformerConfig, inputs: ConditionInputs): Tokens {
  const channels = fluxWidth(config);
  const embed = net.at('time_text_embed');
  let sum = embeddingMlp(embed.at('timestep_embedder'), inputs.time, channels);
  if (inputs.guidance !== undefined)
    sum = embed.add(sum, embeddingMlp(embed.at('guidance_embedder'), inputs.guidance, channels));
  return embed.activate(embed.add(sum, embeddingMlp(embed.at('text_embedder'), inputs.pooled, channels)), 'silu');
}

/** The modulation table of one stream of a block, `[n, 6 or 3, C]`, from the condition `[n, C]`. */
export function blockModulation(net: Net, stream: BlockStream, condition: Tokens): Tokens {
  const { module, roles } = MODULATIONS[stream];
  return modulationTable(net, module, condition, roles);
}

/** Text and image apart. */
export interface Streams {
  readonly text: Tokens;
  readonly image: Tokens;
}

/** What all blocks need to know. */
export interface BlockContext {
  readonly config: FluxTransformerConfig;
  /** Of the whole sequence, text first. */
  readonly rope: RotaryTable;
  /** A ControlNet's residual for the image tokens, scaled already. */
  readonly control?: Tokens | undefined;
}

const IMAGE: ProjectionNames = { q: 'to_q', k: 'to_k', v: 'to_v', qNorm: 'norm_q', kNorm: 'norm_k' };
const TEXT: ProjectionNames = {
  q: 'add_q_proj',
  k: 'add_k_proj',
  v: 'add_v_proj',
  qNorm: 'norm_added_q',
  kNorm: 'norm_added_k',
};

/** Text and image with weights of their own attend to each other as one sequence (MM-DiT), then each has its feed-forward layer. */
export function doubleBlock(
  net: Net,
  { config, rope, control }: BlockContext,
  x: Streams,
  modulation: Streams,
): Streams {
  const [forText, forImage] = [modulationRows(net, modulation.text), modulationRows(net, modulation.image)];
  const attn = net.at('attn');
  const before = (stream: Tokens, rows: readonly Tokens[], names: ProjectionNames): Projections =>
    project(attn, modulatedNorm(net, stream, gatedModulation(rows), NORM), names, config.heads);
  const [ofText, ofImage] = [before(x.text, forText, TEXT), before(x.image, forImage, IMAGE)];
  const join = (part: keyof Projections): Tokens => joinTokens(attn, ofText[part], ofImage[part]);
  const y = attend(attn, config, rope, { q: join('q'), k: join('k'), v: join('v') });
  const [textOut, imageOut] = splitAt(attn, y, x.text.s);
  const after = (stream: Tokens, rows: readonly Tokens[], branch: Tokens, ff: string): Tokens =>
    feedForward(net, ff, addGated(net, stream, branch, gatedModulation(rows)), gatedModulation(rows, 3));
  const channels = y.c;
  const text = after(x.text, forText, attn.linear('to_add_out', textOut, { channels }), 'ff_context.net');
  const image = after(x.image, forImage, attn.linear('to_out.0', imageOut, { channels }), 'ff.net');
  return { text: finite(net, text), image: control === undefined ? image : net.add(image, control) };
}

/** One sequence of text and image: attention and feed-forward layer beside each other (Dehghani et al. 2023, §2.1), one output matrix for both. */
export function singleBlock(net: Net, { config, rope, control }: BlockContext, x: Tokens, modulation: Tokens): Tokens {
  const by = gatedModulation(modulationRows(net, modulation));
  const normal = modulatedNorm(net, x, by, NORM);
  const attn = net.at('attn');
  const y = attend(attn, config, rope, project(attn, normal, IMAGE, config.heads));
  const mlp = net.activate(net.linear('proj_mlp', normal, { channels: 4 * x.c }), 'gelu_new');
  const sum = finite(net, addGated(net, x, net.linear('proj_out', joinChannels(net, y, mlp), { channels: x.c }), by));
  return control === undefined ? sum : net.add(sum, padTokens(net, control, x.s - control.s));
}

function attend(net: Net, { heads }: FluxTransformerConfig, rope: RotaryTable, { q, k, v }: Projections): Tokens {
  return net.attention(rotate(net, q, rope, heads), rotate(net, k, rope, heads), v, { heads });
}

function addGated(net: Net, x: Tokens, branch: Tokens, by: GatedModulation): Tokens {
  return net.add(x, gate(net, branch, by.gate));
}

function feedForward(net: Net, module: string, x: Tokens, by: GatedModulation): Tokens {
  return addGated(net, x, geluFeedForward(net.at(module), modulatedNorm(net, x, by, NORM)), by);
}

/**
 * The image tokens' velocity `[image, outChannels]`, in float32: a small product, and the last, so its rounding would be the result's.
 */
export function velocity(net: Net, config: FluxTransformerConfig, image: Tokens, condition: Tokens): Tokens {
  const exact = net.as('float32');
  const [scale, shift] = modulationRows(exact, modulationTable(exact, 'norm_out.linear', cast(exact, condition), LAST));
  if (scale === undefined || shift === undefined) throw new RangeError('the last norm has a scale and a shift');
  const normal = modulatedNorm(exact, cast(exact, image), { scale, shift }, NORM);
  return exact.linear('proj_out', normal, { channels: config.outChannels });
}
