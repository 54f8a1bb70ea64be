/** @file Runs a plan: text once, then for each picture noise → latents (→ refiner) → pixels → file. Order and memory, no maths. */
import type { FloatType } from '../base/dtype.js';
import type { EncodePicture } from '../image/encode.js';
import { pngTexts } from '../image/parameters.js';
import type { RgbPicture } from '../image/pixels.js';
import { encodePng } from '../image/png.js';
import { latentsToRgba } from '../image/preview.js';
import { LATENT_RGB, type LatentRgb } from '../models/families.js';
import type { ImageInferenceTask, OutputFormat } from '../request/task.js';
import type { Runtime } from '../runtime/runtime.js';
import { createGenerator, createSampler, sample, type Generator, type Sampler } from '../sampling/index.js';
import { useLoras, type AddOns } from './add-ons.js';
import { triggerWarnings } from '../text/triggers.js';
import { encodeConditioning, type Conditioning, type Role, type StageRun } from './conditioning.js';
import type { ControlPart } from './control.js';
import { acts } from './control-plan.js';
import { createDenoiser } from './denoiser.js';
import { decodeLatents } from './decoder.js';
import type { WireEvent, WirePicture } from './events.js';
import type { LoadedModel, Vae } from './model.js';
import { fitGuide, type TaskPictures } from './pictures.js';
import type { Plan } from './plan.js';
import type { Progress } from './progress.js';
import { twoDigits, type Trace } from './trace.js';

/** The models of a plan, and what is added to the base. */
export interface PlanModels extends AddOns {
  readonly base: LoadedModel;
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
  const { runtime, models, progress, signal, onEvent } = context;
  const { positivePrompt: positive, negativePrompt: negative, guided } = given;
  const words = triggerWarnings({ positive, negative }, models.embeddings, guided);
  const plan: Plan = { ...given, warnings: [...given.warnings, ...words] };
  const sampler = createSampler({ name: plan.scheduler, config: models.base.scheduler, steps: plan.steps });
  context.trace?.(0)('scheduler.timesteps', Float32Array.from(sampler.timesteps));
  context.trace?.(0)('scheduler.sigmas', Float32Array.from(sampler.sigmas));
  const run: StageRun = { progress, signal, trace: context.trace?.(0) };
  await progress.stage('load', () => fetchWeights(models, signal));
  useLoras(models.base, models.loras);
  if (models.refiner !== undefined) useLoras(models.refiner, []);
  const stages: Stage[] = [
    await makeStage(context, plan, 'base', models.base, { begin: undefined, end: plan.refiner?.baseSteps }, run),
  ];
  if (models.refiner !== undefined) {
    stages.push(
      await makeStage(
        context,
        plan,
        'refiner',
        models.refiner,
        { begin: plan.refiner?.baseSteps, end: undefined },
        run,
      ),
    );
  }
  for (const [index, seed] of plan.seeds.entries()) {
    if (index < pictures.length) continue;
    progress.image(index);
    const latents = await denoise(sampler, stages, { plan, seed, index, taskUUID: task.taskUUID }, context);
    const tiles = context.bands ? 'always' : 'auto';
    const decodeRun = { progress, signal, trace: context.trace?.(index) };
    const pixels = await decodeLatents(runtime, models.vae, plan, latents, decodeRun, { tiles });
    const bytes = await progress.stage('encode', () => encode(task, plan, seed, pixels, context.encodePicture));
    const picture = describePicture(task, plan, context, { index, seed, bytes });
    onEvent({ kind: 'picture', picture });
    pictures.push(picture);
    if (context.frugal) await models.vae.dispose();
  }
}

/** Brings all weight files before the first of them is used: from then on nothing is asked of the network. */
async function fetchWeights(
  { base, refiner, vae, controls }: PlanModels,
  signal: AbortSignal | undefined,
): Promise<void> {
  const models = refiner === undefined ? [base] : [base, refiner];
  const components = [...models.flatMap(({ unet, encoders }) => [unet, ...encoders]), vae, ...controls];
  const sources = new Set(components.flatMap(({ file }) => [...file.tensors.values()].map(({ source }) => source)));
  for (const source of sources) await source.download?.(signal);
}

/** A network and the steps of the one schedule that it runs. */
interface Stage {
  readonly role: Role;
  readonly model: LoadedModel;
  readonly conditioning: Conditioning;
  readonly begin: number | undefined;
  readonly end: number | undefined;
}

async function makeStage(
  { runtime, dtype, frugal, models }: GenerateContext,
  plan: Plan,
  role: Role,
  model: LoadedModel,
  range: { readonly begin: number | undefined; readonly end: number | undefined },
  run: StageRun,
): Promise<Stage> {
  // What is added to the base does not reach the refiner, which has another text encoder.
  const embeddings = role === 'base' ? models.embeddings : [];
  const conditioning = await encodeConditioning({ runtime, dtype }, model, plan, role, run, embeddings);
  if (frugal) for (const encoder of model.encoders) await encoder.dispose();
  return { role, model, conditioning, ...range };
}

interface OnePicture {
  readonly plan: Plan;
  readonly seed: bigint;
  readonly index: number;
  readonly taskUUID: string;
}

/**
 * The denoising loop of one picture. The refiner takes over the latents as they are, at an index of the same schedule and with the same
 * stream of noise; a solver's memory starts afresh there.
 */
async function denoise(
  sampler: Sampler,
  stages: readonly Stage[],
  one: OnePicture,
  context: GenerateContext,
): Promise<Float32Array> {
  const { plan, seed, index } = one;
  const { channels, height, width } = plan.latent;
  const run: StageRun = { progress: context.progress, signal: context.signal, trace: context.trace?.(index) };
  const generator = tracedGenerator(seed, run.trace);
  const observe = createObserver(stepEnds(sampler, stages), one, context);
  let latents = generator.randn(channels * height * width);
  let done = 0;
  for (const stage of stages) {
    const { conditioning, role } = stage;
    const controls = role === 'base' ? controlsOf(context, plan) : [];
    const denoiser = await createDenoiser(context, stage.model, { plan, conditioning, role, controls }, run);
    if (stage.begin !== undefined) run.trace?.('latents.handoff', latents);
    const before = done;
    const result = await context.progress
      .stage('denoise', () =>
        sample(sampler, {
          latents,
          predict: denoiser.predict,
          generator,
          signal: context.signal,
          begin: stage.begin,
          end: stage.end,
          onEvaluation: (event) => observe({ ...event, evaluation: before + event.evaluation }),
        }),
      )
      .finally(() => denoiser.dispose());
    latents = result.latents;
    if (context.frugal)
      for (const network of [stage.model.unet, ...controls.map(({ net }) => net)]) await network.dispose();
    done += result.evaluations;
  }
  run.trace?.('latents.final', latents);
  return latents;
}

/** The ControlNets that act in some step, each with its guide in the picture's size. */
function controlsOf(
  { models, pictures }: GenerateContext,
  { controlNet, width, height }: Plan,
): readonly ControlPart[] {
  return controlNet.flatMap((plan, i): readonly ControlPart[] => {
    const [net, guide] = [models.controls[i], pictures.guides[i]];
    if (!acts(plan) || net === undefined || guide === undefined) return [];
    return [{ net, plan, guide: fitGuide(guide, width, height) }];
  });
}

/** What an evaluation tells the observer. */
interface Observed {
  /** Counted through all stages. */
  readonly evaluation: number;
  readonly step: number;
  readonly sample: Float32Array;
  readonly denoised: Float32Array;
}

/** Turns evaluations into progress and previews. */
function createObserver(
  ends: readonly number[],
  { plan, index, taskUUID }: OnePicture,
  context: GenerateContext,
): (event: Observed) => void {
  const { progress, onEvent, models } = context;
  const { channels, height, width } = plan.latent;
  const trace = context.trace?.(index);
  const colours = previewColours(models.base, channels);
  return ({ evaluation, step, sample: x, denoised }) => {
    trace?.(`latents.${twoDigits(evaluation)}`, x);
    const end = ends.indexOf(evaluation + 1);
    if (end >= 0) progress.step(end + 1, plan.steps);
    if (colours === undefined) return;
    const rgba = latentsToRgba(denoised, width, height, colours);
    onEvent({ kind: 'preview', taskUUID, image: index, step: step + 1, of: plan.steps, width, height, rgba });
  };
}

/**
 * Evaluations that are done when each step ends: rules of second order evaluate twice, PLMS once more where a run begins.
 */
function stepEnds({ intervals, rule }: Sampler, stages: readonly Stage[]): readonly number[] {
  let evaluations = 0;
  return stages.flatMap(({ begin, end }) =>
    intervals.slice(begin, end).map((interval, i) => (evaluations += rule.visits(interval, i).length)),
  );
}

/** The card's preview colours, else its family's; none where the latents are of another kind. */
function previewColours({ card, architecture }: LoadedModel, channels: number): LatentRgb | undefined {
  const colours: LatentRgb = card?.latentRgb ?? LATENT_RGB[architecture === 'sd' ? 'sd1' : architecture];
  return colours.factors.length === channels ? colours : undefined;
}

/** The picture's one stream of noise; each draw is shown to the trace. */
function tracedGenerator(seed: bigint, trace: Trace | undefined): Generator {
  const generator = createGenerator(seed);
  if (trace === undefined) return generator;
  let draws = 0;
  return {
    ...generator,
    randn(n) {
      const values = generator.randn(n);
      trace(`noise.${draws++}`, values);
      return values;
    },
  };
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
