/** @file Task + FLUX.1 model → Plan: what holds for this family, and what it cannot do. */
import { DarkroomError, type WireError } from '../../base/errors.js';
import type { ModelCard, ModelDefaults } from '../../models/card.js';
import type { FluxTransformerConfig } from '../../models/configs/flux-transformer.js';
import { vaeScaleFactor, type VaeConfig } from '../../models/configs/vae.js';
import { resolveSchedulerName, type SchedulerName } from '../../request/scheduler-names.js';
import type { ImageInferenceTask } from '../../request/task.js';
import { acts, planControl } from '../control-plan.js';
import { seedsOf, type Plan } from '../plan.js';

/** What the planner needs to know of a model. */
export interface PlannedFlux {
  readonly architecture: 'flux';
  readonly card: ModelCard | undefined;
  readonly transformer: { readonly config: FluxTransformerConfig };
  readonly vae: { readonly config: VaeConfig };
}

/** Published settings of dev and schnell, which are told apart by the guidance embedding (black-forest-labs/flux, model cards). */
const SETTINGS = {
  dev: { width: 1024, height: 1024, steps: 28, CFGScale: 3.5, textTokens: 512 },
  schnell: { width: 1024, height: 1024, steps: 4, CFGScale: 1, textTokens: 256 },
} as const;

/** Pixels of an image token. */
const TOKEN = 2;

/**
 * Precedence: request, then the model's card, then the published settings.
 * @param randomSeed a fresh seed from 1 to 2^32−1, used when the task has none
 * @throws what {@link checkFluxTask} does, and invalidWidth, invalidHeight: all at once
 */
export function makeFluxPlan(task: ImageInferenceTask, model: PlannedFlux, randomSeed: () => bigint): Plan {
  const { guidanceEmbeds } = model.transformer.config;
  const settings = guidanceEmbeds ? SETTINGS.dev : SETTINGS.schnell;
  const defaults: ModelDefaults = { ...settings, ...model.card?.defaults };
  const { width = settings.width, height = settings.height } = { ...defaults, ...sizeOf(task) };
  const factor = vaeScaleFactor(model.vae.config);
  report([...taskProblems(task), ...sizeProblems({ width, height }, TOKEN * factor)]);
  const steps = task.steps ?? defaults.steps ?? settings.steps;
  const guided = task.trueCFGScale !== undefined && task.trueCFGScale > 1;
  return {
    model: task.model,
    positivePrompt: task.positivePrompt,
    negativePrompt: guided ? task.negativePrompt : undefined,
    width,
    height,
    latent: { channels: model.vae.config.latentChannels, height: height / factor, width: width / factor },
    steps,
    CFGScale: task.CFGScale ?? defaults.CFGScale ?? settings.CFGScale,
    guidance: guided ? 'sequential' : 'off',
    guided,
    scheduler: task.scheduler ?? defaults.scheduler ?? 'Default',
    clipSkip: 0,
    promptWeighting: undefined,
    refiner: undefined,
    vae: undefined,
    lora: task.lora.filter(({ weight }) => weight !== 0),
    embeddings: [],
    controlNet: task.controlNet.map((request) => planControl(request, steps)),
    flux: {
      textTokens: task.maxSequenceLength ?? settings.textTokens,
      trueCFGScale: guided ? task.trueCFGScale : undefined,
    },
    seeds: seedsOf(task, randomSeed),
    warnings: [...keptWarnings(task), ...warningsOf(task, guidanceEmbeds, guided), ...controlWarnings(task, steps)],
  };
}

function sizeOf({ width, height }: ImageInferenceTask): ModelDefaults {
  return { ...(width === undefined ? {} : { width }), ...(height === undefined ? {} : { height }) };
}

/**
 * What this family cannot do, before anything besides the model is opened.
 * @throws unsupportedParameter, invalidRefiner, unsupportedScheduler: all at once
 */
export function checkFluxTask(task: ImageInferenceTask): void {
  report(taskProblems(task));
}

function report([first, ...rest]: readonly WireError[]): void {
  if (first !== undefined) throw new DarkroomError([first, ...rest]);
}

function taskProblems(task: ImageInferenceTask): readonly WireError[] {
  const refused: readonly (readonly [name: string, asked: boolean, type: string, why: string])[] = [
    ['vae', task.vae !== undefined, 'string', 'FLUX.1 models are decoded by their own autoencoder'],
    ['embeddings', task.embeddings.some(({ weight }) => weight !== 0), 'object[]', 'FLUX.1 has no embeddings'],
    [
      'promptWeighting',
      task.promptWeighting !== undefined,
      'string',
      'FLUX.1 takes the prompt as it is; weights of words are for Stable Diffusion',
    ],
  ];
  const problems = refused.flatMap(([parameter, asked, type, why]): readonly WireError[] =>
    asked
      ? [
          {
            code: 'unsupportedParameter',
            message: `'${parameter}' cannot be used here: ${why}.`,
            parameter,
            type,
            hint: `Leave '${parameter}' out.`,
          },
        ]
      : [],
  );
  if (task.refiner !== undefined) {
    const message =
      "Invalid value for 'refiner': it goes with a Stable Diffusion XL base, and the model is a FLUX.1 model.";
    return [
      ...problems,
      { code: 'invalidRefiner', message, parameter: 'refiner', type: 'object' },
      ...schedulerProblems(task),
    ];
  }
  return [...problems, ...schedulerProblems(task)];
}

/** https://runware.ai/docs/en/image-inference/schedulers, the list of FLUX */
const FLUX_SCHEDULERS: readonly SchedulerName[] = [
  'FlowMatchEulerDiscreteScheduler',
  ...['Euler', 'DPM++', 'DPM++ SDE', 'DPM++ 2M', 'DPM++ 2M SDE', 'DPM++ 3M'].flatMap((solver) =>
    ['', ' Beta', ' Exponential', ' Karras'].flatMap((curve) => resolveSchedulerName(solver + curve) ?? []),
  ),
];

function schedulerProblems({ scheduler = 'Default' }: ImageInferenceTask): readonly WireError[] {
  if (scheduler === 'Default' || FLUX_SCHEDULERS.includes(scheduler)) return [];
  const names = FLUX_SCHEDULERS.join(', ');
  return [
    {
      code: 'unsupportedScheduler',
      message: `Scheduler ${scheduler} cannot sample this model (FLUX.1); expected one of Default, ${names}.`,
      parameter: 'scheduler',
      type: 'string',
      allowedValues: ['Default', ...FLUX_SCHEDULERS],
      hint: "Leave scheduler out to use the model's own.",
    },
  ];
}

function sizeProblems(
  size: { readonly width: number; readonly height: number },
  multiplier: number,
): readonly WireError[] {
  return (['width', 'height'] as const)
    .filter((side) => size[side] % multiplier !== 0)
    .map((side) => ({
      code: side === 'width' ? 'invalidWidth' : 'invalidHeight',
      message: `Invalid value for '${side}': got ${size[side]}; this model needs a multiple of ${multiplier}.`,
      parameter: side,
      type: 'integer',
      multiplier,
    }));
}

/** That a CFGScale up to 1 switches guidance off is true of other families. */
function keptWarnings({ warnings }: ImageInferenceTask): readonly string[] {
  return warnings.filter((warning) => !/^'negativePrompt' has no effect/.test(warning));
}

function warningsOf(task: ImageInferenceTask, guidanceEmbeds: boolean, guided: boolean): readonly string[] {
  const warnings: string[] = [];
  if (task.negativePrompt !== undefined && !guided)
    warnings.push(
      'negativePrompt has no effect: FLUX.1 has no negative prompt, unless trueCFGScale (above 1) asks for one.',
    );
  if (guided && task.negativePrompt === undefined)
    warnings.push('trueCFGScale without a negativePrompt is guidance away from the empty prompt.');
  if (task.clipSkip !== 0) warnings.push('clipSkip has no effect: FLUX.1 reads only the pooled output of CLIP.');
  if (task.CFGScale !== undefined && task.CFGScale !== 1 && !guidanceEmbeds)
    warnings.push(
      task.controlNet.length === 0
        ? 'CFGScale has no effect: this FLUX.1 model was distilled without guidance (schnell).'
        : 'CFGScale steers at most ControlNets: this FLUX.1 model was distilled without guidance (schnell).',
    );
  return warnings;
}

/** Modes of control say how it is shared between two passes; here the prompt and the guide are seen in one. */
function controlWarnings({ controlNet }: ImageInferenceTask, steps: number): readonly string[] {
  return controlNet.flatMap((request, i) => [
    ...(request.controlMode === 'prompt'
      ? [`controlNet[${i}].controlMode 'prompt' has no effect with FLUX.1: a lower weight lets the prompt count more.`]
      : []),
    ...(acts(planControl(request, steps))
      ? []
      : [
          `controlNet[${i}] does not steer the picture: its weight is 0, or no step lies inside its window. The seed's noise is another one with it, as in diffusers.`,
        ]),
  ]);
}
