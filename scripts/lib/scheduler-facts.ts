/** @file What docs/schedulers.md says of each scheduler name: its class, what it is, its tables at 20 steps, and which names mean the same. */
import { EXTRA_SCHEDULER_NAMES, SCHEDULER_NAMES, type SchedulerName } from '../../src/request/scheduler-names.js';
import { createSampler, type RawConfig, type Sampler } from '../../src/sampling/index.js';
import type { ClassName } from '../../src/sampling/classes.js';
import { curveOf } from '../../src/sampling/curves.js';
import { SCHEDULERS } from '../../src/sampling/registry.js';

/** Steps of the tables and plots. */
export const TABLE_STEPS = 20;
/** Steps of the pictures. */
export const PICTURE_STEPS: readonly number[] = [4, 8, 20];

export interface SchedulerFacts {
  readonly name: SchedulerName;
  /** At `TABLE_STEPS`, for the bundled model or for a model that the name fits; none for a name that fits no model. */
  readonly sampler: Sampler | undefined;
  /** How often runs of `PICTURE_STEPS` steps evaluate the network. */
  readonly evaluations: readonly number[];
  /** Why the bundled model, which predicts noise, cannot be sampled; absent where it can. */
  readonly because?: string;
  /** An earlier name that makes the same picture. */
  readonly sameAs?: SchedulerName;
}

/** Models for the names that do not fit the bundled one. */
const FLOW_MODEL: RawConfig = { _class_name: 'FlowMatchEulerDiscreteScheduler', shift: 3 };
const EDM_MODEL: RawConfig = { _class_name: 'EDMDPMSolverMultistepScheduler' };

/** Every documented name and the few beyond them; `Default` last, as it is some other name for every model. */
export const PAGE_NAMES: readonly SchedulerName[] = [
  ...Object.keys(SCHEDULERS).map((key) => [...SCHEDULER_NAMES, ...EXTRA_SCHEDULER_NAMES].find((name) => name === key)),
  'Default' as const,
].filter((name) => name !== undefined);

/**
 * The facts of every name, in the registry's order.
 *
 * @param bundled the bundled model's `scheduler_config.json`, parsed
 */
export function schedulerFacts(bundled: RawConfig): readonly SchedulerFacts[] {
  const seen = new Map<string, SchedulerName>();
  return PAGE_NAMES.map((name) => {
    const { config, because } = modelFor(name, bundled);
    if (config === undefined) return { name, sampler: undefined, evaluations: [], ...because };
    const sampler = createSampler({ name, config, steps: TABLE_STEPS });
    const evaluations = PICTURE_STEPS.map((steps) => createSampler({ name, config, steps }).evaluations);
    const key = meaning(sampler);
    const sameAs = seen.get(key);
    if (sameAs === undefined) seen.set(key, name);
    return { name, sampler, evaluations, ...because, ...(sameAs === undefined ? {} : { sameAs }) };
  });
}

/** The model with which a name is shown: the bundled one, or another with the reason, or none. */
function modelFor(
  name: SchedulerName,
  bundled: RawConfig,
): { readonly config: RawConfig | undefined; readonly because?: { readonly because: string } } {
  if (name === 'Default') return { config: bundled };
  const { diffusion, flow, edm, because = 'it is for other models' } = SCHEDULERS[name];
  if (diffusion !== undefined) return { config: bundled };
  const config = flow !== undefined ? FLOW_MODEL : edm !== undefined ? EDM_MODEL : undefined;
  return { config, because: { because } };
}

/** Samplers with the same rule and the same tables draw the same picture, whatever spacing a curve has replaced. */
function meaning({ className, config, timesteps, sigmas }: Sampler): string {
  return JSON.stringify([className, { ...config, timestep_spacing: '' }, timesteps, sigmas]);
}

interface ClassFacts {
  readonly about: string;
  readonly paper: string;
  readonly link: string;
}

const KARRAS = { paper: 'Karras et al. 2022', link: 'https://arxiv.org/abs/2206.00364' };
const K_DIFFUSION = { paper: 'k-diffusion, Crowson', link: 'https://github.com/crowsonkb/k-diffusion' };
const DEIS = { paper: 'Zhang & Chen 2023', link: 'https://arxiv.org/abs/2204.13902' };
const DPM_SOLVER = { paper: 'Lu et al. 2022b', link: 'https://arxiv.org/abs/2211.01095' };
const FLOW = { paper: 'Liu et al. 2023', link: 'https://arxiv.org/abs/2209.03003' };
const LCM = { paper: 'Luo et al. 2023', link: 'https://arxiv.org/abs/2310.04378' };

const CLASS_FACTS: Readonly<Record<ClassName, ClassFacts>> = {
  DDIMScheduler: {
    about: 'DDIM: the deterministic first-order step',
    paper: 'Song et al. 2021',
    link: 'https://arxiv.org/abs/2010.02502',
  },
  DDPMScheduler: {
    about: 'DDPM: ancestral sampling of the posterior',
    paper: 'Ho et al. 2020',
    link: 'https://arxiv.org/abs/2006.11239',
  },
  PNDMScheduler: {
    about: "PNDM: Adams–Bashforth of order 4 on the network's outputs",
    paper: 'Liu et al. 2022',
    link: 'https://arxiv.org/abs/2202.09778',
  },
  LCMScheduler: { about: 'Latent consistency: jump to the clean latent, add noise again', ...LCM },
  TCDScheduler: {
    about: 'Trajectory consistency: DDIM below the next level, noise up to it',
    paper: 'Zheng et al. 2024',
    link: 'https://arxiv.org/abs/2402.19159',
  },
  EulerDiscreteScheduler: { about: "Euler's method in σ", ...KARRAS },
  EulerAncestralDiscreteScheduler: { about: 'Euler ancestral: fresh noise at every step', ...K_DIFFUSION },
  HeunDiscreteScheduler: { about: "Heun's method: the mean of the slopes at both ends", ...KARRAS },
  LMSDiscreteScheduler: { about: 'Linear multistep of order 4 in σ', ...K_DIFFUSION },
  KDPM2DiscreteScheduler: { about: 'DPM2: the slope of the midpoint in ln σ', ...KARRAS },
  KDPM2AncestralDiscreteScheduler: { about: 'DPM2 ancestral: the same with fresh noise', ...K_DIFFUSION },
  IPNDMScheduler: { about: 'iPNDM: Adams–Bashforth 1-2-3-4 on the noise', ...DEIS },
  DPMSolverMultistepScheduler: { about: 'DPM-Solver++ multistep', ...DPM_SOLVER },
  DPMSolverSinglestepScheduler: { about: 'DPM-Solver++ singlestep', ...DPM_SOLVER },
  DEISMultistepScheduler: { about: 'DEIS: exponential integrator on the noise in ln σ', ...DEIS },
  UniPCMultistepScheduler: {
    about: 'UniPC: predictor and corrector',
    paper: 'Zhao et al. 2023',
    link: 'https://arxiv.org/abs/2302.04867',
  },
  FlowMatchEulerDiscreteScheduler: { about: "Euler's method on a rectified flow", ...FLOW },
  FlowMatchLCMScheduler: { about: 'Latent consistency on a rectified flow', ...LCM },
  EDMEulerScheduler: { about: "Euler's method with EDM's preconditioning", ...KARRAS },
  EDMDPMSolverMultistepScheduler: { about: "DPM-Solver++ multistep with EDM's preconditioning", ...DPM_SOLVER },
};

/** Classes whose order the name sets. */
const WITH_ORDER = /^(DPMSolver|DEIS|UniPC|EDMDPM)/;
const CURVE_NAMES = { karras: 'Karras curve', exponential: 'exponential curve', beta: 'beta curve' } as const;

/** Whether a name asks for trailing timesteps, and gets them: in the exponential integrators a curve replaces any spacing. */
function isTrailing({ name, family, className, config }: Sampler): boolean {
  if (curveOf(config) !== undefined && className !== 'IPNDMScheduler') return false;
  const recipe = name === 'Default' ? undefined : SCHEDULERS[name][family];
  return recipe?.overrides.timestep_spacing === 'trailing' || recipe?.options.trailing === true;
}

/** What a sampler is, in one line of Markdown with its paper. */
export function describeSampler(sampler: Sampler): string {
  const { className, config } = sampler;
  const { about, paper, link } = CLASS_FACTS[className];
  const curve = curveOf(config);
  const parts = [
    about,
    ...(WITH_ORDER.test(className) ? [`order ${config.solver_order}`] : []),
    ...(config.algorithm_type === 'sde-dpmsolver++' ? ['SDE'] : []),
    ...(curve === undefined ? [] : [CURVE_NAMES[curve]]),
    ...(isTrailing(sampler) ? ['trailing timesteps'] : []),
  ];
  return `${parts.join(', ')} ([${paper}](${link}))`;
}
