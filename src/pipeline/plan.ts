/** @file Task + model → Plan: every choice that decides the picture, made before anything heavy runs; plain data that can be printed. */
import { DarkroomError, fail, type WireError } from '../base/errors.js';
import { vaeScaleFactor } from '../graphs/autoencoder-kl.js';
import type { ModelCard } from '../models/card.js';
import type { AutoencoderKLConfig } from '../models/configs/autoencoder-kl.js';
import type { UNetConfig } from '../models/configs/unet.js';
import type { SchedulerName } from '../request/scheduler-names.js';
import type { ImageInferenceTask } from '../request/task.js';

/** How classifier-free guidance runs: not at all, both branches in one batch of 2, or one after the other. */
export type GuidanceMode = 'off' | 'batch' | 'sequential';

export interface Plan {
  readonly model: string;
  readonly positivePrompt: string;
  readonly negativePrompt: string;
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
  /** One per picture: seed + i. */
  readonly seeds: readonly bigint[];
  readonly warnings: readonly string[];
}

/** What the planner needs to know of a model. */
export interface PlannedModel {
  readonly card: ModelCard | undefined;
  readonly unet: { readonly config: UNetConfig };
  readonly vae: { readonly config: AutoencoderKLConfig };
  readonly textEncoder: { readonly config: { readonly layers: number } };
}

/** Seeds are 63-bit; beyond the last one they start again at 1. */
const MAX_SEED = 2n ** 63n - 1n;

/** Latent pixels up to which both guidance branches run as one batch; beyond, activations count more than the second dispatch. */
const BATCH_LIMIT = 128 * 128;

/**
 * Precedence: request, then the model's card, then 20 steps and CFG 7 (reference: the API's documented defaults).
 * @param randomSeed a fresh seed from 1 to 2^32−1, used when the task has none
 * @throws invalidWidth, invalidHeight, invalidClipSkip, unsupportedModel — all at once
 */
export function makePlan(task: ImageInferenceTask, model: PlannedModel, randomSeed: () => bigint): Plan {
  const { defaults } = model.card ?? {};
  const native = (model.unet.config.sampleSize ?? 64) * vaeScaleFactor(model.vae.config);
  const width = task.width ?? defaults?.width ?? native;
  const height = task.height ?? defaults?.height ?? native;
  checkModel(task, model, { width, height });
  const CFGScale = task.CFGScale ?? defaults?.CFGScale ?? 7;
  const factor = vaeScaleFactor(model.vae.config);
  const latent = { channels: model.vae.config.latentChannels, height: height / factor, width: width / factor };
  const guidance = CFGScale <= 1 ? 'off' : latent.height * latent.width <= BATCH_LIMIT ? 'batch' : 'sequential';
  const first = task.seed ?? randomSeed();
  return {
    model: task.model,
    positivePrompt: task.positivePrompt,
    negativePrompt: task.negativePrompt ?? '',
    width,
    height,
    latent,
    steps: task.steps ?? defaults?.steps ?? 20,
    CFGScale,
    guidance,
    guided: guidance !== 'off',
    scheduler: task.scheduler ?? 'Default',
    clipSkip: task.clipSkip,
    seeds: Array.from({ length: task.numberResults }, (_, i) => ((first - 1n + BigInt(i)) % MAX_SEED) + 1n),
    warnings: task.warnings,
  };
}

/** What the request asks of this model that the model cannot do; every problem, each with the task it belongs to. */
function checkModel(
  task: ImageInferenceTask,
  model: PlannedModel,
  size: { readonly width: number; readonly height: number },
): void {
  const { unet, vae, textEncoder } = model;
  const problems: WireError[] = [];
  const multiplier = vaeScaleFactor(vae.config) * 2 ** (unet.config.blockOutChannels.length - 1);
  for (const side of ['width', 'height'] as const) {
    if (size[side] % multiplier === 0) continue;
    problems.push({
      code: side === 'width' ? 'invalidWidth' : 'invalidHeight',
      message: `Invalid value for '${side}': got ${size[side]}; this model needs a multiple of ${multiplier}.`,
      parameter: side,
      type: 'integer',
      multiplier,
    });
  }
  if (task.clipSkip >= textEncoder.config.layers) {
    const max = textEncoder.config.layers - 1;
    problems.push({
      code: 'invalidClipSkip',
      message: `Invalid value for 'clipSkip': got ${task.clipSkip}; this model's text encoder has ${textEncoder.config.layers} layers.`,
      parameter: 'clipSkip',
      type: 'integer',
      min: 0,
      max,
    });
  }
  if (unet.config.inChannels !== vae.config.latentChannels) {
    const what =
      unet.config.inChannels === 9 ? 'an inpainting model' : `a UNet of ${unet.config.inChannels} input channels`;
    throw fail('unsupportedModel', `${task.model} is ${what}; text-to-image needs ${vae.config.latentChannels}.`, {
      parameter: 'model',
    });
  }
  const [first, ...rest] = problems;
  if (first !== undefined) throw new DarkroomError([first, ...rest]);
}
