/** @file `config.json` of an AutoencoderTiny (TAESD), as diffusers writes it. Data and its parser. */
import { fail } from '../../base/errors.js';
import { fields, wholeNumber } from '../../base/fields.js';
import { checkLevels, layerCount } from './counts.js';

/** Defaults are those of diffusers' `AutoencoderTiny`. */
export interface AutoencoderTinyConfig {
  readonly kind: 'tiny';
  readonly outChannels: number;
  readonly latentChannels: number;
  readonly decoderBlockOutChannels: readonly number[];
  readonly numDecoderBlocks: readonly number[];
  readonly scalingFactor: number;
}

/** @throws invalidModelConfig, unsupportedModel */
export function parseAutoencoderTinyConfig(json: unknown, where = 'vae/config.json'): AutoencoderTinyConfig {
  const f = fields(json, where);
  f.only('act_fn', ['relu'], 'another activation than ReLU');
  f.only('out_channels', [3], 'an autoencoder of other pictures than RGB');
  f.only('upsampling_scaling_factor', [2], 'another upsampling factor than 2');
  f.only('upsample_fn', ['nearest'], 'another upsampling than nearest');
  const decoderBlockOutChannels = f.list('decoder_block_out_channels', wholeNumber, [64, 64, 64, 64]);
  checkLevels(decoderBlockOutChannels, `${where}: "decoder_block_out_channels"`);
  const numDecoderBlocks = f.list('num_decoder_blocks', layerCount, [3, 3, 3, 1]);
  if (numDecoderBlocks.length !== decoderBlockOutChannels.length) {
    throw fail('invalidModelConfig', `${where}: num_decoder_blocks and decoder_block_out_channels differ in length.`);
  }
  return {
    kind: 'tiny',
    outChannels: f.integer('out_channels', 3),
    latentChannels: f.integer('latent_channels', 4, { max: 256 }),
    decoderBlockOutChannels,
    numDecoderBlocks,
    scalingFactor: f.number('scaling_factor', 1, { min: 1e-6, max: 1e6 }),
  };
}
