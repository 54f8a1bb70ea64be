/** @file `transformer/config.json` of a FluxTransformer2DModel, as diffusers writes it. Data and its parser. */
import { fail } from '../../base/errors.js';
import { fields, wholeNumber } from '../../base/fields.js';

/** Defaults are those of diffusers' `FluxTransformer2DModel`, which are FLUX.1-schnell's. */
export interface FluxTransformerConfig {
  /** Channels of an image token: 64 are 2×2 latents of 16. */
  readonly inChannels: number;
  readonly outChannels: number;
  /** Blocks with weights of their own for text and image. */
  readonly doubleBlocks: number;
  /** Blocks on one sequence of both. */
  readonly singleBlocks: number;
  readonly headDim: number;
  readonly heads: number;
  /** Width of the text states. */
  readonly textDim: number;
  readonly pooledDim: number;
  /** Guidance-distilled (dev): the guidance scale is an input. */
  readonly guidanceEmbeds: boolean;
  /** Channels of a head for each axis of a token's position (unused, row, column). */
  readonly ropeAxes: readonly number[];
}

/**
 * @param fewest blocks of either kind that it must have at least; 0 for what is only a part of a transformer
 * @throws invalidModelConfig, unsupportedModel
 */
export function parseFluxTransformerConfig(
  json: unknown,
  where = 'transformer/config.json',
  fewest = 1,
): FluxTransformerConfig {
  const f = fields(json, where);
  const kind = f.text('_class_name', 'FluxTransformer2DModel');
  if (kind !== 'FluxTransformer2DModel')
    throw fail('unsupportedModel', `${where}: a ${kind} is not supported; expected a FluxTransformer2DModel.`);
  f.only('patch_size', [1], 'another patch size than 1');
  const inChannels = f.integer('in_channels', 64, { max: 65_536 });
  const config: FluxTransformerConfig = {
    inChannels,
    outChannels: f.integer('out_channels', inChannels, { max: 65_536 }),
    doubleBlocks: f.integer('num_layers', 19, { min: fewest, max: 1000 }),
    singleBlocks: f.integer('num_single_layers', 38, { min: fewest, max: 1000 }),
    headDim: f.integer('attention_head_dim', 128, { max: 1024 }),
    heads: f.integer('num_attention_heads', 24, { max: 1024 }),
    textDim: f.integer('joint_attention_dim', 4096, { max: 65_536 }),
    pooledDim: f.integer('pooled_projection_dim', 768, { max: 65_536 }),
    guidanceEmbeds: f.boolean('guidance_embeds', false),
    ropeAxes: f.list('axes_dims_rope', wholeNumber, [16, 56, 56]),
  };
  const { ropeAxes, headDim } = config;
  const whole = ropeAxes.length === 3 && ropeAxes.every((width) => width % 2 === 0);
  if (!whole || ropeAxes.reduce((a, b) => a + b, 0) !== headDim)
    throw f.error('axes_dims_rope', `three even widths that add up to attention_head_dim ${headDim}`);
  return config;
}

/** Width of the network. */
export function fluxWidth({ heads, headDim }: FluxTransformerConfig): number {
  return heads * headDim;
}
