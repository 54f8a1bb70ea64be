/** @file The models that come with the package: AIR and the address of each file under `models/`. Data only. */

/** A model of the package. */
export interface BundledModel {
  readonly air: string;
  /** Path within the model's folder → URL. */
  readonly files: Readonly<Record<string, string>>;
}

/**
 * Each address is written out: a bundler that sees `new URL('…', import.meta.url)` copies the file along (small ones become `data:`
 * URLs), so that an app needs no configuration to have the model.
 */
const TINYWORLD: BundledModel = {
  air: 'darkroom:1@1',
  files: {
    'card.json': new URL('../../models/tinyworld/card.json', import.meta.url).href,
    'model_index.json': new URL('../../models/tinyworld/model_index.json', import.meta.url).href,
    'scheduler/scheduler_config.json': new URL('../../models/tinyworld/scheduler/scheduler_config.json', import.meta.url).href,
    'text_encoder/config.json': new URL('../../models/tinyworld/text_encoder/config.json', import.meta.url).href,
    'text_encoder/model.safetensors': new URL('../../models/tinyworld/text_encoder/model.safetensors', import.meta.url).href,
    'tokenizer/merges.txt': new URL('../../models/tinyworld/tokenizer/merges.txt', import.meta.url).href,
    'tokenizer/special_tokens_map.json': new URL('../../models/tinyworld/tokenizer/special_tokens_map.json', import.meta.url).href,
    'tokenizer/tokenizer_config.json': new URL('../../models/tinyworld/tokenizer/tokenizer_config.json', import.meta.url).href,
    'tokenizer/vocab.json': new URL('../../models/tinyworld/tokenizer/vocab.json', import.meta.url).href,
    'unet/config.json': new URL('../../models/tinyworld/unet/config.json', import.meta.url).href,
    'unet/diffusion_pytorch_model.safetensors': new URL('../../models/tinyworld/unet/diffusion_pytorch_model.safetensors', import.meta.url).href,
    'vae/config.json': new URL('../../models/tinyworld/vae/config.json', import.meta.url).href,
    'vae/diffusion_pytorch_model.safetensors': new URL('../../models/tinyworld/vae/diffusion_pytorch_model.safetensors', import.meta.url).href,
  },
};

export const BUNDLED_MODELS: readonly BundledModel[] = [TINYWORLD];

/** What a request that names no model gets. */
export const DEFAULT_MODEL = TINYWORLD.air;
