/**
 * @file What the shapes of a single-file checkpoint cannot tell, per family: the values of the published models' own configs. Data only.
 * Sources: the `config.json` and `scheduler_config.json` files of stable-diffusion-v1-5, stabilityai/stable-diffusion-2-1 (and -base),
 * stable-diffusion-xl-base-1.0, stable-diffusion-xl-refiner-1.0 and SimianLuo/LCM_Dreamshaper_v7, which is also what diffusers'
 * `from_single_file` takes.
 */

/** Families whose checkpoints come as one file. */
export type CheckpointFamily = 'sd1' | 'sd2' | 'sdxl' | 'sdxl-refiner';

/** What the network's output means. */
export type PredictionType = 'epsilon' | 'v_prediction';

/** How the encoder's weights are named, and what its config says that its shapes do not. */
export interface EncoderFacts {
  readonly slot: 1 | 2;
  /** Before every name in the file. */
  readonly prefix: string;
  readonly layout: 'clip' | 'openClip';
  readonly activation: 'quick_gelu' | 'gelu';
  /** Layers at the end that the file has but the model does not use. */
  readonly unusedLayers: number;
  /** The tokenizer's padding token. */
  readonly pad: '<|endoftext|>' | '!';
}

export interface FamilyFacts {
  /** For messages. */
  readonly name: string;
  readonly architecture: 'sd' | 'sdxl' | 'sdxl-refiner';
  /** Width of the text states that cross-attention reads; names the family of add-ons. */
  readonly textWidth: number;
  /** Heads of every level, or the width of a head. */
  readonly heads: { readonly count: number } | { readonly width: number };
  readonly encoders: readonly EncoderFacts[];
  /** Numbers beside the pooled text (sizes, crop, aesthetic score). */
  readonly timeIds: number;
  readonly vaeScaling: number;
  /** Latent size that the model was trained on, by prediction type. */
  readonly sampleSize: Readonly<Record<PredictionType, number>>;
  /** When neither the header nor anybody says. */
  readonly prediction: PredictionType;
  readonly forceZerosForEmptyPrompt: boolean;
  readonly requiresAestheticsScore: boolean;
}

/** Width of an attention head of every CLIP text model. */
export const CLIP_HEAD_WIDTH = 64;
/** Groups of every GroupNorm of every published model. */
export const NORM_GROUPS = 32;

const CLIP_L = { layout: 'clip', activation: 'quick_gelu', unusedLayers: 0, pad: '<|endoftext|>' } as const;
const OPEN_CLIP = { layout: 'openClip', activation: 'gelu', unusedLayers: 0, pad: '!' } as const;

export const FAMILY_FACTS = {
  sd1: {
    name: 'Stable Diffusion 1',
    architecture: 'sd',
    textWidth: 768,
    heads: { count: 8 },
    encoders: [{ ...CLIP_L, slot: 1, prefix: 'cond_stage_model.transformer.' }],
    timeIds: 0,
    vaeScaling: 0.18215,
    sampleSize: { epsilon: 64, v_prediction: 64 },
    prediction: 'epsilon',
    forceZerosForEmptyPrompt: false,
    requiresAestheticsScore: false,
  },
  sd2: {
    name: 'Stable Diffusion 2',
    architecture: 'sd',
    textWidth: 1024,
    heads: { width: 64 },
    // the text states are those before the last layer, so that layer is left out
    encoders: [{ ...OPEN_CLIP, slot: 1, prefix: 'cond_stage_model.model.', unusedLayers: 1 }],
    timeIds: 0,
    vaeScaling: 0.18215,
    sampleSize: { epsilon: 64, v_prediction: 96 },
    prediction: 'v_prediction',
    forceZerosForEmptyPrompt: false,
    requiresAestheticsScore: false,
  },
  sdxl: {
    name: 'Stable Diffusion XL',
    architecture: 'sdxl',
    textWidth: 2048,
    heads: { width: 64 },
    encoders: [
      { ...CLIP_L, slot: 1, prefix: 'conditioner.embedders.0.transformer.' },
      { ...OPEN_CLIP, slot: 2, prefix: 'conditioner.embedders.1.model.' },
    ],
    timeIds: 6,
    vaeScaling: 0.13025,
    sampleSize: { epsilon: 128, v_prediction: 128 },
    prediction: 'epsilon',
    forceZerosForEmptyPrompt: true,
    requiresAestheticsScore: false,
  },
  'sdxl-refiner': {
    name: 'Stable Diffusion XL refiner',
    architecture: 'sdxl-refiner',
    textWidth: 1280,
    heads: { width: 64 },
    encoders: [{ ...OPEN_CLIP, slot: 2, prefix: 'conditioner.embedders.0.model.' }],
    timeIds: 5,
    vaeScaling: 0.13025,
    sampleSize: { epsilon: 128, v_prediction: 128 },
    prediction: 'epsilon',
    forceZerosForEmptyPrompt: false,
    requiresAestheticsScore: true,
  },
} as const satisfies Readonly<Record<CheckpointFamily, FamilyFacts>>;

/** Common to all of them (CompVis/latent-diffusion, `configs/stable-diffusion/v1-inference.yaml`: linear_start, linear_end). */
const NOISE = {
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  beta_start: 0.00085,
  clip_sample: false,
  num_train_timesteps: 1000,
  set_alpha_to_one: false,
  skip_prk_steps: true,
  steps_offset: 1,
  trained_betas: null,
} as const;

const EULER_LEADING = {
  ...NOISE,
  _class_name: 'EulerDiscreteScheduler',
  interpolation_type: 'linear',
  sample_max_value: 1.0,
  timestep_spacing: 'leading',
  use_karras_sigmas: false,
} as const;

/** The models' own schedulers, as diffusers' config, by prediction type. */
export const FAMILY_SCHEDULERS = {
  sd1: {
    epsilon: { ...NOISE, _class_name: 'PNDMScheduler' },
    v_prediction: { ...NOISE, _class_name: 'DDIMScheduler', prediction_type: 'v_prediction' },
  },
  sd2: {
    epsilon: { ...NOISE, _class_name: 'PNDMScheduler', prediction_type: 'epsilon' },
    v_prediction: { ...NOISE, _class_name: 'DDIMScheduler', prediction_type: 'v_prediction' },
  },
  sdxl: {
    epsilon: { ...EULER_LEADING, prediction_type: 'epsilon' },
    v_prediction: { ...EULER_LEADING, prediction_type: 'v_prediction' },
  },
  'sdxl-refiner': {
    epsilon: { ...EULER_LEADING, prediction_type: 'epsilon' },
    v_prediction: { ...EULER_LEADING, prediction_type: 'v_prediction' },
  },
} as const satisfies Readonly<Record<CheckpointFamily, Readonly<Record<PredictionType, object>>>>;

/** Of a UNet with a guidance embedding (`time_cond_proj_dim`), whatever its family. */
export const LCM_SCHEDULER = {
  ...NOISE,
  _class_name: 'LCMScheduler',
  original_inference_steps: 50,
  prediction_type: 'epsilon',
  rescale_betas_zero_snr: false,
  set_alpha_to_one: true,
  timestep_spacing: 'leading',
} as const;

/**
 * On top of the above for models trained to zero terminal SNR: sampling has to begin at the last timestep.
 * Lin et al. 2024 (https://arxiv.org/abs/2305.08891), §3.1 and §3.3.
 */
export const ZERO_TERMINAL_SNR = { rescale_betas_zero_snr: true, timestep_spacing: 'trailing' } as const;
