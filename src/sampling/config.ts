/** @file `scheduler_config.json`: its keys, their checks, and how a class completes it with its own defaults. Pure data. */
import { fail } from '../base/errors.js';
import type { PredictionType } from './preconditioning.js';

/** The keys that are read, in the file's own spelling. A key that a class does not know has the neutral value below. */
export interface SchedulerConfig {
  readonly num_train_timesteps: number;
  readonly beta_start: number;
  readonly beta_end: number;
  readonly beta_schedule: 'linear' | 'scaled_linear' | 'squaredcos_cap_v2';
  readonly trained_betas: readonly number[] | null;
  readonly rescale_betas_zero_snr: boolean;
  readonly prediction_type: PredictionType;
  readonly timestep_spacing: 'linspace' | 'leading' | 'trailing';
  readonly steps_offset: number;
  readonly timestep_type: 'discrete' | 'continuous';
  readonly interpolation_type: 'linear' | 'log_linear';
  readonly final_sigmas_type: 'zero' | 'sigma_min';
  readonly use_karras_sigmas: boolean;
  readonly use_exponential_sigmas: boolean;
  readonly use_beta_sigmas: boolean;
  readonly use_lu_lambdas: boolean;
  readonly sigma_min: number | null;
  readonly sigma_max: number | null;
  readonly lambda_min_clipped: number;
  readonly clip_sample: boolean;
  readonly clip_sample_range: number;
  readonly thresholding: boolean;
  readonly set_alpha_to_one: boolean;
  readonly variance_type: string | null;
  readonly skip_prk_steps: boolean;
  readonly original_inference_steps: number;
  readonly timestep_scaling: number;
  readonly algorithm_type: 'dpmsolver++' | 'sde-dpmsolver++' | 'dpmsolver' | 'sde-dpmsolver' | 'deis';
  readonly solver_type: 'midpoint' | 'heun' | 'logrho' | 'bh1' | 'bh2';
  readonly solver_order: number;
  readonly lower_order_final: boolean;
  readonly euler_at_final: boolean;
  readonly predict_x0: boolean;
  readonly disable_corrector: readonly number[];
  readonly use_flow_sigmas: boolean;
  readonly flow_shift: number;
  readonly shift: number;
  readonly use_dynamic_shifting: boolean;
  readonly time_shift_type: 'exponential' | 'linear';
  readonly base_shift: number;
  readonly max_shift: number;
  readonly base_image_seq_len: number;
  readonly max_image_seq_len: number;
  readonly shift_terminal: number | null;
  readonly invert_sigmas: boolean;
  readonly stochastic_sampling: boolean;
  readonly sigma_data: number;
  readonly sigma_schedule: 'karras' | 'exponential';
  readonly rho: number;
}

export type ConfigKey = keyof SchedulerConfig;

/** A model's `scheduler_config.json` as parsed: any keys, any values. */
export type RawConfig = Readonly<Record<string, unknown>>;

/** What a key has in a class that does not know it. */
const NEUTRAL: SchedulerConfig = {
  num_train_timesteps: 1000,
  beta_start: 0.0001,
  beta_end: 0.02,
  beta_schedule: 'linear',
  trained_betas: null,
  rescale_betas_zero_snr: false,
  prediction_type: 'epsilon',
  timestep_spacing: 'linspace',
  steps_offset: 0,
  timestep_type: 'discrete',
  interpolation_type: 'linear',
  final_sigmas_type: 'zero',
  use_karras_sigmas: false,
  use_exponential_sigmas: false,
  use_beta_sigmas: false,
  use_lu_lambdas: false,
  sigma_min: null,
  sigma_max: null,
  lambda_min_clipped: -Infinity,
  clip_sample: false,
  clip_sample_range: 1,
  thresholding: false,
  set_alpha_to_one: false,
  variance_type: null,
  skip_prk_steps: false,
  original_inference_steps: 50,
  timestep_scaling: 10,
  algorithm_type: 'dpmsolver++',
  solver_type: 'midpoint',
  solver_order: 2,
  lower_order_final: true,
  euler_at_final: false,
  predict_x0: true,
  disable_corrector: [],
  use_flow_sigmas: false,
  flow_shift: 1,
  shift: 1,
  use_dynamic_shifting: false,
  time_shift_type: 'exponential',
  base_shift: 0.5,
  max_shift: 1.15,
  base_image_seq_len: 256,
  max_image_seq_len: 4096,
  shift_terminal: null,
  invert_sigmas: false,
  stochastic_sampling: false,
  sigma_data: 0.5,
  sigma_schedule: 'karras',
  rho: 7,
};

/** Checks one value: the value as the key's type, or `undefined` when it is not one. */
interface Kind<T> {
  readonly expected: string;
  readonly read: (value: unknown) => T | undefined;
}

const boolean: Kind<boolean> = {
  expected: 'true or false',
  // Python's None stands for False in the flags that may be absent.
  read: (v) => (typeof v === 'boolean' ? v : v === null ? false : undefined),
};

function number(min: number, max = Infinity, integer = false): Kind<number> {
  const good = (v: unknown): v is number =>
    typeof v === 'number' && v >= min && v <= max && (!integer || Number.isInteger(v));
  return {
    expected: `${integer ? 'an integer' : 'a number'} from ${min}${max === Infinity ? ' up' : ` to ${max}`}`,
    read: (v) => (good(v) ? v : undefined),
  };
}

const orNull = <T>({ expected, read }: Kind<T>): Kind<T | null> => ({
  expected: `${expected}, or null`,
  read: (v) => (v === null ? null : read(v)),
});

function oneOf<T extends string>(...choices: readonly T[]): Kind<T> {
  return { expected: `one of ${choices.join(', ')}`, read: (v) => choices.find((choice) => choice === v) };
}

function list({ expected, read }: Kind<number>): Kind<readonly number[]> {
  return {
    expected: `a list, each ${expected}`,
    read: (v) => {
      if (!Array.isArray(v)) return undefined;
      const items = v.map(read);
      return items.every((item) => item !== undefined) ? items : undefined;
    },
  };
}

/** JSON has no infinity: files hold the word, and readers give either. */
const infinite: Kind<number> = {
  expected: 'a number, "Infinity" or "-Infinity"',
  read: (v) => {
    if (v === '-Infinity' || v === '-inf') return -Infinity;
    return typeof v === 'number' && !Number.isNaN(v) ? v : undefined;
  },
};

const KINDS: { readonly [K in ConfigKey]: Kind<SchedulerConfig[K]> } = {
  num_train_timesteps: number(1, 100_000, true),
  beta_start: number(0, 1),
  beta_end: number(0, 1),
  beta_schedule: oneOf('linear', 'scaled_linear', 'squaredcos_cap_v2'),
  trained_betas: orNull(list(number(0, 1))),
  rescale_betas_zero_snr: boolean,
  prediction_type: oneOf('epsilon', 'v_prediction', 'sample', 'flow_prediction'),
  timestep_spacing: oneOf('linspace', 'leading', 'trailing'),
  steps_offset: number(0, 1000, true),
  timestep_type: oneOf('discrete', 'continuous'),
  interpolation_type: oneOf('linear', 'log_linear'),
  final_sigmas_type: oneOf('zero', 'sigma_min'),
  use_karras_sigmas: boolean,
  use_exponential_sigmas: boolean,
  use_beta_sigmas: boolean,
  use_lu_lambdas: boolean,
  sigma_min: orNull(number(0)),
  sigma_max: orNull(number(0)),
  lambda_min_clipped: infinite,
  clip_sample: boolean,
  clip_sample_range: number(0),
  thresholding: boolean,
  set_alpha_to_one: boolean,
  variance_type: orNull({ expected: 'a name', read: (v) => (typeof v === 'string' ? v : undefined) }),
  skip_prk_steps: boolean,
  original_inference_steps: number(1, 100_000, true),
  timestep_scaling: number(0),
  algorithm_type: oneOf('dpmsolver++', 'sde-dpmsolver++', 'dpmsolver', 'sde-dpmsolver', 'deis'),
  solver_type: oneOf('midpoint', 'heun', 'logrho', 'bh1', 'bh2'),
  solver_order: number(1, 3, true),
  lower_order_final: boolean,
  euler_at_final: boolean,
  predict_x0: boolean,
  disable_corrector: list(number(0, Infinity, true)),
  use_flow_sigmas: boolean,
  flow_shift: number(0),
  shift: number(0),
  use_dynamic_shifting: boolean,
  time_shift_type: oneOf('exponential', 'linear'),
  base_shift: number(0),
  max_shift: number(0),
  base_image_seq_len: number(1),
  max_image_seq_len: number(1),
  shift_terminal: orNull(number(0, 1)),
  invert_sigmas: boolean,
  stochastic_sampling: boolean,
  sigma_data: number(0),
  sigma_schedule: oneOf('karras', 'exponential'),
  rho: number(0),
};

/** Part of a configuration: a class's own defaults, or what a scheduler name overrides. */
export type ConfigPart = Partial<SchedulerConfig>;

const isConfigKey = (key: string): key is ConfigKey => Object.hasOwn(NEUTRAL, key);

function readKey<K extends ConfigKey>(raw: RawConfig, key: K): SchedulerConfig[K] | undefined {
  const value = raw[key];
  if (value === undefined) return undefined;
  const { expected, read } = KINDS[key];
  const checked = read(value);
  if (checked === undefined)
    throw fail(
      'invalidModelConfig',
      `scheduler_config.json: ${key} is ${JSON.stringify(value).slice(0, 200)}, expected ${expected}.`,
    );
  return checked;
}

/** One key of a model's configuration, checked; `undefined` when it is absent. Throws `invalidModelConfig`. */
export const configValue = readKey;

/**
 * The model's configuration as a scheduler class reads it: a name's `overrides`, else the model's value, else the class's
 * default. Keys that are not in `defaults` are not the class's: they keep their neutral value, whatever the file says.
 * Throws `invalidModelConfig` for a value of the wrong kind.
 */
export function completeConfig(raw: RawConfig, defaults: ConfigPart, overrides: ConfigPart): SchedulerConfig {
  const model: Record<string, unknown> = {};
  for (const key of Object.keys(defaults).filter(isConfigKey)) {
    const value = readKey(raw, key);
    if (value !== undefined) model[key] = value;
  }
  const config: SchedulerConfig = { ...NEUTRAL, ...defaults, ...model, ...overrides };
  const curves = [config.use_karras_sigmas, config.use_exponential_sigmas, config.use_beta_sigmas];
  if (curves.filter(Boolean).length > 1)
    throw fail(
      'invalidModelConfig',
      'scheduler_config.json: only one of use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas can be true.',
    );
  return config;
}
