/** @file Configs of FLUX.1's transformer and of its T5 encoder for files that come without: read off the shapes of the weights. */
import { fail } from '../base/errors.js';
import type { ShapeOf } from './configs-from-shapes.js';

type Json = Readonly<Record<string, unknown>>;

/** Channels of a head for each axis of a position, of all published models; other widths of heads would be a guess. */
const ROPE_AXES = [16, 56, 56];

/** `transformer/config.json`. @throws invalidModelFile (weights missing or not matrices), unsupportedModel (heads not 128 wide) */
export function fluxTransformerConfig(shapeOf: ShapeOf, where: string): Json {
  const size = sizeReader(shapeOf, where);
  const width = size('x_embedder.weight', 0);
  const headDim = size('transformer_blocks.0.attn.norm_q.weight', 0);
  const published = ROPE_AXES.reduce((sum, axis) => sum + axis, 0);
  if (headDim !== published || width % headDim !== 0) {
    throw fail('unsupportedModel', `${where}: ${width} channels in heads of ${headDim}; heads of ${published} were expected.`, {
      hint: 'Put its configs beside the file: config/model_index.json, config/transformer/config.json, ….',
    });
  }
  return {
    _class_name: 'FluxTransformer2DModel',
    attention_head_dim: headDim,
    axes_dims_rope: ROPE_AXES,
    guidance_embeds: shapeOf('time_text_embed.guidance_embedder.linear_1.weight') !== undefined,
    in_channels: size('x_embedder.weight', 1),
    joint_attention_dim: size('context_embedder.weight', 1),
    num_attention_heads: width / headDim,
    num_layers: countUp((i) => shapeOf(`transformer_blocks.${i}.norm1.linear.weight`)),
    num_single_layers: countUp((i) => shapeOf(`single_transformer_blocks.${i}.norm.linear.weight`)),
    out_channels: size('proj_out.weight', 0),
    patch_size: 1,
    pooled_projection_dim: size('time_text_embed.text_embedder.linear_1.weight', 1),
  };
}

/** `config.json` of a T5 v1.1 encoder. @throws invalidModelFile */
export function t5Config(shapeOf: ShapeOf, where: string): Json {
  const size = sizeReader(shapeOf, where);
  const attention = 'encoder.block.0.layer.0.SelfAttention';
  const heads = size(`${attention}.relative_attention_bias.weight`, 1);
  const inner = size(`${attention}.q.weight`, 0);
  if (inner % heads !== 0) {
    throw fail('invalidModelFile', `${where}: attention is ${inner} wide, which ${heads} heads cannot share.`);
  }
  return {
    d_ff: size('encoder.block.0.layer.1.DenseReluDense.wi_0.weight', 0),
    d_kv: inner / heads,
    d_model: size('shared.weight', 1),
    dense_act_fn: 'gelu_new',
    feed_forward_proj: 'gated-gelu',
    model_type: 't5',
    num_heads: heads,
    num_layers: countUp((i) => shapeOf(`encoder.block.${i}.layer.0.layer_norm.weight`)),
    relative_attention_max_distance: 128,
    relative_attention_num_buckets: size(`${attention}.relative_attention_bias.weight`, 0),
    vocab_size: size('shared.weight', 0),
  };
}

/** Reads sizes of weights that must be there. @throws invalidModelFile */
export function sizeReader(shapeOf: ShapeOf, where: string): (internal: string, axis: number) => number {
  return (internal, axis) => {
    const shape = shapeOf(internal);
    if (shape === undefined) throw fail('invalidModelFile', `${where} has no weight for "${internal}": it is incomplete.`);
    const size = shape[axis];
    if (size !== undefined && size > 0) return size;
    throw fail('invalidModelFile', `${where}: "${internal}" is [${shape.join(', ')}]; its size ${axis} was needed.`);
  };
}

/** How many there are, from 0 on without a gap. */
export function countUp(isThere: (index: number) => unknown): number {
  let count = 0;
  while (isThere(count) !== undefined) count++;
  return count;
}
