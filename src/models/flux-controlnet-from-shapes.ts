/** @file The config of a ControlNet for FLUX.1 that came without: read off the shapes of its weights. */
import type { ShapeOf } from './configs-from-shapes.js';
import { FLUX_CONTROLNET_CLASS } from './configs/flux-controlnet.js';
import { countUp, sizeReader } from './flux-configs-from-shapes.js';

/**
 * `config.json`, but for the axes of positions, which no shape tells.
 * @throws invalidModelFile (weights missing or not matrices)
 */
export function fluxControlNetConfig(shapeOf: ShapeOf, where: string): Readonly<Record<string, unknown>> {
  const size = sizeReader(shapeOf, where);
  const doubleBlocks = countUp((i) => shapeOf(`transformer_blocks.${i}.norm1.linear.weight`));
  const first = doubleBlocks > 0 ? 'transformer_blocks.0' : 'single_transformer_blocks.0';
  const [width, headDim] = [size('x_embedder.weight', 0), size(`${first}.attn.norm_q.weight`, 0)];
  const hintChannels = shapeOf('input_hint_block.conv_out.weight')?.[0];
  return {
    _class_name: FLUX_CONTROLNET_CLASS,
    attention_head_dim: headDim,
    conditioning_embedding_channels: hintChannels ?? null,
    guidance_embeds: shapeOf('time_text_embed.guidance_embedder.linear_1.weight') !== undefined,
    in_channels: size('x_embedder.weight', 1),
    joint_attention_dim: size('context_embedder.weight', 1),
    num_attention_heads: width / headDim,
    num_layers: doubleBlocks,
    num_mode: shapeOf('controlnet_mode_embedder.weight')?.[0] ?? null,
    num_single_layers: countUp((i) => shapeOf(`single_transformer_blocks.${i}.norm.linear.weight`)),
    patch_size: hintChannels === undefined ? 1 : 2,
    pooled_projection_dim: size('time_text_embed.text_embedder.linear_1.weight', 1),
  };
}
