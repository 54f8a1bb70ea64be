/**
 * @file Configs of a checkpoint that came without any: widths and depths from the shapes of its weights, the rest from its family.
 * The results are JSON as diffusers and transformers write it, for the parsers in `configs/`.
 */
import { fail } from '../base/errors.js';
import { CLIP_HEAD_WIDTH, NORM_GROUPS, type EncoderFacts, type FamilyFacts } from './checkpoint-families.js';

/** The shape of a weight under its internal name; `undefined` when the file does not have it. */
export type ShapeOf = (internal: string) => readonly number[] | undefined;

type Json = Readonly<Record<string, unknown>>;

/** What a UNet's config needs besides its shapes. */
export interface UNetFacts extends Pick<FamilyFacts, 'heads' | 'timeIds'> {
  readonly sampleSize: number;
  /** Width of the pooled text that comes with the time ids. */
  readonly pooledWidth: number;
}

/** `unet/config.json`. @throws invalidModelFile (weights missing, widths that the family's rules do not fit), unsupportedModel (an irregular UNet) */
export function unetConfig(shapeOf: ShapeOf, facts: UNetFacts, where: string): Json {
  const width = requireShape(shapeOf, where);
  const { encoder, down, middle, layers } = encoderConfig(shapeOf, facts, where);
  const up = down.map((_, i) => blockDepths(shapeOf, `up_blocks.${i}`));
  return {
    ...encoder,
    _class_name: 'UNet2DConditionModel',
    ...additionConfig(shapeOf, facts, where),
    center_input_sample: false,
    conv_in_kernel: width('conv_in.weight', 3),
    conv_out_kernel: width('conv_out.weight', 3),
    out_channels: width('conv_out.weight', 0),
    sample_size: facts.sampleSize,
    time_cond_proj_dim: shapeOf('time_embedding.cond_proj.weight')?.[1] ?? null,
    time_embedding_dim: width('time_embedding.linear_1.weight', 0),
    transformer_layers_per_block: levelDepths(down, up, middle, { layers, where }),
    up_block_types: up.map(([depth]) => (depth ? 'CrossAttnUpBlock2D' : 'UpBlock2D')),
  };
}

/** `config.json` of a ControlNet. @throws as {@link unetConfig} */
export function controlNetConfig(shapeOf: ShapeOf, facts: Pick<FamilyFacts, 'heads'>, where: string): Json {
  const width = requireShape(shapeOf, where);
  const { encoder, ...shapes } = encoderConfig(shapeOf, facts, where);
  const hint = 'controlnet_cond_embedding';
  const widening = countUp((i) => shapeOf(`${hint}.blocks.${2 * i + 1}.weight`));
  const added = shapeOf('add_embedding.linear_1.weight')?.[1];
  return {
    ...encoder,
    _class_name: 'ControlNetModel',
    ...(added === undefined ? {} : additionOf(added, ADDED_TIME_WIDTH)),
    conditioning_channels: width(`${hint}.conv_in.weight`, 1),
    conditioning_embedding_out_channels: [
      width(`${hint}.conv_in.weight`, 0),
      ...range(widening).map((i) => width(`${hint}.blocks.${2 * i + 1}.weight`, 0)),
    ],
    controlnet_conditioning_channel_order: 'rgb',
    global_pool_conditions: false,
    transformer_layers_per_block: controlDepths(shapeOf, shapes, where),
  };
}

/** One number per level, 0 in small nets; the last level's is the middle block's too. */
function controlDepths(
  shapeOf: ShapeOf,
  { down, middle, layers }: Omit<EncoderShapes, 'encoder'>,
  where: string,
): readonly number[] {
  return down.map((level, i) => {
    const attending = attends(shapeOf, `down_blocks.${i}`);
    const last = i === down.length - 1;
    const depth = attending ? (level[0] ?? 0) : last ? middle : 1;
    const even = level.length === layers && level.every((d) => d === (attending ? depth : 0));
    if (even && (!last || depth === middle)) return depth;
    throw fail(
      'unsupportedModel',
      `${where}: level ${i} has ${level.join(', ')} transformer blocks${last ? `, the middle block ${middle}` : ''}; the same number was expected.`,
    );
  });
}

/** Of SDXL: width of each time id's sinusoid. A ControlNet gets them from its UNet, so only the width of all together counts. */
const ADDED_TIME_WIDTH = 256;

/** The half that both have, and the depths of its transformers. */
interface EncoderShapes {
  readonly encoder: Json;
  /** Transformer blocks of each layer of each level. */
  readonly down: readonly (readonly number[])[];
  readonly middle: number;
  readonly layers: number;
}

function encoderConfig(shapeOf: ShapeOf, { heads }: Pick<FamilyFacts, 'heads'>, where: string): EncoderShapes {
  const width = requireShape(shapeOf, where);
  const levels = countUp((i) => shapeOf(`down_blocks.${i}.resnets.0.conv1.weight`));
  const channels = range(levels).map((i) => width(`down_blocks.${i}.resnets.0.conv1.weight`, 0));
  const down = range(levels).map((i) => blockDepths(shapeOf, `down_blocks.${i}`));
  const middle = transformerDepth(shapeOf, 'mid_block.attentions.0');
  const layers = down[0]?.length ?? 0;
  const attention = firstAttention(shapeOf, levels, where);
  const encoder = {
    act_fn: 'silu',
    attention_head_dim: headsOf(channels, heads, where),
    block_out_channels: channels.map((count) => divisible(count, NORM_GROUPS, 'norm groups', where)),
    cross_attention_dim: width(`${attention}.transformer_blocks.0.attn2.to_k.weight`, 1),
    down_block_types: range(levels).map((i) =>
      attends(shapeOf, `down_blocks.${i}`) ? 'CrossAttnDownBlock2D' : 'DownBlock2D',
    ),
    downsample_padding: 1,
    flip_sin_to_cos: true,
    freq_shift: 0,
    in_channels: width('conv_in.weight', 1),
    layers_per_block: layers,
    mid_block_scale_factor: 1,
    mid_block_type: middleType(shapeOf),
    norm_eps: 1e-5,
    norm_num_groups: NORM_GROUPS,
    use_linear_projection: shapeOf(`${attention}.proj_in.weight`)?.length === 2,
  };
  return { encoder, down, middle, layers };
}

/** Transformer blocks of each ResNet layer of a block: `[0, 0]` without attention. */
function blockDepths(shapeOf: ShapeOf, block: string): readonly number[] {
  const layers = countUp((j) => shapeOf(`${block}.resnets.${j}.conv1.weight`));
  return range(layers).map((j) => transformerDepth(shapeOf, `${block}.attentions.${j}`));
}

function transformerDepth(shapeOf: ShapeOf, attention: string): number {
  return countUp((k) => shapeOf(`${attention}.transformer_blocks.${k}.norm1.weight`));
}

/** One number per level, or one for all. Distilled UNets (SSD-1B, Segmind Vega) have other depths on the way up: those are refused. */
function levelDepths(
  down: readonly (readonly number[])[],
  up: readonly (readonly number[])[],
  middle: number,
  { layers, where }: { readonly layers: number; readonly where: string },
): number | readonly number[] {
  const last = down.length - 1;
  const depths = down.map((level, i) => {
    const depth = level[0] ?? 0;
    const mirrored = up[last - i] ?? [];
    const same = [...level, ...mirrored].every((d) => d === depth);
    if (level.length === layers && mirrored.length === layers + 1 && same) return depth;
    throw fail(
      'unsupportedModel',
      `${where}: level ${i} has ${level.join(', ')} transformer blocks on the way down and ${mirrored.join(', ')} on the way up; the same number everywhere was expected.`,
      { hint: 'Distilled forms with an irregular UNet (such as SSD-1B) cannot be run.' },
    );
  });
  const deep = depths[last] ?? 0;
  if (deep > 0 && middle > 0 && deep !== middle) {
    throw fail('unsupportedModel', `${where}: the middle block has ${middle} transformer blocks, the level before it ${deep}.`);
  }
  const used = new Set([...depths, middle].filter((depth) => depth > 0));
  if (used.size <= 1) return [...used][0] ?? 1;
  return depths.map((depth, i) => depth || (i === last ? middle : 0) || 1);
}

function middleType(shapeOf: ShapeOf): string | null {
  if (attends(shapeOf, 'mid_block')) return 'UNetMidBlock2DCrossAttn';
  return shapeOf('mid_block.resnets.0.conv1.weight') === undefined ? null : 'UNetMidBlock2D';
}

/** Whether a block has attention layers; small ControlNets have some without any transformer block. */
function attends(shapeOf: ShapeOf, block: string): boolean {
  return shapeOf(`${block}.attentions.0.norm.weight`) !== undefined;
}

function firstAttention(shapeOf: ShapeOf, levels: number, where: string): string {
  const blocks = [...range(levels).map((i) => `down_blocks.${i}`), 'mid_block'];
  const first = blocks.map((b) => `${b}.attentions.0`).find((attention) => transformerDepth(shapeOf, attention) > 0);
  if (first !== undefined) return first;
  throw fail('invalidModelFile', `${where} has no attention to the text: it is incomplete, or not a UNet of Stable Diffusion.`);
}

/** diffusers calls the number of heads `attention_head_dim`. */
function headsOf(channels: readonly number[], heads: FamilyFacts['heads'], where: string): number | readonly number[] {
  if ('width' in heads) {
    return channels.map((count) => divisible(count, heads.width, 'channels a head', where) / heads.width);
  }
  for (const count of channels) divisible(count, heads.count, 'heads', where);
  return heads.count;
}

/** SDXL: the pooled text and some numbers as sinusoids, all of one width. */
function additionConfig(shapeOf: ShapeOf, { timeIds, pooledWidth }: UNetFacts, where: string): Json {
  const input = shapeOf('add_embedding.linear_1.weight')?.[1];
  if (timeIds === 0 && input === undefined) return {};
  if (timeIds === 0) throw fail('unsupportedModel', `${where} has added conditions (unCLIP), which its family does not.`);
  if (input === undefined) throw fail('invalidModelFile', `${where} has no added conditions: it is incomplete.`);
  const each = (input - pooledWidth) / timeIds;
  if (!Number.isInteger(each) || each <= 0 || each % 2 !== 0) {
    throw fail(
      'invalidModelFile',
      `${where}: its added conditions are ${input} wide, which is not the pooled text (${pooledWidth}) and ${timeIds} numbers of one even width.`,
    );
  }
  return additionOf(input, each);
}

function additionOf(inputDim: number, timeDim: number): Json {
  return {
    addition_embed_type: 'text_time',
    addition_time_embed_dim: timeDim,
    projection_class_embeddings_input_dim: inputDim,
  };
}

/** `vae/config.json` of an AutoencoderKL. @throws invalidModelFile */
export function autoencoderConfig(shapeOf: ShapeOf, scalingFactor: number, where: string): Json {
  const width = requireShape(shapeOf, where);
  const levels = countUp((i) => shapeOf(`decoder.up_blocks.${i}.resnets.0.conv1.weight`));
  const channels = range(levels).map((i) => width(`decoder.up_blocks.${levels - 1 - i}.resnets.0.conv1.weight`, 0));
  const layers = countUp((j) => shapeOf(`decoder.up_blocks.0.resnets.${j}.conv1.weight`)) - 1;
  return {
    _class_name: 'AutoencoderKL',
    act_fn: 'silu',
    block_out_channels: channels.map((count) => divisible(count, NORM_GROUPS, 'norm groups', where)),
    down_block_types: channels.map(() => 'DownEncoderBlock2D'),
    force_upcast: true,
    in_channels: shapeOf('encoder.conv_in.weight')?.[1] ?? 3,
    latent_channels: width('decoder.conv_in.weight', 1),
    layers_per_block: layers,
    mid_block_add_attention: shapeOf('decoder.mid_block.attentions.0.to_q.weight') !== undefined,
    norm_num_groups: NORM_GROUPS,
    out_channels: width('decoder.conv_out.weight', 0),
    scaling_factor: scalingFactor,
    up_block_types: channels.map(() => 'UpDecoderBlock2D'),
    use_post_quant_conv: shapeOf('post_quant_conv.weight') !== undefined,
    use_quant_conv: shapeOf('quant_conv.weight') !== undefined,
  };
}

/** `text_encoder/config.json` of a CLIP text model. @throws invalidModelFile */
export function clipTextConfig(shapeOf: ShapeOf, facts: EncoderFacts, where: string): Json {
  const width = requireShape(shapeOf, where);
  const hidden = width('text_model.embeddings.token_embedding.weight', 1);
  const layers = countUp((i) => shapeOf(`text_model.encoder.layers.${i}.layer_norm1.weight`));
  return {
    eos_token_id: 2, // as published: pooled at the largest id, which is the end token
    hidden_act: facts.activation,
    hidden_size: hidden,
    intermediate_size: width('text_model.encoder.layers.0.mlp.fc1.weight', 0),
    layer_norm_eps: 1e-5,
    max_position_embeddings: width('text_model.embeddings.position_embedding.weight', 0),
    model_type: 'clip_text_model',
    num_attention_heads: divisible(hidden, CLIP_HEAD_WIDTH, 'channels a head', where) / CLIP_HEAD_WIDTH,
    num_hidden_layers: layers - facts.unusedLayers,
    ...(facts.slot === 2 ? { projection_dim: width('text_projection.weight', 0) } : {}),
    vocab_size: width('text_model.embeddings.token_embedding.weight', 0),
  };
}

/** One size of a weight that must be there. */
function requireShape(shapeOf: ShapeOf, where: string): (internal: string, axis: number) => number {
  return (internal, axis) => {
    const shape = shapeOf(internal);
    if (shape === undefined) throw fail('invalidModelFile', `${where} has no weight for "${internal}": it is incomplete.`);
    const size = shape[axis];
    if (size !== undefined && size > 0) return size;
    throw fail('invalidModelFile', `${where}: "${internal}" is [${shape.join(', ')}]; its size ${axis} was needed.`);
  };
}

/** `size`, which the family's rule has to divide: where it does not, guessing would make a wrong picture. */
function divisible(size: number, by: number, what: string, where: string): number {
  if (size % by === 0) return size;
  throw fail('invalidModelFile', `${where}: ${size} channels do not fit the ${by} ${what} of every published model of its kind.`, {
    hint: 'Put its diffusers configs in a folder "config" beside the file: config/model_index.json, config/unet/config.json, ….',
  });
}

function countUp(isThere: (index: number) => unknown): number {
  let count = 0;
  while (isThere(count) !== undefined) count++;
  return count;
}

function range(length: number): readonly number[] {
  return Array.from({ length }, (_, i) => i);
}
