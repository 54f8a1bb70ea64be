/** @file Runs a plan: text once, then for each picture noise → latents → pixels → file. Order and memory, no maths. */
import type { WireEvent, WirePicture } from './events.js';
import type { EncodePicture } from '../image/encode.js';
import { pngTexts } from '../image/parameters.js';
import type { RgbPicture } from '../image/pixels.js';
import { encodePng } from '../image/png.js';
import { latentsToRgba, type LatentRgb } from '../image/preview.js';
import { LATENT_RGB } from '../models/families.js';
import type { ImageInferenceTask, OutputFormat } from '../request/task.js';
import type { Runtime } from '../runtime/runtime.js';
import { createGenerator } from '../sampling/noise.js';
import { sample } from '../sampling/sample.js';
import { createSampler, type Sampler } from '../sampling/sampler.js';
import { createDenoiser } from './denoiser.js';
import { decodeLatents } from './decoder.js';
import type { LoadedModel } from './model.js';
import type { Plan } from './plan.js';
import type { Progress } from './progress.js';
import { encodePrompts } from './text-encoder.js';
import { twoDigits, type Trace } from './trace.js';

/** Everything a run needs besides the plan. */
export interface GenerateContext {
  readonly runtime: Runtime;
  readonly model: LoadedModel;
  readonly progress: Progress;
  readonly onEvent: (event: WireEvent) => void;
  readonly encodePicture: EncodePicture;
  readonly newUUID: () => string;
  readonly signal?: AbortSignal | undefined;
  readonly trace?: ((picture: number) => Trace) | undefined;
}

const MIME = { PNG: 'image/png', JPG: 'image/jpeg', WEBP: 'image/webp' } as const satisfies Record<
  OutputFormat,
  string
>;

/** Makes the pictures of one task; each is sent as an event as soon as it is there. */
export async function generate(
  task: ImageInferenceTask,
  plan: Plan,
  context: GenerateContext,
): Promise<readonly WirePicture[]> {
  const { runtime, model, progress, signal, onEvent } = context;
  const sampler = createSampler({ name: plan.scheduler, config: model.schedulerConfig, steps: plan.steps });
  context.trace?.(0)('scheduler.timesteps', Float32Array.from(sampler.timesteps));
  context.trace?.(0)('scheduler.sigmas', Float32Array.from(sampler.sigmas));
  const text = await encodePrompts(runtime, model, plan, { progress, signal, trace: context.trace?.(0) });
  const pictures: WirePicture[] = [];
  for (const [index, seed] of plan.seeds.entries()) {
    progress.image(index);
    const run = { progress, signal, trace: context.trace?.(index) };
    const predict = await createDenoiser(runtime, model, plan, text, run);
    const latents = await denoise(sampler, { plan, seed, index, predict, taskUUID: task.taskUUID }, context);
    const pixels = await decodeLatents(runtime, model, plan, latents, run);
    const bytes = await progress.stage('encode', () => encode(task, plan, seed, pixels, context.encodePicture));
    const picture: WirePicture = {
      taskType: task.taskType,
      taskUUID: task.taskUUID,
      imageUUID: context.newUUID(),
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
    onEvent({ kind: 'picture', picture });
    pictures.push(picture);
  }
  return pictures;
}

interface OnePicture {
  readonly plan: Plan;
  readonly seed: bigint;
  readonly index: number;
  readonly taskUUID: string;
  readonly predict: Awaited<ReturnType<typeof createDenoiser>>;
}

/** The denoising loop of one picture, with its previews. */
async function denoise(
  sampler: Sampler,
  { plan, seed, index, taskUUID, predict }: OnePicture,
  context: GenerateContext,
): Promise<Float32Array> {
  const { progress, signal, onEvent, model } = context;
  const trace = context.trace?.(index);
  const { channels, height, width } = plan.latent;
  const generator = tracedGenerator(seed, trace);
  const latentRgb = previewColours(model, channels);
  const ends = stepEnds(sampler);
  return progress.stage('denoise', async () => {
    const { latents } = await sample(sampler, {
      latents: generator.randn(channels * height * width),
      predict,
      generator,
      ...(signal === undefined ? {} : { signal }),
      onEvaluation: ({ evaluation, step, sample: x, denoised }) => {
        trace?.(`latents.${twoDigits(evaluation)}`, x);
        const end = ends.indexOf(evaluation + 1);
        if (end >= 0) progress.step(end + 1, plan.steps);
        if (latentRgb === undefined) return;
        const rgba = latentsToRgba(denoised, width, height, latentRgb);
        onEvent({ kind: 'preview', taskUUID, image: index, step: step + 1, of: plan.steps, width, height, rgba });
      },
    });
    trace?.('latents.final', latents);
    return latents;
  });
}

/** Evaluations that are done when each step ends: rules of second order evaluate twice, PLMS once more at its start. */
function stepEnds({ intervals, rule }: Sampler): readonly number[] {
  let evaluations = 0;
  return intervals.map((interval, i) => (evaluations += rule.visits(interval, i).length));
}

/** The card's preview colours, else its family's; none where the latents are of another kind. */
function previewColours(model: LoadedModel, channels: number): LatentRgb | undefined {
  const colours = model.card?.latentRgb ?? LATENT_RGB.sd1;
  return colours.factors.length === channels ? colours : undefined;
}

/** The picture's one stream of noise; each draw is shown to the trace. */
function tracedGenerator(seed: bigint, trace: Trace | undefined): ReturnType<typeof createGenerator> {
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
