/**
 * @file The table of parameters of an `imageInference` task: name, range, default. Data only; the rules between
 * parameters are in `relations.ts`, and which of them have an effect today in `support.ts`.
 * Source: https://runware.ai/docs/en/image-inference/api-reference (and `…/text-to-image` for the ranges).
 */
import {
  STEPS,
  anything,
  flag,
  integer,
  integerFrom,
  list,
  number,
  oneOf,
  pattern,
  picture,
  reference,
  resolved,
  text,
} from './checkers.js';
import { UUID } from './image-reference.js';
import { relateAccelerator, relateControlNet, relateRefiner } from './relations.js';
import { defaulted, defaultedBy, object, required, requiredOnWire } from './rules.js';
import { SCHEDULER_NAMES, resolveSchedulerName } from './scheduler-names.js';
import { seed } from './seed.js';
import { unionMode } from './union-modes.js';

/** The bound of `startStep` and its like when a task does not say its steps. */
export const DEFAULT_STEPS = 20;
export const MAX_STEPS = 100;

/** In code points; `__BLANK__` (no text guidance) is a prompt like any other here. */
const prompt = text({ min: 2, max: 3000 });

/** An AIR, a registered name or a URL: what it stands for is decided later. */
const model = text({ min: 1, max: 4096 });

const side = integer({ min: 128, max: 2048, multiple: 64 });

const image = picture();

const weightedModel = object({
  model: required(model),
  weight: defaulted(number({ min: -4, max: 4 }), 1),
});

const refiner = object(
  {
    model: required(model),
    startStep: integer({ min: 2, max: STEPS }),
    startStepPercentage: integer({ min: 1, max: 99 }),
  },
  relateRefiner,
);

const controlNet = object(
  {
    model: required(model),
    guideImage: required(image),
    weight: defaulted(number({ min: 0, max: 1 }), 1),
    startStep: integer({ min: 1, max: STEPS }),
    startStepPercentage: integer({ min: 0, max: 99 }),
    endStep: integer({ min: 1, max: STEPS }),
    endStepPercentage: integer({ min: 1, max: 100 }),
    // sdk-js fills in `controlnet`; the cloud's own example of a raw task has `balanced`.
    controlMode: defaultedBy(oneOf(['prompt', 'controlnet', 'balanced']), ({ dialect }) =>
      dialect === 'sdk' ? 'controlnet' : 'balanced',
    ),
    // Not in the cloud, where each mode of a union net is a model of its own.
    unionMode: unionMode(),
  },
  relateControlNet,
);

const margin = integerFrom(0, 64);

/** Says which task an error belongs to; checked before all others. */
export const IDENTITY = {
  taskUUID: required(pattern(UUID, 'a UUID, e.g. a version 4 one from crypto.randomUUID()')),
};

/** How the result comes back; the same for every task that makes a picture. */
export const OUTPUT_PARAMETERS = {
  outputType: defaulted(oneOf(['URL', 'dataURI', 'base64Data']), 'URL'),
  outputFormat: defaulted(oneOf(['JPG', 'PNG', 'WEBP'], { anyCase: true }), 'JPG'),
  outputQuality: defaulted(integer({ min: 20, max: 99 }), 95),
  includeCost: defaulted(flag(), false),
} as const;

/** Parameters that a checked task carries. */
export const TASK_PARAMETERS = {
  positivePrompt: required(prompt),
  negativePrompt: prompt,
  model: required(model),
  width: requiredOnWire(side),
  height: requiredOnWire(side),
  steps: integer({ min: 1, max: MAX_STEPS }),
  CFGScale: number({ min: 0, max: 50 }),
  scheduler: resolved(SCHEDULER_NAMES, 'the name of a scheduler', resolveSchedulerName),
  seed: seed(),
  vae: model,
  clipSkip: defaulted(integer({ min: 0, max: 2 }), 0),
  // The enum of the cloud's Python SDK spells it `sdembeds`.
  promptWeighting: oneOf(['compel', 'sdEmbeds'], { anyCase: true }),
  trueCFGScale: number({ min: 1, max: 20 }),
  maxSequenceLength: integer({ min: 1, max: 512 }),
  refiner,
  controlNet: defaulted(list(controlNet), []),
  lora: defaulted(list(weightedModel), []),
  embeddings: defaulted(list(weightedModel), []),
  seedImage: image,
  maskImage: image,
  maskMargin: integer({ min: 32, max: 128 }),
  strength: number({ min: 0, max: 1 }),
  numberResults: defaulted(integer({ min: 1, max: 20 }), 1),
  ...OUTPUT_PARAMETERS,
} as const;

/** Parameters that are only checked: nothing here acts on them yet, or nothing in a web page could (see `support.ts`). */
export const CHECKED_PARAMETERS = {
  outpaint: object({
    top: margin,
    right: margin,
    bottom: margin,
    left: margin,
    blur: integer({ min: 0, max: 32 }),
  }),
  referenceImages: list(image),
  ipAdapters: list(object({ model: required(model), guideImage: required(image), weight: number({ min: 0, max: 1 }) })),
  resolution: oneOf(['1k', '2k', '4k']),
  acceleration: oneOf(['none', 'low', 'medium', 'high']),
  acceleratorOptions: object(
    {
      teaCache: flag(),
      teaCacheDistance: number({ min: 0, max: 1 }),
      deepCache: flag(),
      deepCacheInterval: integerFrom(1),
      deepCacheBranchId: integerFrom(0),
      cacheStartStep: integer({ min: 0, max: STEPS }),
      cacheStartStepPercentage: integer({ min: 0, max: 99 }),
      cacheEndStep: integer({ min: 1, max: STEPS }),
      cacheEndStepPercentage: integer({ min: 1, max: 100 }),
      cacheMaxConsecutiveSteps: integer({ min: 1, max: 5 }),
    },
    relateAccelerator,
  ),
  advancedFeatures: object({ layerDiffuse: flag() }),
  safety: object({ checkContent: flag(), mode: oneOf(['none', 'fast', 'full']) }),
  checkNSFW: flag(),
  uploadEndpoint: reference('a URL'),
  webhookURL: reference('a URL'),
  deliveryMethod: oneOf(['sync', 'async']),
  ttl: integerFrom(60),
  usePromptWeighting: flag(),
  useCache: flag(),
  puLID: anything(),
  acePlusPlus: anything(),
  photoMaker: anything(),
  instantID: anything(),
  lycoris: anything(),
  ultralytics: anything(),
  providerSettings: anything(),
  settings: anything(),
  inputs: anything(),
} as const;

/** Every parameter but `taskType` and `taskUUID`. */
export const PARAMETERS = { ...TASK_PARAMETERS, ...CHECKED_PARAMETERS };

export type ParameterName = keyof typeof PARAMETERS;
