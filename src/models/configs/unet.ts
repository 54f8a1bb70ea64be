/** @file `unet/config.json` of a UNet2DConditionModel, as diffusers writes it. Data and its parser. */
import { fail } from '../../base/errors.js';
import { fields, show, wholeNumber, type Fields } from '../../base/fields.js';
import { checkLevels, layerCount } from './counts.js';

export type DownBlockType = 'CrossAttnDownBlock2D' | 'DownBlock2D';
export type UpBlockType = 'CrossAttnUpBlock2D' | 'UpBlock2D';
export type MidBlockType = 'UNetMidBlock2DCrossAttn' | 'UNetMidBlock2D';

/** Per-level lists have one entry per resolution, in the order of `down_block_types`. Defaults are diffusers'. */
export interface UNetConfig {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly blockOutChannels: readonly number[];
  readonly downBlockTypes: readonly DownBlockType[];
  readonly midBlockType: MidBlockType | undefined;
  readonly upBlockTypes: readonly UpBlockType[];
  readonly layersPerBlock: readonly number[];
  readonly transformerLayersPerBlock: readonly number[];
  /** Heads of each level. diffusers' `attention_head_dim` is, for these models, the *number of heads*. */
  readonly heads: readonly number[];
  readonly crossAttentionDim: readonly number[];
  readonly onlyCrossAttention: readonly boolean[];
  readonly useLinearProjection: boolean;
  readonly normNumGroups: number;
  readonly normEps: number;
  readonly downsamplePadding: number;
  readonly convInKernel: number;
  readonly convOutKernel: number;
  readonly flipSinToCos: boolean;
  readonly freqShift: number;
  readonly timeEmbeddingDim: number;
  /** SDXL's added conditions: width of each time id's sinusoid, and of all of them together with the pooled text. */
  readonly addition: { readonly timeDim: number; readonly inputDim: number } | undefined;
  /** Width of the guidance embedding of distilled (LCM) models. */
  readonly timeCondProjDim: number | undefined;
  /** Divides the residual sum of the mid block's resnets. */
  readonly midBlockScaleFactor: number;
  readonly sampleSize: number | undefined;
}

/** Of a UNet, what its first half needs: the half that a ControlNet copies. */
export type UNetEncoderConfig = Omit<UNetConfig, 'outChannels' | 'upBlockTypes' | 'convOutKernel' | 'sampleSize'>;

/** @throws invalidModelConfig, unsupportedModel */
export function parseUNetConfig(json: unknown, where = 'unet/config.json'): UNetConfig {
  const f = fields(json, where);
  const kind = f.text('_class_name', 'UNet2DConditionModel');
  if (kind !== 'UNet2DConditionModel') throw fail('unsupportedModel', `${where}: a ${kind} is not supported; expected a UNet2DConditionModel.`);
  refuseUnsupported(f);

  const blockOutChannels = f.list('block_out_channels', wholeNumber, [320, 640, 1280, 1280]);
  checkLevels(blockOutChannels, `${where}: "block_out_channels"`);
  const levels = blockOutChannels.length;
  const first = blockOutChannels[0] ?? 0;
  const perLevel = <T>(key: string, item: (value: unknown, at: string) => T, fallback: T): readonly T[] => {
    const value = f.raw(key);
    if (!Array.isArray(value)) return Array<T>(levels).fill(value === undefined ? fallback : item(value, `${where}: "${key}"`));
    const list = f.list(key, item);
    if (list.length !== levels) throw f.error(key, `one value or a list of ${levels} (one per block_out_channels)`);
    return list;
  };
  const blockTypes = <const T extends string>(key: string, allowed: readonly T[], fallback: readonly T[]): readonly T[] => {
    const types = f.list(key, (v, at) => blockType(v, at, allowed), fallback);
    if (types.length !== levels) throw f.error(key, `a list of ${levels} block types`);
    return types;
  };

  const heads = perLevel(f.has('num_attention_heads') ? 'num_attention_heads' : 'attention_head_dim', wholeNumber, 8);
  const config: UNetConfig = {
    inChannels: f.integer('in_channels', 4),
    outChannels: f.integer('out_channels', 4),
    blockOutChannels,
    downBlockTypes: blockTypes('down_block_types', ['CrossAttnDownBlock2D', 'DownBlock2D'], [
      'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D',
    ]),
    midBlockType: f.raw('mid_block_type') === undefined && 'mid_block_type' in Object(json)
      ? undefined
      : f.oneOf('mid_block_type', ['UNetMidBlock2DCrossAttn', 'UNetMidBlock2D'], 'UNetMidBlock2DCrossAttn'),
    upBlockTypes: blockTypes('up_block_types', ['CrossAttnUpBlock2D', 'UpBlock2D'], [
      'UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D',
    ]),
    layersPerBlock: perLevel('layers_per_block', layerCount, 2),
    transformerLayersPerBlock: perLevel('transformer_layers_per_block', layerCount, 1),
    heads,
    crossAttentionDim: perLevel('cross_attention_dim', wholeNumber, 1280),
    onlyCrossAttention: perLevel('only_cross_attention', trueOrFalse, false),
    useLinearProjection: f.boolean('use_linear_projection', false),
    normNumGroups: f.integer('norm_num_groups', 32),
    normEps: f.number('norm_eps', 1e-5, { min: 0, max: 1 }),
    downsamplePadding: f.integer('downsample_padding', 1, { min: 0, max: 1 }),
    convInKernel: oddKernel(f, 'conv_in_kernel'),
    convOutKernel: oddKernel(f, 'conv_out_kernel'),
    flipSinToCos: f.boolean('flip_sin_to_cos', true),
    freqShift: f.number('freq_shift', 0),
    timeEmbeddingDim: f.integer('time_embedding_dim', 4 * first),
    addition: parseAddition(f),
    timeCondProjDim: f.has('time_cond_proj_dim') ? f.integer('time_cond_proj_dim') : undefined,
    midBlockScaleFactor: f.number('mid_block_scale_factor', 1, { min: 1e-6, max: 1e6 }),
    sampleSize: typeof f.raw('sample_size') === 'number' ? f.integer('sample_size') : undefined,
  };
  checkWidths(config, where);
  return config;
}

function parseAddition(f: Fields): UNetConfig['addition'] {
  if (!f.has('addition_embed_type')) return undefined;
  return { timeDim: f.integer('addition_time_embed_dim'), inputDim: f.integer('projection_class_embeddings_input_dim') };
}

/** Keys that would change the network in a way that is not built yet. */
function refuseUnsupported(f: Fields): void {
  f.only('act_fn', ['silu', 'swish'], 'another activation than SiLU');
  f.only('dual_cross_attention', [false], 'dual cross attention');
  f.only('class_embed_type', [], 'class conditioning');
  f.only('num_class_embeds', [], 'class conditioning');
  f.only('addition_embed_type', ['text_time'], 'another added conditioning than text_time');
  f.only('encoder_hid_dim', [], 'a projection of the text states');
  f.only('encoder_hid_dim_type', [], 'a projection of the text states');
  f.only('time_embedding_type', ['positional'], 'another time embedding than positional');
  f.only('timestep_post_act', [], 'an activation after the time embedding');
  f.only('time_embedding_act_fn', [], 'an activation on the time embedding');
  f.only('resnet_time_scale_shift', ['default'], 'scale-shift time conditioning');
  f.only('resnet_skip_time_act', [false], 'resnets without time activation');
  f.only('resnet_out_scale_factor', [1, 1.0], 'scaled resnet outputs');
  f.only('cross_attention_norm', [false], 'a norm of the text states');
  f.only('reverse_transformer_layers_per_block', [], 'an own transformer depth on the way up');
  f.only('attention_type', ['default'], 'another attention type');
  f.only('mid_block_only_cross_attention', [false], 'a mid block without self-attention');
  f.only('center_input_sample', [false], 'a centred input');
  f.only('class_embeddings_concat', [false], 'concatenated class embeddings');
}

function checkWidths(config: UNetConfig, where: string): void {
  config.blockOutChannels.forEach((channels, level) => {
    if (channels % config.normNumGroups !== 0) {
      throw fail('invalidModelConfig', `${where}: ${channels} channels do not divide into norm_num_groups ${config.normNumGroups}.`);
    }
    const heads = config.heads[level] ?? 1;
    if (channels % heads !== 0) {
      throw fail('invalidModelConfig', `${where}: ${channels} channels do not divide into ${heads} heads (attention_head_dim).`);
    }
  });
}

function blockType<const T extends string>(value: unknown, where: string, allowed: readonly T[]): T {
  const type = allowed.find((name) => name === value);
  if (type === undefined) throw fail('unsupportedModel', `${where} is ${show(value)}; supported: ${allowed.join(', ')}.`);
  return type;
}

function trueOrFalse(value: unknown, where: string): boolean {
  if (typeof value === 'boolean') return value;
  throw fail('invalidModelConfig', `${where} must be true or false.`);
}

function oddKernel(f: Fields, key: string): number {
  const size = f.integer(key, 3, { max: 15 });
  if (size % 2 === 0) throw f.error(key, 'an odd kernel size');
  return size;
}
