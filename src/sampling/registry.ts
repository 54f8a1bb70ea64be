/**
 * @file What every scheduler name means: a recipe per model family. To add a name, add it to
 * `src/request/scheduler-names.ts` and give it a line here.
 */
import type { SchedulerName } from '../request/scheduler-names.js';
import type { ClassName, ClassOptions } from './classes.js';
import type { ConfigPart } from './config.js';

/** A class and what a name changes of the model's configuration. */
export interface Recipe {
  readonly class: ClassName;
  readonly overrides: ConfigPart;
  readonly options: ClassOptions;
}

/** The recipes of a name by the family of the model; a missing one means that the name does not fit such models. */
export interface Entry {
  readonly diffusion?: Recipe;
  readonly flow?: Recipe;
  readonly edm?: Recipe;
  /** Why the name fits no other models. */
  readonly because?: string;
}

/** A name's curve takes the place of the model's. */
const NO_CURVE: ConfigPart = { use_karras_sigmas: false, use_exponential_sigmas: false, use_beta_sigmas: false };
const KARRAS: ConfigPart = { ...NO_CURVE, use_karras_sigmas: true };
const EXPONENTIAL: ConfigPart = { ...NO_CURVE, use_exponential_sigmas: true };
const BETA: ConfigPart = { ...NO_CURVE, use_beta_sigmas: true };
const LINSPACE: ConfigPart = { timestep_spacing: 'linspace' };
const TRAILING: ConfigPart = { timestep_spacing: 'trailing' };
const FLOW: ConfigPart = { prediction_type: 'flow_prediction', use_flow_sigmas: true };

function recipe(name: ClassName, ...overrides: readonly ConfigPart[]): Recipe {
  return { class: name, overrides: overrides.reduce((all, part) => ({ ...all, ...part }), {}), options: {} };
}

/** A name for diffusion models only. */
const diffusion = (name: ClassName, ...overrides: readonly ConfigPart[]): Entry => ({
  diffusion: recipe(name, ...overrides),
  because: 'it steps through the noise schedule of a diffusion model',
});

/** Euler on diffusion models, flow-matching Euler on flow models. */
const eulerFor = (curve: ConfigPart = {}, spacing: ConfigPart = {}): Entry => ({
  diffusion: recipe('EulerDiscreteScheduler', curve, spacing),
  flow: recipe('FlowMatchEulerDiscreteScheduler', curve),
});

type Solver = { readonly class: ClassName; readonly overrides: ConfigPart };
const ODE: ConfigPart = { algorithm_type: 'dpmsolver++', solver_type: 'midpoint' };
const SDE: ConfigPart = { algorithm_type: 'sde-dpmsolver++', solver_type: 'midpoint' };
const SINGLE: Solver = { class: 'DPMSolverSinglestepScheduler', overrides: { ...ODE, solver_order: 2 } };
const SINGLE_SDE: Solver = { class: 'DPMSolverSinglestepScheduler', overrides: { ...SDE, solver_order: 2 } };
const MULTI_2: Solver = { class: 'DPMSolverMultistepScheduler', overrides: { ...ODE, solver_order: 2 } };
const MULTI_2_SDE: Solver = { class: 'DPMSolverMultistepScheduler', overrides: { ...SDE, solver_order: 2 } };
const MULTI_3: Solver = { class: 'DPMSolverMultistepScheduler', overrides: { ...ODE, solver_order: 3 } };
const MULTI_3_SDE: Solver = { class: 'DPMSolverMultistepScheduler', overrides: { ...SDE, solver_order: 3 } };
const UNIPC_2: Solver = { class: 'UniPCMultistepScheduler', overrides: { solver_order: 2, solver_type: 'bh2' } };
const UNIPC_3: Solver = { class: 'UniPCMultistepScheduler', overrides: { solver_order: 3, solver_type: 'bh2' } };

/** A solver of the exponential kind, on diffusion and on flow models. */
const both = (solver: Solver, ...overrides: readonly ConfigPart[]): Entry => ({
  diffusion: recipe(solver.class, solver.overrides, ...overrides),
  flow: recipe(solver.class, solver.overrides, FLOW, ...overrides),
});

/** "Uniform" of the singlestep class: it has no spacing of its own, so its timesteps are given. (A curve takes no notice of spacing.) */
const uniformly = (solver: Solver): Entry => ({
  diffusion: { ...recipe(solver.class, solver.overrides), options: { trailing: true } },
  flow: recipe(solver.class, solver.overrides, FLOW),
});

/** The same on diffusion models only. */
const only = (solver: Solver, ...overrides: readonly ConfigPart[]): Entry =>
  diffusion(solver.class, solver.overrides, ...overrides);

const DDIM = diffusion('DDIMScheduler', { clip_sample: false, set_alpha_to_one: false });
const LCM = diffusion('LCMScheduler', { original_inference_steps: 50 });
const EULER_A = diffusion('EulerAncestralDiscreteScheduler');
const EULER = eulerFor();
const HEUN = diffusion('HeunDiscreteScheduler');
const LMS = diffusion('LMSDiscreteScheduler');
const DEIS: ConfigPart = { solver_order: 2, algorithm_type: 'deis', solver_type: 'logrho' };
const EDM_ONLY = 'it is for models trained with EDM preconditioning';

/** Every name but `Default`, which is the class that the model's own configuration names. */
export const SCHEDULERS: Readonly<Record<Exclude<SchedulerName, 'Default'>, Entry>> = {
  DDIM,
  DDIMScheduler: DDIM,
  DDPMScheduler: diffusion('DDPMScheduler', { clip_sample: false, variance_type: 'fixed_small' }),
  DEISMultistepScheduler: diffusion('DEISMultistepScheduler', DEIS),
  PNDMScheduler: diffusion('PNDMScheduler', { skip_prk_steps: true, set_alpha_to_one: false }),
  LCM,
  LCMScheduler: LCM,
  TCDScheduler: diffusion('TCDScheduler', { original_inference_steps: 50 }),

  Euler: EULER,
  EulerDiscreteScheduler: diffusion('EulerDiscreteScheduler'),
  'Euler Karras': eulerFor(KARRAS),
  'Euler Exponential': eulerFor(EXPONENTIAL, LINSPACE),
  'Euler Beta': eulerFor(BETA, LINSPACE),
  'Euler a': EULER_A,
  EulerAncestralDiscreteScheduler: EULER_A,
  Heun: HEUN,
  HeunDiscreteScheduler: HEUN,
  'Heun Karras': diffusion('HeunDiscreteScheduler', KARRAS),
  LMS,
  LMSDiscreteScheduler: LMS,
  'LMS Karras': diffusion('LMSDiscreteScheduler', KARRAS),
  KDPM2DiscreteScheduler: diffusion('KDPM2DiscreteScheduler'),
  KDPM2AncestralDiscreteScheduler: diffusion('KDPM2AncestralDiscreteScheduler'),
  IPNDMScheduler: diffusion('IPNDMScheduler'),
  'IPNDM Uniform': diffusion('IPNDMScheduler', TRAILING),
  'IPNDM Uniform Karras': diffusion('IPNDMScheduler', TRAILING, KARRAS),
  'IPNDM Uniform Exponential': diffusion('IPNDMScheduler', TRAILING, EXPONENTIAL),
  'IPNDM Uniform Beta': diffusion('IPNDMScheduler', TRAILING, BETA),

  'DPM++': both(SINGLE),
  'DPM++ Karras': both(SINGLE, KARRAS),
  'DPM++ Exponential': both(SINGLE, EXPONENTIAL),
  'DPM++ Beta': both(SINGLE, BETA),
  'DPM++ SDE': both(SINGLE_SDE),
  'DPM++ SDE Karras': both(SINGLE_SDE, KARRAS),
  'DPM++ SDE Exponential': both(SINGLE_SDE, EXPONENTIAL),
  'DPM++ SDE Beta': both(SINGLE_SDE, BETA),
  'DPM++ SDE Uniform': uniformly(SINGLE_SDE),
  DPMSolverSinglestepScheduler: only(SINGLE),
  'DPM++ Uniform': uniformly(SINGLE),
  'DPM++ Uniform Karras': both(SINGLE, KARRAS),
  'DPM++ Uniform Exponential': both(SINGLE, EXPONENTIAL),
  'DPM++ Uniform Beta': both(SINGLE, BETA),

  'DPM++ 2M': both(MULTI_2),
  'DPM++ 2M Karras': both(MULTI_2, KARRAS),
  'DPM++ 2M Exponential': both(MULTI_2, EXPONENTIAL),
  'DPM++ 2M Beta': both(MULTI_2, BETA),
  'DPM++ 2M Uniform': both(MULTI_2, TRAILING),
  'DPM++ 2M SDE': both(MULTI_2_SDE),
  'DPM++ 2M SDE Karras': both(MULTI_2_SDE, KARRAS),
  'DPM++ 2M SDE Exponential': both(MULTI_2_SDE, EXPONENTIAL),
  'DPM++ 2M SDE Beta': both(MULTI_2_SDE, BETA),
  'DPM++ 2M SDE Uniform': both(MULTI_2_SDE, TRAILING),
  'DPM++ 3M': both(MULTI_3),
  'DPM++ 3M Karras': both(MULTI_3, KARRAS),
  'DPM++ 3M Exponential': both(MULTI_3, EXPONENTIAL),
  'DPM++ 3M Beta': both(MULTI_3, BETA),
  'DPM++ 3M Uniform': both(MULTI_3, TRAILING),
  'DPM++ 3M SDE': only(MULTI_3_SDE),
  'DPM++ 3M SDE Karras': only(MULTI_3_SDE, KARRAS),
  'DPM++ 3M SDE Exponential': only(MULTI_3_SDE, EXPONENTIAL),
  'DPM++ 3M SDE Beta': only(MULTI_3_SDE, BETA),
  'DPM++ 3M SDE Uniform': only(MULTI_3_SDE, TRAILING),
  DPMSolverMultistepScheduler: only(MULTI_2),
  DPMSolverMultistepInverse: {
    because: 'it turns an image into noise (inversion), so it cannot make an image from a prompt',
  },

  UniPC: both(UNIPC_2),
  UniPCMultistepScheduler: both(UNIPC_2),
  'UniPC 2M': both(UNIPC_2),
  'UniPC Karras': only(UNIPC_2, KARRAS),
  'UniPC 2M Karras': only(UNIPC_2, KARRAS),
  'UniPC Uniform': both(UNIPC_2, TRAILING),
  'UniPC 2M Uniform': both(UNIPC_2, TRAILING),
  'UniPC Uniform Karras': only(UNIPC_2, TRAILING, KARRAS),
  'UniPC Uniform Exponential': only(UNIPC_2, TRAILING, EXPONENTIAL),
  'UniPC Uniform Beta': only(UNIPC_2, TRAILING, BETA),
  'UniPC 3M': only(UNIPC_3),
  'UniPC 3M Karras': only(UNIPC_3, KARRAS),
  'UniPC 3M Uniform': only(UNIPC_3, TRAILING),

  FlowMatchEulerDiscreteScheduler: {
    flow: recipe('FlowMatchEulerDiscreteScheduler'),
    because: 'it is for flow-matching models',
  },
  FlowMatchLCMScheduler: { flow: recipe('FlowMatchLCMScheduler'), because: 'it is for flow-matching models' },
  EDMEulerScheduler: { edm: recipe('EDMEulerScheduler'), because: EDM_ONLY },
  EDMDPMSolverMultistepScheduler: {
    edm: recipe('EDMDPMSolverMultistepScheduler', { solver_order: 2 }),
    because: EDM_ONLY,
  },
};
