/** @file The autoencoders that can decode a model's latents, told apart by their config's class. */
import { fields } from '../../base/fields.js';
import { parseAutoencoderKLConfig, type AutoencoderKLConfig } from './autoencoder-kl.js';
import { parseAutoencoderTinyConfig, type AutoencoderTinyConfig } from './autoencoder-tiny.js';

export type VaeConfig = AutoencoderKLConfig | AutoencoderTinyConfig;

/** @throws invalidModelConfig, unsupportedModel */
export function parseVaeConfig(json: unknown, where = 'vae/config.json'): VaeConfig {
  const kind = fields(json, where).text('_class_name', 'AutoencoderKL');
  return kind === 'AutoencoderTiny' ? parseAutoencoderTinyConfig(json, where) : parseAutoencoderKLConfig(json, where);
}

/** How many pixels one latent cell is wide: every level but the last doubles it. */
export function vaeScaleFactor(config: VaeConfig): number {
  const levels = config.kind === 'kl' ? config.blockOutChannels : config.decoderBlockOutChannels;
  return 2 ** (levels.length - 1);
}
