/** @file `config.json` and `preprocessor_config.json` of a Depth Anything model, as transformers writes them. Data and their parsers. */
import { fail } from '../../base/errors.js';
import { fields, wholeNumber, type Fields } from '../../base/fields.js';
import { parseVitConfig, type VitConfig } from './vit.js';

/** Defaults are those of transformers' `DepthAnythingConfig` and `Dinov2Config`. */
export interface DepthAnythingConfig {
  readonly backbone: VitConfig;
  /** After which layers of the backbone its tokens are read; 1 = the first. */
  readonly readAfter: readonly number[];
  /** Whether those go through the backbone's final norm. */
  readonly normed: boolean;
  /** Per read: the size of its features against the grid of patches, 4 to ¼. */
  readonly reassembleFactors: readonly number[];
  readonly neckHiddenSizes: readonly number[];
  readonly fusionHiddenSize: number;
  readonly headHiddenSize: number;
  /** Relative models end in ReLU, metric ones in a sigmoid; the scale is of no account for a picture. */
  readonly metric: boolean;
}

/** How a picture becomes what the network reads. */
export interface DepthInputConfig {
  readonly height: number;
  readonly width: number;
  readonly keepAspectRatio: boolean;
  readonly multipleOf: number;
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** @throws invalidModelConfig, unsupportedModel */
export function parseDepthAnythingConfig(json: unknown, where = 'config.json'): DepthAnythingConfig {
  const f = fields(json, where);
  const kind = f.text('model_type', 'depth_anything');
  if (kind !== 'depth_anything') {
    throw fail('unsupportedModel', `${where}: a ${kind} model is not supported for depth; expected depth_anything.`);
  }
  const b = fields(f.raw('backbone_config'), `${where}: "backbone_config"`);
  b.only('model_type', ['dinov2'], 'another backbone than DINOv2');
  b.only('use_swiglu_ffn', [false], 'a SwiGLU feed-forward (DINOv2 giant)');
  const backbone = parseVitConfig(b, { eps: 1e-6, patchSize: 14, image: [224, 224] });
  f.only('patch_size', [backbone.patchSize], 'another patch size than the backbone’s');
  const config: DepthAnythingConfig = {
    backbone,
    readAfter: readAfter(b, backbone.layers),
    normed: b.boolean('apply_layernorm', true),
    reassembleFactors: f.list('reassemble_factors', factor, [4, 2, 1, 0.5]),
    neckHiddenSizes: f.list('neck_hidden_sizes', wholeNumber, [48, 96, 192, 384]),
    fusionHiddenSize: f.integer('fusion_hidden_size', 64, { max: 4096 }),
    headHiddenSize: f.integer('head_hidden_size', 32, { max: 4096 }),
    metric: f.oneOf('depth_estimation_type', ['relative', 'metric'], 'relative') === 'metric',
  };
  f.only('head_in_index', [-1, config.readAfter.length - 1], 'a head that reads another level than the last');
  f.only('reassemble_hidden_size', [backbone.hiddenSize], 'a neck of another width than the backbone');
  const { length } = config.readAfter;
  if (config.reassembleFactors.length !== length || config.neckHiddenSizes.length !== length) {
    throw fail('invalidModelConfig', `${where}: out_indices, reassemble_factors and neck_hidden_sizes differ in length.`);
  }
  return config;
}

/** `out_indices`, else the numbers in `out_features` (`stage3`), else the last layer. */
function readAfter(b: Fields, layers: number): readonly number[] {
  const list = b.has('out_indices')
    ? b.list('out_indices', wholeNumber)
    : b.list('out_features', (name) => Number(/^stage(\d+)$/.exec(String(name))?.[1] ?? NaN), [layers]);
  if (list.length > 0 && list.every((at, i) => at <= layers && at > (list[i - 1] ?? 0))) return list;
  throw b.error('out_indices', `a growing list of layers from 1 to ${layers}`);
}

function factor(value: unknown, where: string): number {
  const allowed = [4, 2, 1, 0.5, 0.25];
  if (typeof value === 'number' && allowed.includes(value)) return value;
  throw fail('unsupportedModel', `${where} must be one of ${allowed.join(', ')}.`);
}

/** Defaults are those of the published Depth Anything models. @throws invalidModelConfig, unsupportedModel */
export function parseDepthInputConfig(json: unknown, where = 'preprocessor_config.json'): DepthInputConfig {
  const f = fields(json, where);
  const size = fields(f.raw('size') ?? {}, `${where}: "size"`);
  f.only('resample', [3], 'another resampling than bicubic');
  f.only('do_resize', [true], 'a picture that is not resized');
  f.only('do_pad', [false], 'padding');
  return {
    height: size.integer('height', 518, { max: 4096 }),
    width: size.integer('width', 518, { max: 4096 }),
    keepAspectRatio: f.boolean('keep_aspect_ratio', true),
    multipleOf: f.integer('ensure_multiple_of', 14, { max: 4096 }),
    mean: perChannel(f, 'image_mean', [0.485, 0.456, 0.406]),
    std: perChannel(f, 'image_std', [0.229, 0.224, 0.225]),
  };
}

function perChannel(f: Fields, key: string, fallback: readonly number[]): readonly number[] {
  const list = f.list(key, (value) => (typeof value === 'number' ? value : NaN), fallback);
  if (list.length === 3 && list.every(Number.isFinite)) return list;
  throw f.error(key, 'a list of three numbers');
}
