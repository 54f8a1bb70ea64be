/** @file Task + models → Plan: every choice that decides the picture, made before anything heavy runs; plain data that can be printed. */
import type { Architecture } from '../assets/model-files.js';
import { DarkroomError, type WireError } from '../base/errors.js';
import type { ModelCard, ModelDefaults } from '../models/card.js';
import type { RawSchedulerConfig } from '../models/configs/scheduler.js';
import type { UNetConfig } from '../models/configs/unet.js';
import { vaeScaleFactor, type VaeConfig } from '../models/configs/vae.js';
import type { SchedulerName } from '../request/scheduler-names.js';
import type { ImageInferenceTask, PromptWeighting, WeightedModel } from '../request/task.js';
import { baseSteps } from '../sampling/index.js';
import { acts, planControl, type PlannedControl } from './control-plan.js';

/** How classifier-free guidance runs: not at all, both branches in one batch of 2, or one after the other. */
export type GuidanceMode = 'off' | 'batch' | 'sequential';

export interface Plan {
  readonly model: string;
  readonly positivePrompt: string;
  /** Absent stays absent: SDXL tells it from an empty prompt. */
  readonly negativePrompt: string | undefined;
  readonly width: number;
  readonly height: number;
  readonly latent: { readonly channels: number; readonly height: number; readonly width: number };
  readonly steps: number;
  readonly CFGScale: number;
  readonly guidance: GuidanceMode;
  /** Whether the negative branch has any effect: `guidance` is not `off`. */
  readonly guided: boolean;
  readonly scheduler: SchedulerName;
  readonly clipSkip: number;
  /** Syntax of weights in the prompts; absent: brackets are text. */
  readonly promptWeighting: PromptWeighting | undefined;
  /** The base runs steps 0…baseSteps of the one schedule, the refiner the rest. */
  readonly refiner: { readonly model: string; readonly baseSteps: number } | undefined;
  /** Another autoencoder than the model's own. */
  readonly vae: string | undefined;
  /** What the base's networks are changed by; those of weight 0 are left out. */
  readonly lora: readonly WeightedModel[];
  readonly embeddings: readonly WeightedModel[];
  /** In the request's order; those that never act too. */
  readonly controlNet: readonly PlannedControl[];
  /** What only FLUX.1 has. */
  readonly flux: FluxChoices | undefined;
  /** One per picture: seed + i. */
  readonly seeds: readonly bigint[];
  readonly warnings: readonly string[];
}

/** Choices for FLUX.1. `CFGScale` is the guidance that the network is told; true guidance is another thing, with a second pass. */
export interface FluxChoices {
  /** The text is padded to so many tokens, all of which are read: it changes the picture. */
  readonly textTokens: number;
  /** Scale of guidance by the negative prompt; absent: the prompt alone. */
  readonly trueCFGScale: number | undefined;
}

/** What the planner needs to know of a model. */
export interface PlannedModel {
  readonly architecture: Architecture;
  readonly card: ModelCard | undefined;
  readonly unet: { readonly config: UNetConfig };
  readonly vae: { readonly config: VaeConfig };
  readonly encoders: readonly { readonly config: { readonly layers: number } }[];
  readonly scheduler: RawSchedulerConfig;
}

/** Seeds are 63-bit; beyond the last one they start again at 1. */
const MAX_SEED = 2n ** 63n - 1n;

/** Latent pixels up to which both guidance branches run as one batch; beyond, activations count more than the second dispatch. */
const BATCH_LIMIT = 128 * 128;

/**
 * Precedence: request, then the model's card, then what its files say of a distilled model, then 20 steps and CFG 7.
 * @param randomSeed a fresh seed from 1 to 2^32−1, used when the task has none
 * @throws invalidWidth, invalidHeight, invalidClipSkip, invalidRefiner, unsupportedModel: all at once
 */
export function makePlan(task: ImageInferenceTask, model: PlannedModel, randomSeed: () => bigint): Plan {
  const defaults: Partial<ModelDefaults> = { ...distilledDefaults(model), ...model.card?.defaults };
  const factor = vaeScaleFactor(model.vae.config);
  const native = (model.unet.config.sampleSize ?? 64) * factor;
  const width = task.width ?? defaults.width ?? native;
  const height = task.height ?? defaults.height ?? native;
  const steps = task.steps ?? defaults.steps ?? 20;
  checkModel(task, model, { width, height, steps });
  const CFGScale = task.CFGScale ?? defaults.CFGScale ?? 7;
  const latent = { channels: model.vae.config.latentChannels, height: height / factor, width: width / factor };
  const guidance = guidanceMode(model, CFGScale, latent.height * latent.width);
  return {
    model: task.model,
    positivePrompt: task.positivePrompt,
    negativePrompt: task.negativePrompt,
    width,
    height,
    latent,
    steps,
    CFGScale,
    guidance,
    guided: guidance !== 'off',
    scheduler: task.scheduler ?? defaults.scheduler ?? 'Default',
    clipSkip: task.clipSkip,
    promptWeighting: task.promptWeighting,
    refiner: task.refiner && { model: task.refiner.model, baseSteps: baseSteps(steps, task.refiner) },
    vae: task.vae,
    lora: task.lora.filter(({ weight }) => weight !== 0),
    embeddings: task.embeddings.filter(({ weight }) => weight !== 0),
    controlNet: task.controlNet.map((request) => planControl(request, steps)),
    flux: undefined,
    seeds: seedsOf(task, randomSeed),
    warnings: [...task.warnings, ...warningsOf(task, model, steps, guidance)],
  };
}

/** One seed per picture. */
export function seedsOf(
  { seed, numberResults }: Pick<ImageInferenceTask, 'seed' | 'numberResults'>,
  randomSeed: () => bigint,
): readonly bigint[] {
  const first = seed ?? randomSeed();
  return Array.from({ length: numberResults }, (_, i) => ((first - 1n + BigInt(i)) % MAX_SEED) + 1n);
}

/** Models with a guidance embedding take the scale as an input: there is no second branch. */
function guidanceMode({ unet }: PlannedModel, CFGScale: number, area: number): GuidanceMode {
  if (CFGScale <= 1 || unet.config.timeCondProjDim !== undefined) return 'off';
  return area <= BATCH_LIMIT ? 'batch' : 'sequential';
}

/** Few-step models say so in their files: LCM by its scheduler, Turbo by Euler a on trailing timesteps. */
function distilledDefaults({ scheduler, unet }: PlannedModel): Partial<ModelDefaults> {
  const className = scheduler['_class_name'];
  if (className === 'LCMScheduler') return { steps: 4, CFGScale: unet.config.timeCondProjDim === undefined ? 1 : 8 };
  if (className === 'TCDScheduler') return { steps: 4, CFGScale: 1 };
  if (className === 'EulerAncestralDiscreteScheduler' && scheduler['timestep_spacing'] === 'trailing') {
    return { steps: 1, CFGScale: 0 };
  }
  return {};
}

function warningsOf(
  task: ImageInferenceTask,
  model: PlannedModel,
  steps: number,
  guidance: GuidanceMode,
): readonly string[] {
  const warnings: string[] = [];
  if (task.negativePrompt !== undefined && guidance === 'off') {
    warnings.push('negativePrompt has no effect: guidance is off (CFGScale up to 1, or a model distilled for it).');
  }
  if (task.refiner !== undefined && baseSteps(steps, task.refiner) >= steps) {
    warnings.push('refiner has no effect: the base runs all steps.');
  }
  for (const name of ['trueCFGScale', 'maxSequenceLength'] as const) {
    if (task[name] !== undefined) warnings.push(`${name} has no effect: it is for FLUX.1.`);
  }
  task.controlNet.forEach((request, i) => {
    if (acts(planControl(request, steps))) return;
    warnings.push(`controlNet[${i}] has no effect: its weight is 0, or no step lies inside its window.`);
  });
  return warnings;
}

interface Wanted {
  readonly width: number;
  readonly height: number;
  readonly steps: number;
}

/** What the request asks of this model that the model cannot do: every problem at once. */
function checkModel(task: ImageInferenceTask, model: PlannedModel, wanted: Wanted): void {
  const problems = [
    ...sizeProblems(model, wanted),
    ...clipSkipProblems(task, model),
    ...refinerProblems(task, model, wanted),
    ...kindProblems(task, model),
  ];
  const [first, ...rest] = problems;
  if (first !== undefined) throw new DarkroomError([first, ...rest]);
}

function sizeProblems({ unet, vae }: PlannedModel, wanted: Wanted): readonly WireError[] {
  const multiplier = vaeScaleFactor(vae.config) * 2 ** (unet.config.blockOutChannels.length - 1);
  return (['width', 'height'] as const)
    .filter((side) => wanted[side] % multiplier !== 0)
    .map((side) => ({
      code: side === 'width' ? 'invalidWidth' : 'invalidHeight',
      message: `Invalid value for '${side}': got ${wanted[side]}; this model needs a multiple of ${multiplier}.`,
      parameter: side,
      type: 'integer',
      multiplier,
    }));
}

function clipSkipProblems(
  { clipSkip }: ImageInferenceTask,
  { architecture, encoders }: PlannedModel,
): readonly WireError[] {
  // SDXL reads the penultimate layer to begin with.
  const own = architecture === 'sd' ? 0 : 1;
  const layers = Math.min(...encoders.map((encoder) => encoder.config.layers));
  const max = layers - own - 1;
  if (clipSkip <= max) return [];
  const message = `Invalid value for 'clipSkip': got ${clipSkip}; this model's text encoder has ${layers} layers.`;
  return [{ code: 'invalidClipSkip', message, parameter: 'clipSkip', type: 'integer', min: 0, max }];
}

function refinerProblems(
  { refiner }: ImageInferenceTask,
  { architecture }: PlannedModel,
  { steps }: Wanted,
): readonly WireError[] {
  if (refiner === undefined) return [];
  const problems: WireError[] = [];
  if (architecture !== 'sdxl') {
    const message = `Invalid value for 'refiner': it goes with a Stable Diffusion XL base, and the model is ${describe(architecture)}.`;
    problems.push({ code: 'invalidRefiner', message, parameter: 'refiner', type: 'object' });
  }
  if (refiner.startStep !== undefined && refiner.startStep > steps) {
    const message = `Invalid value for 'refiner.startStep': got ${refiner.startStep}, expected at most steps (${steps}).`;
    problems.push({
      code: 'invalidRefinerStartStep',
      message,
      parameter: 'refiner.startStep',
      type: 'integer',
      min: 2,
      max: steps,
    });
  }
  return problems;
}

function kindProblems(task: ImageInferenceTask, { architecture, unet, vae }: PlannedModel): readonly WireError[] {
  const problem = (message: string): readonly WireError[] => [
    { code: 'unsupportedModel', message, parameter: 'model', type: 'string' },
  ];
  if (architecture === 'sdxl-refiner')
    return problem(`${task.model} is ${describe(architecture)}: give it as refiner, with a Stable Diffusion XL model.`);
  const { inChannels, outChannels } = unet.config;
  if (inChannels === vae.config.latentChannels) {
    if (outChannels === inChannels) return [];
    return problem(
      `${task.model} is a UNet that makes ${outChannels} channels of ${inChannels}; as many were expected.`,
    );
  }
  const what = inChannels === 9 ? 'an inpainting model' : `a UNet of ${inChannels} input channels`;
  return problem(`${task.model} is ${what}; text-to-image needs ${vae.config.latentChannels}.`);
}

export function describe(architecture: Architecture | 'flux'): string {
  switch (architecture) {
    case 'flux':
      return 'a FLUX.1 model';
    case 'sd':
      return 'a Stable Diffusion 1.x or 2.x model';
    case 'sdxl':
      return 'a Stable Diffusion XL model';
    case 'sdxl-refiner':
      return 'a Stable Diffusion XL refiner';
    default:
      return architecture satisfies never;
  }
}
