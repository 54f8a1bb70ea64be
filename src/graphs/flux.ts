/**
 * @file Graphs of FLUX.1's transformer (dev, schnell and their kin). It is run as block sessions: a graph for what comes before the blocks, one
 * for each kind of block, whose weights are named relative to the block, so that one session serves all blocks of the kind with other
 * weights, and one for what comes after. {@link fluxGraph} is the whole network in one graph, of the same functions.
 */
import { fluxWidth, type FluxTransformerConfig } from '../models/configs/flux-transformer.js';
import { writeGraph, type GraphOptions, type Net, type Tokens } from '../onnx/net.js';
import { rotaryTable, type RotaryTable } from '../onnx/sequence.js';
import type { Graph } from '../onnx/types.js';
import { dropTokens, joinTokens } from '../onnx/vision.js';
import {
  blockModulation,
  condition,
  doubleBlock,
  modulationSize,
  singleBlock,
  velocity,
  type BlockContext,
  type BlockStream,
  type ConditionInputs,
  type Streams,
} from './flux-blocks.js';

/** Names of inputs and outputs. C is the width, L text tokens, T image tokens. */
export const FLUX_IO = {
  /** Packed latents `[T, inChannels]`, and text states `[L, textDim]`. */
  latents: 'hidden_states',
  textStates: 'encoder_hidden_states',
  /** See {@link ConditionInputs}. */
  time: 'time_sinusoid',
  guidance: 'guidance_sinusoid',
  pooled: 'pooled_projections',
  /** Embedded: `[n, C]`, `[L, C]`, `[T, C]`, and text and image in one, `[L+T, C]`. */
  condition: 'condition',
  text: 'text',
  image: 'image',
  sequence: 'sequence',
  /** `[L+T, headDim/2]`. */
  cos: 'rope_cos',
  sin: 'rope_sin',
  /** Rows of a modulation table, `[n·6, C]` or `[n·3, C]`; of the only stream, the sequence, or of one of the two. */
  modulation: (stream: BlockStream) => `modulation.${stream}`,
  /** A ControlNet's residual `[T, C]`. */
  control: 'control',
  velocity: 'velocity',
  /** What a block makes of its input of this name. */
  next: (stream: BlockStream) => `next.${stream}`,
} as const;

/** Width of the sinusoids of time and guidance, `[cos, sin]`. */
export const FLUX_SINUSOID = 256;

/** What graphs are made for. */
export interface FluxShape {
  readonly textTokens: number;
  readonly imageTokens: number;
}

export interface FluxBlockOptions extends GraphOptions {
  /**
   * `weights` (the default): blocks make their modulation from the condition. `given`: it is an input, made by {@link fluxModulationGraph}; then
   * the weights for it, a quarter of the model's, need not be at hand while the network runs.
   */
  readonly modulation?: 'weights' | 'given';
  /** Whether a ControlNet's residual is added; default false. */
  readonly control?: boolean;
}

/** What the weights of block `index` are called in the model: this, followed by their name in the block's graph. */
export function fluxBlockPrefix(kind: 'double' | 'single', index: number): string {
  return `${kind === 'double' ? 'transformer_blocks' : 'single_transformer_blocks'}.${index}.`;
}

export type EmbedderPart = 'image' | 'text' | 'condition';

/**
 * What comes before the blocks: `hidden_states` → `image`, `encoder_hidden_states` → `text`, and time, guidance (if the config has it) and pooled
 * text of `steps` steps → `condition` `[steps, C]`. `parts` leaves out some of the three: the text is the same at every step.
 */
export function fluxEmbedderGraph(
  config: FluxTransformerConfig,
  shape: FluxShape & { readonly steps?: number },
  options: GraphOptions & { readonly parts?: readonly EmbedderPart[] },
): Graph {
  const { parts = ['image', 'text', 'condition'] } = options;
  return writeGraph('flux_embedders', options, (net) => {
    if (parts.includes('image')) net.output(FLUX_IO.image, imageTokens(net, config, shape));
    if (parts.includes('text')) net.output(FLUX_IO.text, textTokens(net, config, shape));
    if (parts.includes('condition'))
      net.output(FLUX_IO.condition, condition(net, config, conditionInputs(net, config, shape.steps ?? 1)));
  });
}

/** `text`, `image`, `condition` (or `modulation.text`, `modulation.image`), the rotary tables → `next.text`, `next.image`. */
export function fluxDoubleBlockGraph(
  config: FluxTransformerConfig,
  shape: FluxShape,
  options: FluxBlockOptions,
): Graph {
  return writeGraph('flux_double_block', options, (net) => {
    const c = fluxWidth(config);
    const x: Streams = {
      text: net.tokens(FLUX_IO.text, { n: 1, s: shape.textTokens, c }),
      image: net.tokens(FLUX_IO.image, { n: 1, s: shape.imageTokens, c }),
    };
    const modulation = modulationSource(net, config, options);
    const by = { text: modulation('text'), image: modulation('image') };
    const { text, image } = doubleBlock(net, blockContext(net, config, shape, options), x, by);
    net.output(FLUX_IO.next('text'), text);
    net.output(FLUX_IO.next('image'), image);
  });
}

/** `sequence`, `condition` (or `modulation.sequence`), the rotary tables → `next.sequence`. */
export function fluxSingleBlockGraph(
  config: FluxTransformerConfig,
  shape: FluxShape,
  options: FluxBlockOptions,
): Graph {
  return writeGraph('flux_single_block', options, (net) => {
    const x = net.tokens(FLUX_IO.sequence, { n: 1, s: shape.textTokens + shape.imageTokens, c: fluxWidth(config) });
    const by = modulationSource(net, config, options)('sequence');
    net.output(FLUX_IO.next('sequence'), singleBlock(net, blockContext(net, config, shape, options), x, by));
  });
}

/**
 * A block's modulation for `steps` steps at once: `condition` `[steps, C]` → `modulation.*`, the tables of which a block of the `given` form takes
 * those rows that belong to its step.
 */
export function fluxModulationGraph(
  config: FluxTransformerConfig,
  kind: 'double' | 'single',
  steps: number,
  options: GraphOptions,
): Graph {
  return writeGraph(`flux_${kind}_modulation`, options, (net) => {
    const input = net.tokens(FLUX_IO.condition, { n: steps, s: 1, c: fluxWidth(config) });
    for (const stream of kind === 'double' ? (['text', 'image'] as const) : (['sequence'] as const))
      net.output(FLUX_IO.modulation(stream), blockModulation(net, stream, input));
  });
}

/** `text`, `image` → `sequence`: from double to single blocks. No weights. */
export function fluxJoinGraph(config: FluxTransformerConfig, shape: FluxShape, options: GraphOptions): Graph {
  return writeGraph('flux_join', options, (net) => {
    const c = fluxWidth(config);
    const text = net.tokens(FLUX_IO.text, { n: 1, s: shape.textTokens, c });
    net.output(FLUX_IO.sequence, joinTokens(net, text, net.tokens(FLUX_IO.image, { n: 1, s: shape.imageTokens, c })));
  });
}

/** What comes after the blocks: `sequence`, `condition` → `velocity` `[T, outChannels]` in float32. */
export function fluxOutputGraph(config: FluxTransformerConfig, shape: FluxShape, options: GraphOptions): Graph {
  return writeGraph('flux_output', options, (net) => {
    const c = fluxWidth(config);
    const sequence = net.tokens(FLUX_IO.sequence, { n: 1, s: shape.textTokens + shape.imageTokens, c });
    const image = dropTokens(net, sequence, shape.textTokens);
    net.output(FLUX_IO.velocity, velocity(net, config, image, net.tokens(FLUX_IO.condition, { n: 1, s: 1, c })));
  });
}

/** The whole network: `hidden_states`, `encoder_hidden_states`, sinusoids, pooled text, rotary tables → `velocity` in float32. */
export function fluxGraph(config: FluxTransformerConfig, shape: FluxShape, options: GraphOptions): Graph {
  return writeGraph('flux', options, (net) => {
    const context = blockContext(net, config, shape, options);
    const by = condition(net, config, conditionInputs(net, config, 1));
    let x: Streams = { image: imageTokens(net, config, shape), text: textTokens(net, config, shape) };
    for (let i = 0; i < config.doubleBlocks; i++) {
      const block = net.at(`transformer_blocks.${i}`);
      x = doubleBlock(block, context, x, {
        text: blockModulation(block, 'text', by),
        image: blockModulation(block, 'image', by),
      });
    }
    let sequence = joinTokens(net, x.text, x.image);
    for (let i = 0; i < config.singleBlocks; i++) {
      const block = net.at(`single_transformer_blocks.${i}`);
      sequence = singleBlock(block, context, sequence, blockModulation(block, 'sequence', by));
    }
    const image = dropTokens(net, sequence, shape.textTokens);
    net.output(FLUX_IO.velocity, velocity(net, config, image, by));
  });
}

/** Latents, embedded: declares the input. */
export function imageTokens(net: Net, config: FluxTransformerConfig, { imageTokens: s }: FluxShape): Tokens {
  const latents = net.tokens(FLUX_IO.latents, { n: 1, s, c: config.inChannels });
  return net.linear('x_embedder', latents, { channels: fluxWidth(config) });
}

/** Text states, embedded: declares the input. */
export function textTokens(net: Net, config: FluxTransformerConfig, { textTokens: s }: FluxShape): Tokens {
  const states = net.tokens(FLUX_IO.textStates, { n: 1, s, c: config.textDim });
  return net.linear('context_embedder', states, { channels: fluxWidth(config) });
}

function conditionInputs(net: Net, config: FluxTransformerConfig, steps: number): ConditionInputs {
  const rows = (name: string, c: number): Tokens => net.tokens(name, { n: steps, s: 1, c });
  return {
    time: rows(FLUX_IO.time, FLUX_SINUSOID),
    guidance: config.guidanceEmbeds ? rows(FLUX_IO.guidance, FLUX_SINUSOID) : undefined,
    pooled: rows(FLUX_IO.pooled, config.pooledDim),
  };
}

function blockContext(
  net: Net,
  config: FluxTransformerConfig,
  shape: FluxShape,
  options: FluxBlockOptions,
): BlockContext {
  const { textTokens: text, imageTokens: image } = shape;
  const rope: RotaryTable = rotaryTable(net, FLUX_IO, text + image, config.headDim);
  const control =
    options.control === true ? net.tokens(FLUX_IO.control, { n: 1, s: image, c: fluxWidth(config) }) : undefined;
  return { config, rope, control };
}

/** How a block comes by the modulation of a stream: it is given, or made of the condition. */
function modulationSource(
  net: Net,
  config: FluxTransformerConfig,
  { modulation }: FluxBlockOptions,
): (stream: BlockStream) => Tokens {
  const c = fluxWidth(config);
  if (modulation === 'given')
    return (stream) => net.tokens(FLUX_IO.modulation(stream), { n: 1, s: modulationSize(stream), c });
  const by = net.tokens(FLUX_IO.condition, { n: 1, s: 1, c });
  return (stream) => blockModulation(net, stream, by);
}
