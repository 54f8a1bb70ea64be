/**
 * @file The layout of FLUX.1's transformer in published single files: the original code's names (github.com/black-forest-labs/flux,
 * `src/flux/model.py`), with q, k, v (and, in single blocks, the first layer of the MLP) in one matrix.
 */
import { sameShape, type RowPart, type WeightLayout, type WeightPlace } from './layout.js';

/** Where a layer of diffusers' model is in the original one. */
export interface FluxPlace {
  /** The original layer. */
  readonly module: string;
  /** Only these of its rows. */
  readonly part?: RowPart;
  /** The original has the second half of the rows first. */
  readonly swapped?: true;
}

const TOP = new Map<string, FluxPlace>([
  ['x_embedder', { module: 'img_in' }],
  ['context_embedder', { module: 'txt_in' }],
  ['time_text_embed.timestep_embedder.linear_1', { module: 'time_in.in_layer' }],
  ['time_text_embed.timestep_embedder.linear_2', { module: 'time_in.out_layer' }],
  ['time_text_embed.guidance_embedder.linear_1', { module: 'guidance_in.in_layer' }],
  ['time_text_embed.guidance_embedder.linear_2', { module: 'guidance_in.out_layer' }],
  ['time_text_embed.text_embedder.linear_1', { module: 'vector_in.in_layer' }],
  ['time_text_embed.text_embedder.linear_2', { module: 'vector_in.out_layer' }],
  // shift, scale there; scale, shift in diffusers' AdaLayerNormContinuous
  ['norm_out.linear', { module: 'final_layer.adaLN_modulation.1', swapped: true }],
  ['proj_out', { module: 'final_layer.linear' }],
]);

/** q, k, v are thirds. */
const third = (module: string, index: number): FluxPlace => ({ module, part: { index, of: 3 } });

const DOUBLE = new Map<string, FluxPlace>([
  ['norm1.linear', { module: 'img_mod.lin' }],
  ['norm1_context.linear', { module: 'txt_mod.lin' }],
  ['attn.to_q', third('img_attn.qkv', 0)],
  ['attn.to_k', third('img_attn.qkv', 1)],
  ['attn.to_v', third('img_attn.qkv', 2)],
  ['attn.add_q_proj', third('txt_attn.qkv', 0)],
  ['attn.add_k_proj', third('txt_attn.qkv', 1)],
  ['attn.add_v_proj', third('txt_attn.qkv', 2)],
  ['attn.norm_q', { module: 'img_attn.norm.query_norm' }],
  ['attn.norm_k', { module: 'img_attn.norm.key_norm' }],
  ['attn.norm_added_q', { module: 'txt_attn.norm.query_norm' }],
  ['attn.norm_added_k', { module: 'txt_attn.norm.key_norm' }],
  ['attn.to_out.0', { module: 'img_attn.proj' }],
  ['attn.to_add_out', { module: 'txt_attn.proj' }],
  ['ff.net.0.proj', { module: 'img_mlp.0' }],
  ['ff.net.2', { module: 'img_mlp.2' }],
  ['ff_context.net.0.proj', { module: 'txt_mlp.0' }],
  ['ff_context.net.2', { module: 'txt_mlp.2' }],
]);

/** q, k, v and the MLP's first layer, which is four times as wide: sevenths. */
const sevenths = (index: number, count = 1): FluxPlace => ({ module: 'linear1', part: { index, of: 7, count } });

const SINGLE = new Map<string, FluxPlace>([
  ['norm.linear', { module: 'modulation.lin' }],
  ['attn.to_q', sevenths(0)],
  ['attn.to_k', sevenths(1)],
  ['attn.to_v', sevenths(2)],
  ['proj_mlp', sevenths(3, 4)],
  ['attn.norm_q', { module: 'norm.query_norm' }],
  ['attn.norm_k', { module: 'norm.key_norm' }],
  ['proj_out', { module: 'linear2' }],
]);

const BLOCK = /^(single_)?transformer_blocks\.(\d+)\.(.+)$/;

/** The place of an internal layer (`transformer_blocks.0.attn.to_k`); `undefined` when there is no such layer. */
export function fluxPlace(module: string): FluxPlace | undefined {
  const top = TOP.get(module);
  if (top !== undefined) return top;
  const [, single, index, inBlock = ''] = BLOCK.exec(module) ?? [];
  const place = (single === undefined ? DOUBLE : SINGLE).get(inBlock);
  if (index === undefined || place === undefined) return undefined;
  return { ...place, module: `${single ?? 'double_'}blocks.${index}.${place.module}` };
}

/** Without prefix. */
export const FLUX_LAYOUT: WeightLayout = { places, shape: sameShape };

function places(internal: string): readonly WeightPlace[] {
  const [, module = '', leaf] = /^(.+)\.(weight|bias)$/.exec(internal) ?? [];
  const place = fluxPlace(module);
  if (leaf === undefined || place === undefined) return [];
  const { module: original, ...rows } = place;
  return [{ name: `${original}.${original.endsWith('_norm') ? 'scale' : leaf}`, ...rows }];
}
