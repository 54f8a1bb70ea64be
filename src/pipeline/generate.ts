/** @file Runs a plan: for each picture latents → pixels → file. Order and memory, no maths. */
import type { FloatType } from '../base/dtype.js';
import type { EncodePicture } from '../image/encode.js';
import { pngTexts } from '../image/parameters.js';
import type { RgbPicture } from '../image/pixels.js';
import { encodePng } from '../image/png.js';
import type { ImageInferenceTask, OutputFormat } from '../request/task.js';
import { checkWeights } from '../runtime/read-weight.js';
import type { Runtime } from '../runtime/runtime.js';
import { triggerWarnings } from '../text/triggers.js';
import type { AddOns } from './add-ons.js';
import { decodeLatents } from './decoder.js';
import type { WireEvent, WirePicture } from './events.js';
import { createFluxPainter } from './flux/paint.js';
import type { FluxModel } from './flux/model.js';
import type { Freeable, LoadedModel, Vae } from './model.js';
import { decoderNetwork } from './networks.js';
import type { OnePicture } from './observer.js';
import { createUNetPainter } from './paint-unet.js';
import type { TaskPictures } from './pictures.js';
import type { Pace } from './pace.js';
import type { Plan } from './plan.js';
import type { Progress } from './progress.js';
import type { Trace } from './trace.js';

/** The models of a plan, and what is added to the base. */
export interface PlanModels extends AddOns {
  readonly base: LoadedModel | FluxModel;
  readonly vae: Vae;
  readonly refiner: LoadedModel | undefined;
}

/** Everything a run needs besides the plan. */
export interface GenerateContext {
  readonly runtime: Runtime;
  readonly models: PlanModels;
  readonly pictures: TaskPictures;
  readonly progress: Progress;
  readonly onEvent: (event: WireEvent) => void;
  readonly encodePicture: EncodePicture;
  readonly newUUID: () => string;
  readonly signal?: AbortSignal | undefined;
  readonly trace?: ((picture: number) => Trace) | undefined;
  /** What text encoders and UNets compute in. */
  readonly dtype: FloatType;
  /** Free each network as soon as it has done its part, so that only one is on the device at a time. */
  readonly frugal: boolean;
  /** Decode in bands, also where the device would take the picture whole. */
  readonly bands: boolean;
  /** Bytes that the request may take of the device, where that is known. */
  readonly memory?: number | undefined;
  /** How fast the device has been up to now. */
  readonly pace: Pace;
}

const MIME = { PNG: 'image/png', JPG: 'image/jpeg', WEBP: 'image/webp' } as const satisfies Record<
  OutputFormat,
  string
>;

/**
 * Makes the pictures of one task; each is sent as an event and added to `pictures` as soon as it is there.
 * Those that `pictures` holds already (of an earlier try) are not made again.
 */
export async function generate(
  task: ImageInferenceTask,
  given: Plan,
  context: GenerateContext,
  pictures: WirePicture[],
): Promise<void> {
  const { models, progress, signal, onEvent } = context;
  const { positivePrompt: positive, negativePrompt: negative, guided } = given;
  const words = triggerWarnings({ positive, negative }, models.embeddings, guided);
  await progress.stage('load', () => fetchWeights(models, progress, signal));
  const rounding = models.base.architecture === 'flux' ? await models.base.prepare({ progress, signal }) : [];
  const { dialect } = context.runtime;
  checkWeights(models.vae.file, decoderNetwork(models.vae.config, given, { dialect }, 0).graph.weights); // it comes last
  const painter = await createPainter(context, given);
  const plan: Plan = { ...given, warnings: [...given.warnings, ...words, ...rounding] };
  try {
    for (const [index, seed] of plan.seeds.entries()) {
      if (index < pictures.length) continue;
      progress.image(index);
      const latents = await painter.paint({ plan, seed, index, taskUUID: task.taskUUID });
      const pixels = await decode(context, plan, latents, index);
      const bytes = await progress.stage('encode', () => encode(task, plan, seed, pixels, context.encodePicture));
      const told = { ...plan, warnings: [...plan.warnings, ...painter.warnings, ...flatWarning(pixels)] };
      const picture = describePicture(task, told, context, { index, seed, bytes });
      onEvent({ kind: 'picture', picture });
      pictures.push(picture);
    }
  } finally {
    painter.dispose();
  }
  // Painters that free what they are done with have no network on the device while pictures are decoded.
  if (context.frugal) await models.vae.dispose();
}

/** Finite numbers far out of range make one colour, mostly black: a picture all right, and hardly the one that was asked for. */
function flatWarning({ rgb }: RgbPicture): readonly string[] {
  const first = rgb.subarray(0, 3);
  if (!rgb.every((value, i) => value === first[i % 3])) return [];
  return [
    `All of the picture has one colour, ${first.join(', ')} (RGB): the model's files may be damaged, or not belong together.`,
  ];
}

/** Makes the latents of the pictures of a plan, `[C,h,w]`. */
export interface Painter {
  /** What whoever asked for the pictures should know of how the last one was made. */
  readonly warnings: readonly string[];
  paint(one: OnePicture): Promise<Float32Array>;
  /** Frees what it holds on the device; the networks stay loaded. */
  dispose(): void;
}

function createPainter(context: GenerateContext, plan: Plan): Promise<Painter> {
  const { base } = context.models;
  return base.architecture === 'flux' ? createFluxPainter(context, plan, base) : createUNetPainter(context, plan, base);
}

function decode(
  { runtime, models, progress, signal, trace, bands }: GenerateContext,
  plan: Plan,
  latents: Float32Array,
  index: number,
): Promise<RgbPicture> {
  const options = { tiles: bands ? 'always' : 'auto', shifted: models.base.architecture === 'flux' } as const;
  return decodeLatents(runtime, models.vae, plan, latents, { progress, signal, trace: trace?.(index) }, options);
}

/** All networks that a plan may use. */
export function componentsOf({ base, refiner, vae, controls, fluxControls }: PlanModels): readonly Freeable[] {
  const nets = [...controls, ...fluxControls.map(({ net }) => net)];
  return [...base.networks, ...(refiner?.networks ?? []), vae, ...nets];
}

/** Brings all weight files before the first of them is used: from then on nothing is asked of the network. */
async function fetchWeights(models: PlanModels, progress: Progress, signal: AbortSignal | undefined): Promise<void> {
  const sources = new Set(
    componentsOf(models).flatMap(({ file }) => [...file.tensors.values()].map(({ source }) => source)),
  );
  const missing = [...sources].filter((source) => source.isMissing?.() === true);
  progress.downloads(missing.reduce((bytes, { size }) => bytes + size, 0));
  for (const source of sources) await source.download?.(signal);
}

async function encode(
  task: ImageInferenceTask,
  plan: Plan,
  seed: bigint,
  pixels: RgbPicture,
  encodePicture: EncodePicture,
): Promise<Uint8Array<ArrayBuffer>> {
  const mime = MIME[task.outputFormat];
  if (mime !== 'image/png') return encodePicture(pixels, { mime, quality: task.outputQuality });
  const { width, height, steps, CFGScale, scheduler } = plan;
  return encodePng(pixels, pngTexts({ ...task, width, height, steps, CFGScale, scheduler, seed }));
}

function describePicture(
  task: ImageInferenceTask,
  plan: Plan,
  { runtime, progress, newUUID }: GenerateContext,
  { index, seed, bytes }: { readonly index: number; readonly seed: bigint; readonly bytes: Uint8Array<ArrayBuffer> },
): WirePicture {
  return {
    taskType: task.taskType,
    taskUUID: task.taskUUID,
    imageUUID: newUUID(),
    seed,
    image: index,
    width: plan.width,
    height: plan.height,
    mime: MIME[task.outputFormat],
    bytes,
    outputType: task.outputType,
    includeCost: task.includeCost,
    backend: runtime.info.backend,
    warnings: plan.warnings,
    timings: { ...progress.timings() },
  };
}
