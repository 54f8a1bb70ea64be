/**
 * @file What the shapes of FLUX.1's files cannot tell: values of the published models' own configs, and where the parts are that files with the
 * transformer alone lack. Data only. Sources: `scheduler_config.json` and `vae/config.json` of black-forest-labs/FLUX.1-dev and -schnell.
 */
import type { EncoderFacts } from './checkpoint-families.js';

/** CLIP-L, of which only the pooled output is used. */
export const FLUX_CLIP: EncoderFacts = {
  slot: 1,
  prefix: '',
  layout: 'clip',
  activation: 'quick_gelu',
  unusedLayers: 0,
  pad: '<|endoftext|>',
};

/** Latents are (z − shift) · scaling. */
export const FLUX_VAE = { scaling_factor: 0.3611, shift_factor: 0.1159 } as const;

const FLOW_MATCH = {
  _class_name: 'FlowMatchEulerDiscreteScheduler',
  base_image_seq_len: 256,
  base_shift: 0.5,
  max_image_seq_len: 4096,
  max_shift: 1.15,
  num_train_timesteps: 1000,
} as const;

/** By whether the guidance scale is an input: dev shifts its sigmas by the number of tokens, schnell does not. */
export const FLUX_SCHEDULER_CONFIGS = {
  dev: { ...FLOW_MATCH, shift: 3, use_dynamic_shifting: true },
  schnell: { ...FLOW_MATCH, shift: 1, use_dynamic_shifting: false },
} as const;

/**
 * Where the text encoders, their tokenizers and the VAE come from, unless somebody says otherwise: they are the same in all of FLUX.1, and here
 * they are under Apache 2.0.
 */
export const FLUX_COMPANIONS = ['huggingface:black-forest-labs/FLUX.1-schnell'] as const;
