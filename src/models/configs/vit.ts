/** @file The part of transformers' configs that vision transformers share. Data and its parser. */
import { fail } from '../../base/errors.js';
import type { Fields } from '../../base/fields.js';

export interface VitConfig {
  readonly hiddenSize: number;
  readonly layers: number;
  readonly heads: number;
  /** Width of the feed-forward layers, in hidden sizes. */
  readonly mlpRatio: number;
  readonly eps: number;
  /** Side of a square patch, in pixels. */
  readonly patchSize: number;
  /** Size of the pictures that the model was trained with, in pixels. */
  readonly imageHeight: number;
  readonly imageWidth: number;
}

/** @throws invalidModelConfig, unsupportedModel */
export function parseVitConfig(f: Fields, defaults: { readonly eps: number; readonly patchSize: number; readonly image: readonly [number, number] }): VitConfig {
  f.only('hidden_act', ['gelu'], 'another activation than GELU');
  f.only('num_channels', [3], 'another input than RGB');
  f.only('qkv_bias', [true], 'attention without biases');
  const [imageHeight, imageWidth] = pair(f, 'image_size', defaults.image);
  const [patchHeight, patchWidth] = pair(f, 'patch_size', [defaults.patchSize, defaults.patchSize]);
  if (patchHeight !== patchWidth) throw f.error('patch_size', 'square');
  const config: VitConfig = {
    hiddenSize: f.integer('hidden_size', 768, { max: 8192 }),
    layers: f.integer('num_hidden_layers', 12, { max: 256 }),
    heads: f.integer('num_attention_heads', 12, { max: 256 }),
    mlpRatio: f.integer('mlp_ratio', 4, { max: 16 }),
    eps: f.number('layer_norm_eps', defaults.eps, { min: 0, max: 1 }),
    patchSize: patchHeight,
    imageHeight,
    imageWidth,
  };
  if (config.hiddenSize % config.heads !== 0) {
    throw fail('invalidModelConfig', `${f.where}: hidden_size ${config.hiddenSize} is not a multiple of num_attention_heads ${config.heads}.`);
  }
  return config;
}

/** One number for both, or `[height, width]`. */
function pair(f: Fields, key: string, fallback: readonly [number, number]): readonly [number, number] {
  const value = f.raw(key);
  if (value === undefined) return fallback;
  const both: readonly unknown[] = Array.isArray(value) ? value : [value, value];
  const [height, width] = both;
  if (both.length === 2 && isSize(height) && isSize(width)) return [height, width];
  throw f.error(key, 'a size in pixels or [height, width]');
}

function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 16_384;
}
