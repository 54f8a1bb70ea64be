/** @file What a soak asks for: tasks of changing models, sizes, schedulers, add-ons and counts, decided by chance that a seed repeats. Data only. */
import type { ResolvedModel } from '../../src/models/registry.js';
import type { Random } from './fuzz-random.js';

/**
 * `tiny`: several models and every kind of add-on. `flux`: of these FLUX.1 alone. `micro`: one model as small as can be, for software adapters.
 */
export const SOAK_SETS = ['tiny', 'flux', 'micro'] as const;
export type SoakSet = (typeof SOAK_SETS)[number];

/** Name in requests → path in the tests' folder `golden`, of the sets `tiny` and `flux`. The bundled model comes besides. */
export const SOAK_MODELS: Readonly<Record<string, string>> = {
  'sd15-tiny': 'models/sd15-tiny',
  'lcm-tiny': 'models/lcm-tiny',
  'sdxl-tiny': 'models/sdxl-tiny',
  'lora-sd15-kohya': 'models/lora-sd15-kohya',
  'locon-sd15': 'models/locon-sd15',
  'lora-sdxl-kohya': 'models/lora-sdxl-kohya',
  'controlnet-sd15-edges': 'models/controlnet-sd15-edges',
  zxstyle: 'models/zxstyle',
  'vae-sd15-b': 'models/vae-sd15-b',
  'vae-taesd': 'models/vae-taesd',
  'flux-dev-tiny': 'models/flux-dev-tiny',
  'flux-4-bits': 'models/flux-dev-tiny',
  'flux-8-bits': 'models/flux-dev-tiny',
  'flux-lora-kohya-all': 'models/flux-lora-kohya-all',
};

/** What the weights of some of them are rounded to. */
const WEIGHT_BITS: Readonly<Record<string, 4 | 8>> = {
  'flux-4-bits': 4,
  'flux-8-bits': 8,
};

/** What the registry says of a model of the soak, for its tree. */
export function aboutSoak(name: string): { readonly about?: ResolvedModel } {
  const weightBits = WEIGHT_BITS[name];
  if (weightBits === undefined) return {};
  const source = { kind: 'url', url: name } as const; // read by nobody: the tree is there
  return {
    about: { key: name, reference: name, source, card: {}, overrides: { weightBits }, companions: [], warnings: [] },
  };
}
const FLUX = ['flux-dev-tiny', 'flux-4-bits', 'flux-8-bits'] as const;

/** Names of the set `micro`, whose files are written anew each time. */
export const MICRO_MODELS = ['micro', 'micro-lora', 'micro-control'] as const;

export const BUNDLED = 'darkroom:1@1';
export const SOAK_GUIDE = 'cases/controlnet-window-steps/guide-0.png';

export type SoakTask = Readonly<Record<string, unknown>> & { readonly numberResults: number };

export interface Planned {
  readonly task: SoakTask;
  /** Abort when so many events were heard; undefined: never. */
  readonly abortAfter: number | undefined;
}

const TASK = {
  taskType: 'imageInference',
  taskUUID: '6ba7b810-9dad-41d1-80b4-00c04fd430c8',
  positivePrompt: 'a zxstyle picture of the sea',
  outputFormat: 'PNG',
  CFGScale: 4,
} as const;

/** The picture that is made again and again: its bytes, and the memory after it, must stay the same. */
const REFERENCE: SoakTask = {
  ...TASK,
  model: 'sd15-tiny',
  width: 128,
  height: 128,
  steps: 2,
  seed: 5,
  scheduler: 'Euler a',
  numberResults: 1,
};

export const REFERENCES = {
  tiny: REFERENCE,
  flux: { ...REFERENCE, model: 'flux-dev-tiny', scheduler: 'Default' },
  micro: { ...REFERENCE, model: 'micro', steps: 1 },
} as const satisfies Record<SoakSet, SoakTask>;

const SCHEDULERS = [
  'Default',
  'Euler',
  'Euler a',
  'DPM++ 2M Karras',
  'DDIM',
  'UniPC',
  'Heun',
  'LMS',
  'DPM++ SDE',
] as const;
const SIZES = [128, 192, 256] as const;

/** @param nth kinds of tasks come in turn, so that all were seen after so many @param guide a picture as a data URI */
export function planSoak(set: SoakSet, random: Random, nth: number, guide: string): Planned {
  switch (set) {
    case 'micro':
      return planMicro(random, guide);
    case 'flux':
      return planFlux(random, nth);
    case 'tiny':
      return nth % FLUX_EVERY === FLUX_EVERY - 1
        ? planFlux(random, Math.floor(nth / FLUX_EVERY))
        : planTiny(random, nth, guide);
    default:
      return set satisfies never;
  }
}

function planMicro(random: Random, guide: string): Planned {
  const net = { model: 'micro-control', guideImage: guide, weight: 0.6, controlMode: 'balanced' };
  const task: SoakTask = {
    ...TASK,
    model: 'micro',
    width: random.pick([128, 192]),
    height: random.pick([128, 192]),
    steps: 1,
    seed: 1 + random.int(1000),
    CFGScale: random.pick([1, 4]),
    numberResults: 1,
    scheduler: random.pick(SCHEDULERS),
    ...(random.chance(0.4) ? { lora: [{ model: 'micro-lora', weight: random.pick([-0.5, 0.4, 1]) }] } : {}),
    ...(random.chance(0.3) ? { controlNet: [net] } : {}),
  };
  return { task, abortAfter: abort(random) };
}

function abort(random: Random): number | undefined {
  return random.chance(0.25) ? 1 + random.int(12) : undefined;
}

/** Of the tasks of `tiny`, each so many-th is one of FLUX.1. */
const FLUX_EVERY = 4;

/** Floats and few bits, with and without a LoRA, true guidance and short texts. */
function planFlux(random: Random, nth: number): Planned {
  const trueGuidance = { trueCFGScale: 2, negativePrompt: 'blurry' };
  const task: SoakTask = {
    ...TASK,
    model: FLUX[nth % FLUX.length] ?? FLUX[0],
    width: random.pick(SIZES),
    height: random.pick(SIZES),
    steps: 1 + random.int(3),
    seed: 1 + random.int(1000),
    numberResults: random.pick([1, 1, 2]),
    scheduler: random.pick(['Default', 'Euler', 'DPM++ 2M SDE']),
    ...(random.chance(0.3) ? trueGuidance : {}),
    ...(random.chance(0.4) ? { maxSequenceLength: random.pick([16, 64]) } : {}),
    ...lora(random, ['flux-lora-kohya-all']),
  };
  return { task, abortAfter: abort(random) };
}

function planTiny(random: Random, nth: number, guide: string): Planned {
  const model = [BUNDLED, 'sd15-tiny', 'sd15-tiny', 'lcm-tiny', 'sdxl-tiny', 'sd15-tiny'][nth % 6] ?? 'sd15-tiny';
  const numberResults = random.pick([1, 1, 2]);
  const task: SoakTask = {
    ...TASK,
    model,
    width: random.pick(SIZES),
    height: random.pick(SIZES),
    steps: 1 + random.int(3),
    seed: 1 + random.int(1000),
    numberResults,
    ...(model === 'lcm-tiny' ? { CFGScale: 1 } : { scheduler: random.pick(SCHEDULERS) }),
    ...(random.chance(0.5) ? { negativePrompt: 'blurry' } : {}),
    ...(model === 'sd15-tiny' ? addOns(random, guide) : {}),
    ...(model === 'sdxl-tiny' ? lora(random, ['lora-sdxl-kohya']) : {}),
  };
  return { task, abortAfter: abort(random) };
}

function addOns(random: Random, guide: string): Readonly<Record<string, unknown>> {
  const net = { model: 'controlnet-sd15-edges', guideImage: guide, weight: 0.6, controlMode: 'balanced' };
  return {
    ...lora(random, ['lora-sd15-kohya', 'locon-sd15']),
    ...(random.chance(0.3) ? { embeddings: [{ model: 'zxstyle', weight: 0.9 }] } : {}),
    ...(random.chance(0.3) ? { vae: random.pick(['vae-sd15-b', 'vae-taesd']) } : {}),
    ...(random.chance(0.4) ? { controlNet: [net] } : {}),
  };
}

function lora(random: Random, models: readonly string[]): Readonly<Record<string, unknown>> {
  const chosen = models.filter(() => random.chance(0.5));
  return chosen.length === 0 ? {} : { lora: chosen.map((model) => ({ model, weight: random.pick([-0.5, 0.4, 1]) })) };
}
