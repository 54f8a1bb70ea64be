/** @file `config.json` of a ControlNetModel, as diffusers writes it: data, its parser, and whether it fits a model's UNet. */
import { fail } from '../../base/errors.js';
import { fields, show, wholeNumber, type Fields } from '../../base/fields.js';
import { FAMILY_FACTS } from '../checkpoint-families.js';
import { layerCount } from './counts.js';
import { parseUNetConfig, type UNetConfig, type UNetEncoderConfig } from './unet.js';

/** A copy of a UNet's first half, and what makes a guide picture into features. Defaults are diffusers'. */
export interface ControlNetConfig extends UNetEncoderConfig {
  /** Channels of the guide picture: 3. */
  readonly conditioningChannels: number;
  /** Order of its colours; `bgr` in a few nets trained on OpenCV's pictures. */
  readonly channelOrder: 'rgb' | 'bgr';
  /** Widths of the guide's features, one more than there are halvings: as many as of the picture by the VAE, 3. */
  readonly hintChannels: readonly number[];
  /** Residuals are their mean over the picture (the "shuffle" nets). */
  readonly globalPool: boolean;
}

/** Latents are 1/8 of the picture: three halvings. */
const HINT_LEVELS = 4;

/** Classes that are called control nets and work in another way. */
const OTHER_CLASSES: ReadonlyMap<string, string> = new Map([
  ['ControlNetUnionModel', 'a union ControlNet (one net for several kinds of guides)'],
  ['MultiControlNetModel', 'several ControlNets in one folder; give each by itself'],
  ['ControlNetXSAdapter', 'a ControlNet-XS'],
  ['SparseControlNetModel', 'a SparseCtrl net for videos'],
  ['T2IAdapter', 'a T2I-Adapter'],
  ['FluxControlNetModel', 'a ControlNet for FLUX.1'],
  ['SD3ControlNetModel', 'a ControlNet for Stable Diffusion 3'],
]);

/** @throws invalidModelConfig, unsupportedModel (says what the folder is instead) */
export function parseControlNetConfig(json: unknown, where = 'config.json'): ControlNetConfig {
  const f = fields(json, where);
  checkClass(f);
  const unet = parseUNetConfig(asUNet(json, f), where);
  const hintChannels = f.list('conditioning_embedding_out_channels', wholeNumber, [16, 32, 96, 256]);
  if (hintChannels.length !== HINT_LEVELS) {
    throw f.error('conditioning_embedding_out_channels', `a list of ${HINT_LEVELS}, so that the guide is halved three times`);
  }
  return {
    ...unet,
    transformerLayersPerBlock: transformerDepths(f, unet.blockOutChannels.length),
    conditioningChannels: f.integer('conditioning_channels', 3, { max: 3 }),
    channelOrder: f.oneOf('controlnet_conditioning_channel_order', ['rgb', 'bgr'], 'rgb'),
    hintChannels,
    globalPool: f.boolean('global_pool_conditions', false),
  };
}

function checkClass(f: Fields): void {
  const kind = f.text('_class_name', 'ControlNetModel');
  if (kind === 'ControlNetModel') return;
  const what = OTHER_CLASSES.get(kind) ?? `a ${show(kind)}`;
  throw fail('unsupportedModel', `${f.where} is of ${what}; expected a ControlNetModel for Stable Diffusion 1, 2 or XL.`);
}

/** The same file as a UNet's: up blocks that mirror the down blocks, and nothing that only UNets have. */
function asUNet(json: unknown, f: Fields): unknown {
  const levels = f.list('down_block_types', (type) => type, ['', '', '', '']).length;
  return {
    ...Object(json),
    _class_name: 'UNet2DConditionModel',
    up_block_types: Array<string>(levels).fill('UpBlock2D'),
    out_channels: null,
    conv_in_kernel: null,
    conv_out_kernel: null,
    sample_size: null,
    time_cond_proj_dim: null,
    time_embedding_dim: null,
    transformer_layers_per_block: null,
  };
}

/** As a UNet's, but 0 is allowed: the small SDXL nets have attention layers without transformer blocks. */
function transformerDepths(f: Fields, levels: number): readonly number[] {
  const key = 'transformer_layers_per_block';
  const value = f.raw(key) ?? 1;
  if (!Array.isArray(value)) return Array<number>(levels).fill(depthOf(value, `${f.where}: "${key}"`));
  const depths = f.list(key, depthOf);
  if (depths.length !== levels) throw f.error(key, `one value or a list of ${levels} (one per block_out_channels)`);
  return depths;
}

function depthOf(value: unknown, where: string): number {
  return value === 0 ? 0 : layerCount(value, where);
}

/**
 * Why a ControlNet does not fit a model, in words that continue "The ControlNet …"; `undefined` when it does. Its residuals must have the
 * sizes of the UNet's skips, and it reads the same text and added conditions.
 */
export function controlNetMisfit(control: ControlNetConfig, unet: UNetConfig): string | undefined {
  const [own, wanted] = [control.crossAttentionDim, unet.crossAttentionDim].map(([width = 0]) => width);
  if (own !== wanted) return `is for ${familyOf(own)}, the model is ${familyOf(wanted)}`;
  const [added, wantedAdded] = [control.addition?.inputDim, unet.addition?.inputDim];
  if (added !== wantedAdded) return `reads ${conditions(added)}, the model ${conditions(wantedAdded)}`;
  if (control.inChannels !== unet.outChannels) {
    return `reads ${control.inChannels} channels of latents, the model makes ${unet.outChannels}`;
  }
  const same = (key: 'blockOutChannels' | 'layersPerBlock'): boolean => control[key].join() === unet[key].join();
  if (!same('blockOutChannels')) {
    return `has levels of ${control.blockOutChannels.join(', ')} channels, the model of ${unet.blockOutChannels.join(', ')}`;
  }
  if (!same('layersPerBlock')) return 'has another number of layers than the model';
  return undefined;
}

/** By the width of the text states. */
function familyOf(width: number | undefined): string {
  const facts = Object.values(FAMILY_FACTS).find(({ textWidth }) => textWidth === width);
  return facts?.name ?? `a model with text states ${width} wide`;
}

function conditions(width: number | undefined): string {
  return width === undefined ? 'no added conditions' : `added conditions ${width} wide`;
}
