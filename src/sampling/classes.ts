/**
 * @file The scheduler classes a `scheduler_config.json` may name: each is a schedule and a step rule put together.
 * The defaults are those of diffusers 0.42.1's constructors (src/diffusers/schedulers/).
 */
import { fail } from '../base/errors.js';
import type { ConfigPart, SchedulerConfig } from './config.js';
import {
  diffusionPreconditioning,
  edmPreconditioning,
  type Precondition,
  type PredictionType,
} from './preconditioning.js';
import { ipndm, pndm } from './rules/adams.js';
import { flowLcm, lcm, tcd } from './rules/consistency.js';
import { dpmMultistep, dpmSinglestep, type DpmSettings } from './rules/dpm-solver.js';
import { ddim, ddpm, euler, eulerAncestral, type DdpmVariance } from './rules/first-order.js';
import { deis, lms } from './rules/linear-multistep.js';
import type { Rule } from './rules/rule.js';
import { heun, midpoint } from './rules/second-order.js';
import { unipc } from './rules/unipc.js';
import { ddimSchedule, ddpmSchedule, lcmSchedule, pndmSchedule, tcdSchedule } from './schedules/discrete.js';
import { edmSchedule } from './schedules/edm.js';
import { exploding } from './schedules/exploding.js';
import { exponentialSchedule } from './schedules/exponential.js';
import { flowSchedule } from './schedules/flow.js';
import type { Schedule } from './schedules/schedule.js';

/** What a model must be for a class to sample it. */
export type Family = 'diffusion' | 'flow' | 'edm';

/** Settings of a run that are no part of a configuration. */
export interface ClassOptions {
  /** DDIM's η or TCD's γ. */
  readonly eta?: number;
  /** Trailing timesteps for a class without `timestep_spacing`. */
  readonly trailing?: boolean;
}

export interface SchedulerClass {
  /** The families whose models it samples; `flow` beside `diffusion` when the class knows `use_flow_sigmas`. */
  readonly families: readonly Family[];
  /** The keys that the class knows, with its defaults. */
  readonly defaults: ConfigPart;
  readonly predictions: readonly PredictionType[];
  readonly schedule: (options: ClassOptions) => Schedule;
  readonly rule: (config: SchedulerConfig, options: ClassOptions, precondition: Precondition) => Rule;
}

const BETAS = {
  num_train_timesteps: 1000,
  beta_start: 0.0001,
  beta_end: 0.02,
  beta_schedule: 'linear',
  trained_betas: null,
  prediction_type: 'epsilon',
} as const;
const LATENT_BETAS = { ...BETAS, beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' } as const;
const LINSPACE = { timestep_spacing: 'linspace', steps_offset: 0 } as const;
const LEADING = { timestep_spacing: 'leading', steps_offset: 0 } as const;
const ZERO_SNR = { rescale_betas_zero_snr: false } as const;
const CURVES = { use_karras_sigmas: false, use_exponential_sigmas: false, use_beta_sigmas: false } as const;
const CLIP = { clip_sample: false, clip_sample_range: 1 } as const;
const FLOW = {
  use_flow_sigmas: false,
  flow_shift: 1,
  use_dynamic_shifting: false,
  time_shift_type: 'exponential',
  base_shift: 0.5,
  max_shift: 1.15,
  base_image_seq_len: 256,
  max_image_seq_len: 4096,
} as const;
const THRESHOLD = { thresholding: false } as const;
const DPM = {
  ...BETAS,
  ...CURVES,
  ...FLOW,
  ...THRESHOLD,
  solver_order: 2,
  algorithm_type: 'dpmsolver++',
  solver_type: 'midpoint',
  final_sigmas_type: 'zero',
  lambda_min_clipped: -Infinity,
  variance_type: null,
} as const;

const ALL: readonly PredictionType[] = ['epsilon', 'v_prediction', 'sample'];
const NOISE_OR_V: readonly PredictionType[] = ['epsilon', 'v_prediction'];
const WITH_FLOW: readonly PredictionType[] = [...ALL, 'flow_prediction'];
const FLOW_ONLY: readonly PredictionType[] = ['flow_prediction'];

const clip = (config: SchedulerConfig): number | undefined =>
  config.clip_sample ? config.clip_sample_range : undefined;

function ddpmVariance({ variance_type: type }: SchedulerConfig): DdpmVariance {
  if (type === 'fixed_small' || type === 'fixed_small_log') return 'small';
  if (type === 'fixed_large' || type === 'fixed_large_log') return 'large';
  throw fail(
    'unsupportedScheduler',
    `DDPMScheduler: variance_type ${String(type)} is not supported; expected fixed_small or fixed_large.`,
  );
}

/** DPM-Solver's settings; names of other solvers' types stand for the default, as in diffusers. */
function dpmSettings(config: SchedulerConfig): DpmSettings {
  const { algorithm_type: algorithm, solver_order: order } = config;
  if (algorithm === 'sde-dpmsolver')
    throw fail('unsupportedScheduler', 'algorithm_type sde-dpmsolver is not supported; use sde-dpmsolver++.');
  if (algorithm === 'dpmsolver' && config.final_sigmas_type === 'zero')
    throw fail(
      'invalidModelConfig',
      'algorithm_type dpmsolver cannot end at σ = 0: final_sigmas_type must be sigma_min.',
    );
  return {
    order,
    form: algorithm === 'dpmsolver' ? 'noise' : 'data',
    sde: algorithm === 'sde-dpmsolver++',
    solver: config.solver_type === 'heun' ? 'heun' : 'midpoint',
  };
}

const multistepRule = (config: SchedulerConfig): Rule =>
  dpmMultistep({
    ...dpmSettings(config),
    lowerOrderFinal: config.lower_order_final,
    firstOrderLast: config.euler_at_final || config.final_sigmas_type === 'zero',
  });

/** A solver on x = x₀ + σ·ε over the training timesteps. */
const onSigmas = (
  rule: (config: SchedulerConfig) => Rule,
  defaults: ConfigPart,
  more: Partial<SchedulerClass> = {},
): SchedulerClass => ({
  families: ['diffusion'],
  defaults: { ...BETAS, ...LINSPACE, ...defaults },
  predictions: ALL,
  schedule: () => exploding(),
  rule,
  ...more,
});

const EULER = {
  ...CURVES,
  ...ZERO_SNR,
  sigma_min: null,
  sigma_max: null,
  timestep_type: 'discrete',
  interpolation_type: 'linear',
  final_sigmas_type: 'zero',
} as const;
const OLD_BETA_RANGE = { beta_start: 0.00085, beta_end: 0.012 } as const;
const FLOW_MATCH = {
  num_train_timesteps: 1000,
  prediction_type: 'flow_prediction',
  shift: 1,
  use_dynamic_shifting: false,
  time_shift_type: 'exponential',
  base_shift: 0.5,
  max_shift: 1.15,
  base_image_seq_len: 256,
  max_image_seq_len: 4096,
  shift_terminal: null,
  invert_sigmas: false,
  ...CURVES,
} as const;
const EDM = {
  num_train_timesteps: 1000,
  prediction_type: 'epsilon',
  sigma_min: 0.002,
  sigma_max: 80,
  sigma_data: 0.5,
  sigma_schedule: 'karras',
  rho: 7,
  final_sigmas_type: 'zero',
} as const;
const CONSISTENCY = {
  ...LATENT_BETAS,
  ...LEADING,
  ...ZERO_SNR,
  ...CLIP,
  ...THRESHOLD,
  set_alpha_to_one: true,
  original_inference_steps: 50,
  timestep_scaling: 10,
} as const;

/** TCD's own γ; a pipeline may set another. */
const TCD_GAMMA = 0.3;

export const SCHEDULER_CLASSES = {
  DDIMScheduler: {
    families: ['diffusion'],
    defaults: { ...BETAS, ...LEADING, ...ZERO_SNR, ...CLIP, ...THRESHOLD, clip_sample: true, set_alpha_to_one: true },
    predictions: ALL,
    schedule: () => ddimSchedule,
    rule: (config, { eta = 0 }) => ddim(eta, clip(config)),
  },
  DDPMScheduler: {
    families: ['diffusion'],
    defaults: {
      ...BETAS,
      ...LEADING,
      ...ZERO_SNR,
      ...CLIP,
      ...THRESHOLD,
      clip_sample: true,
      variance_type: 'fixed_small',
    },
    predictions: ALL,
    schedule: () => ddpmSchedule,
    rule: (config) => ddpm(ddpmVariance(config), clip(config)),
  },
  PNDMScheduler: {
    families: ['diffusion'],
    defaults: { ...BETAS, ...LEADING, set_alpha_to_one: false, skip_prk_steps: false },
    predictions: NOISE_OR_V,
    schedule: () => pndmSchedule,
    rule: (config, _, precondition) => pndm(precondition, !config.skip_prk_steps),
  },
  LCMScheduler: {
    families: ['diffusion'],
    defaults: CONSISTENCY,
    predictions: ALL,
    schedule: () => lcmSchedule,
    rule: (config) => lcm(config.timestep_scaling, clip(config)),
  },
  TCDScheduler: {
    families: ['diffusion'],
    defaults: CONSISTENCY,
    predictions: ALL,
    schedule: ({ eta = TCD_GAMMA }) => tcdSchedule(eta),
    rule: (_, { eta = TCD_GAMMA }) => tcd(eta),
  },
  EulerDiscreteScheduler: onSigmas(euler, EULER),
  EulerAncestralDiscreteScheduler: onSigmas(eulerAncestral, ZERO_SNR, { predictions: NOISE_OR_V }),
  HeunDiscreteScheduler: onSigmas((config) => heun(clip(config)), { ...OLD_BETA_RANGE, ...CURVES, ...CLIP }),
  LMSDiscreteScheduler: onSigmas(lms, CURVES),
  KDPM2DiscreteScheduler: onSigmas(
    () => midpoint(false),
    { ...OLD_BETA_RANGE, ...CURVES },
    { predictions: NOISE_OR_V, schedule: () => exploding('towards-next') },
  ),
  KDPM2AncestralDiscreteScheduler: onSigmas(
    () => midpoint(true),
    { ...OLD_BETA_RANGE, ...CURVES },
    { predictions: NOISE_OR_V, schedule: () => exploding('towards-down') },
  ),
  // diffusers' class of this name has a sine schedule of its own, which fits no model here: the rule runs on Euler's schedule.
  IPNDMScheduler: onSigmas(ipndm, EULER),
  DPMSolverMultistepScheduler: {
    families: ['diffusion', 'flow'],
    defaults: {
      ...DPM,
      ...LINSPACE,
      ...ZERO_SNR,
      lower_order_final: true,
      euler_at_final: false,
      use_lu_lambdas: false,
    },
    predictions: WITH_FLOW,
    schedule: () => exponentialSchedule({ ending: 'configured', flowGrid: 'from-below-one' }),
    rule: multistepRule,
  },
  DPMSolverSinglestepScheduler: {
    families: ['diffusion', 'flow'],
    defaults: { ...DPM, lower_order_final: false },
    predictions: WITH_FLOW,
    schedule: ({ trailing = false }) =>
      exponentialSchedule({ ending: 'configured', flowGrid: 'from-below-one', trailing }),
    rule: (config) => dpmSinglestep(dpmSettings(config), config.lower_order_final, config.final_sigmas_type === 'zero'),
  },
  DEISMultistepScheduler: {
    families: ['diffusion', 'flow'],
    defaults: { ...BETAS, ...LINSPACE, ...CURVES, ...FLOW, ...THRESHOLD, solver_order: 2, lower_order_final: true },
    predictions: WITH_FLOW,
    schedule: () => exponentialSchedule({ ending: 'deis', flowGrid: 'from-below-one' }),
    rule: (config) => deis(config.solver_order, config.lower_order_final),
  },
  UniPCMultistepScheduler: {
    families: ['diffusion', 'flow'],
    defaults: {
      ...BETAS,
      ...LINSPACE,
      ...CURVES,
      ...FLOW,
      ...THRESHOLD,
      ...ZERO_SNR,
      sigma_min: null,
      sigma_max: null,
      shift_terminal: null,
      solver_order: 2,
      solver_type: 'bh2',
      predict_x0: true,
      lower_order_final: true,
      disable_corrector: [],
      final_sigmas_type: 'zero',
    },
    predictions: WITH_FLOW,
    schedule: () => exponentialSchedule({ ending: 'unipc', flowGrid: 'unipc' }),
    rule: (config) =>
      unipc({
        order: config.solver_order,
        form: config.predict_x0 ? 'data' : 'noise',
        basis: config.solver_type === 'bh1' ? 'bh1' : 'bh2',
        lowerOrderFinal: config.lower_order_final,
        uncorrected: config.disable_corrector,
      }),
  },
  FlowMatchEulerDiscreteScheduler: {
    families: ['flow'],
    defaults: { ...FLOW_MATCH, stochastic_sampling: false },
    predictions: FLOW_ONLY,
    schedule: () => flowSchedule,
    rule: (config) => (config.stochastic_sampling ? flowLcm() : euler()),
  },
  FlowMatchLCMScheduler: {
    families: ['flow'],
    defaults: FLOW_MATCH,
    predictions: FLOW_ONLY,
    schedule: () => flowSchedule,
    rule: flowLcm,
  },
  EDMEulerScheduler: {
    families: ['edm'],
    defaults: EDM,
    predictions: NOISE_OR_V,
    schedule: () => edmSchedule('float64'),
    rule: euler,
  },
  EDMDPMSolverMultistepScheduler: {
    families: ['edm'],
    defaults: {
      ...EDM,
      ...THRESHOLD,
      solver_order: 2,
      algorithm_type: 'dpmsolver++',
      solver_type: 'midpoint',
      lower_order_final: true,
      euler_at_final: false,
    },
    predictions: NOISE_OR_V,
    schedule: () => edmSchedule('float32'),
    rule: multistepRule,
  },
} as const satisfies Readonly<Record<string, SchedulerClass>>;

export type ClassName = keyof typeof SCHEDULER_CLASSES;

/** Whether `name` is a class that Darkroom has. */
export const isClassName = (name: string): name is ClassName => Object.hasOwn(SCHEDULER_CLASSES, name);

/** How a model's outputs are read, in a class of `family`. */
export function preconditioningOf(family: Family, config: SchedulerConfig): Precondition {
  return family === 'edm'
    ? edmPreconditioning(config.prediction_type, config.sigma_data)
    : diffusionPreconditioning(config.prediction_type);
}
