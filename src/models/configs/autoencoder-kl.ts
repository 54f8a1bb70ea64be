/** @file `vae/config.json` of an AutoencoderKL, as diffusers writes it. Data and its parser. */
import { fail } from '../../base/errors.js';
import { fields, show, wholeNumber, type Fields } from '../../base/fields.js';
import { checkLevels } from './counts.js';

/** Defaults are those of diffusers' `AutoencoderKL`. */
export interface AutoencoderKLConfig {
  readonly kind: 'kl';
  readonly inChannels: number;
  readonly outChannels: number;
  readonly latentChannels: number;
  readonly blockOutChannels: readonly number[];
  readonly layersPerBlock: number;
  readonly normNumGroups: number;
  readonly midBlockAttention: boolean;
  readonly useQuantConv: boolean;
  readonly usePostQuantConv: boolean;
  /** The sampler's latents are the autoencoder's times this. */
  readonly scalingFactor: number;
  /**
   * 16-channel autoencoders (FLUX, SD 3) shift as well: latents = (z − shiftFactor)·scalingFactor. 0 where the config has none. The pipelines of
   * Stable Diffusion 1, 2 and XL ignore it, whatever it says.
   */
  readonly shiftFactor: number;
  /** Some SDXL autoencoders standardise each channel instead: latents = (z − mean)·scalingFactor/std. */
  readonly latentsMean: readonly number[] | undefined;
  readonly latentsStd: readonly number[] | undefined;
}

/** @throws invalidModelConfig, unsupportedModel */
export function parseAutoencoderKLConfig(json: unknown, where = 'vae/config.json'): AutoencoderKLConfig {
  const f = fields(json, where);
  const kind = f.text('_class_name', 'AutoencoderKL');
  if (kind !== 'AutoencoderKL') throw fail('unsupportedModel', `${where}: a ${kind} is not supported; expected an AutoencoderKL.`);
  f.only('act_fn', ['silu', 'swish'], 'another activation than SiLU');
  for (const key of ['in_channels', 'out_channels']) f.only(key, [3], 'an autoencoder of other pictures than RGB');
  const blockOutChannels = f.list('block_out_channels', wholeNumber, [64]);
  checkLevels(blockOutChannels, `${where}: "block_out_channels"`);
  const blocks = (key: string, only: string): void => {
    const types = f.list(key, (v) => v, Array<string>(blockOutChannels.length).fill(only));
    if (types.length !== blockOutChannels.length || types.some((t) => t !== only)) {
      throw fail('unsupportedModel', `${where}: "${key}" must hold ${blockOutChannels.length} × "${only}".`);
    }
  };
  blocks('down_block_types', 'DownEncoderBlock2D');
  blocks('up_block_types', 'UpDecoderBlock2D');
  const normNumGroups = f.integer('norm_num_groups', 32);
  for (const channels of blockOutChannels) {
    if (channels % normNumGroups !== 0) {
      throw fail('invalidModelConfig', `${where}: ${channels} channels do not divide into norm_num_groups ${normNumGroups}.`);
    }
  }
  const latentChannels = f.integer('latent_channels', 4, { max: 256 });
  return {
    kind: 'kl',
    inChannels: f.integer('in_channels', 3),
    outChannels: f.integer('out_channels', 3),
    latentChannels,
    blockOutChannels,
    layersPerBlock: f.integer('layers_per_block', 1, { max: 16 }),
    normNumGroups,
    midBlockAttention: f.boolean('mid_block_add_attention', true),
    useQuantConv: f.boolean('use_quant_conv', true),
    usePostQuantConv: f.boolean('use_post_quant_conv', true),
    scalingFactor: f.number('scaling_factor', 0.18215, { min: 1e-6, max: 1e6 }),
    shiftFactor: f.number('shift_factor', 0, { min: -1e6, max: 1e6 }),
    latentsMean: perChannel(f, 'latents_mean', latentChannels),
    latentsStd: perChannel(f, 'latents_std', latentChannels),
  };
}

/** One finite number per latent channel, or nothing. */
function perChannel(f: Fields, key: string, channels: number): readonly number[] | undefined {
  if (!f.has(key)) return undefined;
  const list = f.list(key, (value, where) => {
    if (typeof value === 'number' && Number.isFinite(value)) return value;
    throw fail('invalidModelConfig', `${where} must be a number, got ${show(value)}.`);
  });
  if (list.length !== channels) throw f.error(key, `a list of ${channels} numbers (one per latent channel)`);
  return list;
}
