/**
 * @file The pictures of a plan by a UNet: text once, then for each picture noise → latents (→ refiner); where networks take turns on the device, each
 * stage for all pictures before the next. Order and memory, no maths.
 */
import { fail } from '../base/errors.js';
import { createSampler, sample, type Generator, type Sampler } from '../sampling/index.js';
import { useLoras } from './add-ons.js';
import { encodeConditioning, type Conditioning, type Role, type StageRun } from './conditioning.js';
import type { ControlPart } from './control.js';
import { acts } from './control-plan.js';
import { createDenoiser } from './denoiser.js';
import type { GenerateContext, Painter } from './generate.js';
import type { LoadedModel } from './model.js';
import {
  createObserver,
  previewColours,
  stepEnds,
  tracedGenerator,
  type Observed,
  type OnePicture,
} from './observer.js';
import { fitGuide } from './pictures.js';
import type { Plan } from './plan.js';
import { twoDigits } from './trace.js';

/** The text is encoded here, for all pictures. */
export async function createUNetPainter(context: GenerateContext, plan: Plan, base: LoadedModel): Promise<Painter> {
  const { models, progress, signal } = context;
  const sampler = createSampler({ name: plan.scheduler, config: base.scheduler, steps: plan.steps });
  context.trace?.(0)('scheduler.timesteps', Float32Array.from(sampler.timesteps));
  context.trace?.(0)('scheduler.sigmas', Float32Array.from(sampler.sigmas));
  const run: StageRun = { progress, signal, trace: context.trace?.(0) };
  useLoras(base, models.loras);
  if (models.refiner !== undefined) useLoras(models.refiner, []);
  const handover = plan.refiner?.baseSteps;
  const stages = [await makeStage(context, plan, 'base', base, { begin: undefined, end: handover }, run)];
  if (models.refiner !== undefined) {
    stages.push(await makeStage(context, plan, 'refiner', models.refiner, { begin: handover, end: undefined }, run));
  }
  const start = (one: OnePicture): Unfinished => begin(sampler, stages, one, context, base);
  const alone = async (one: OnePicture): Promise<Float32Array> => {
    const picture = start(one);
    for (const stage of stages) await denoise(sampler, stage, picture, context);
    return finish(picture);
  };
  return {
    warnings: [],
    paint: context.frugal ? paintInTurn(stages, start, sampler, context) : alone,
    dispose: () => undefined,
  };
}

/** Paints all pictures from the first that is asked for on, so that each network is brought once for all of them, and keeps the others' latents. */
function paintInTurn(
  stages: readonly Stage[],
  start: (one: OnePicture) => Unfinished,
  sampler: Sampler,
  context: GenerateContext,
): Painter['paint'] {
  const { progress } = context;
  const ready = new Map<number, Float32Array>();
  const paintFrom = async (first: OnePicture): Promise<void> => {
    const pictures = [...first.plan.seeds.entries()]
      .filter(([index]) => index >= first.index)
      .map(([index, seed]) => start({ ...first, index, seed }));
    for (const stage of stages) {
      for (const picture of pictures) {
        progress.image(picture.one.index);
        await denoise(sampler, stage, picture, context);
      }
      for (const network of [stage.model.unet, ...stage.controls.map(({ net }) => net)]) await network.dispose();
    }
    progress.image(first.index);
    for (const picture of pictures) ready.set(picture.one.index, finish(picture));
  };
  return async (one) => {
    if (!ready.has(one.index)) await paintFrom(one);
    const latents = ready.get(one.index);
    if (latents === undefined) throw fail('internalError', `Picture ${one.index} is none of its plan's.`);
    ready.delete(one.index);
    return latents;
  };
}

/** A network and the steps of the one schedule that it runs. */
interface Stage {
  readonly role: Role;
  readonly model: LoadedModel;
  readonly conditioning: Conditioning;
  readonly begin: number | undefined;
  readonly end: number | undefined;
  /** What steers it. */
  readonly controls: readonly ControlPart[];
}

async function makeStage(
  context: GenerateContext,
  plan: Plan,
  role: Role,
  model: LoadedModel,
  range: { readonly begin: number | undefined; readonly end: number | undefined },
  run: StageRun,
): Promise<Stage> {
  const { runtime, dtype, frugal, models } = context;
  // What is added to the base does not reach the refiner, which has another text encoder.
  const embeddings = role === 'base' ? models.embeddings : [];
  const controls = role === 'base' ? controlsOf(context, plan) : [];
  const conditioning = await encodeConditioning({ runtime, dtype }, model, plan, role, run, embeddings);
  if (frugal) for (const encoder of model.encoders) await encoder.dispose();
  return { role, model, conditioning, controls, ...range };
}

/** A picture between its stages. */
interface Unfinished {
  readonly one: OnePicture;
  readonly run: StageRun;
  /** One stream for all stages. */
  readonly generator: Generator;
  readonly observe: (event: Observed) => void;
  latents: Float32Array;
  /** Evaluations of the stages before. */
  done: number;
}

function begin(
  sampler: Sampler,
  stages: readonly Stage[],
  one: OnePicture,
  context: GenerateContext,
  base: LoadedModel,
): Unfinished {
  const { channels, height, width } = one.plan.latent;
  const run: StageRun = { progress: context.progress, signal: context.signal, trace: context.trace?.(one.index) };
  const generator = tracedGenerator(one.seed, run.trace);
  const family = base.architecture === 'sd' ? 'sd1' : base.architecture;
  const colours = previewColours(base.card, family, channels);
  const observe = createObserver(stepEnds(sampler, stages), one, colours, context);
  return { one, run, generator, observe, latents: generator.randn(channels * height * width), done: 0 };
}

/**
 * The denoising loop of one stage of a picture. The refiner takes over the latents as they are, at an index of the same schedule and with the same
 * stream of noise; a solver's memory starts afresh there.
 */
async function denoise(sampler: Sampler, stage: Stage, picture: Unfinished, context: GenerateContext): Promise<void> {
  const { one, run, generator, observe, latents, done } = picture;
  const { model, conditioning, role, controls } = stage;
  const denoiser = await createDenoiser(context, model, { plan: one.plan, conditioning, role, controls }, run);
  if (stage.begin !== undefined) run.trace?.('latents.handoff', latents);
  const result = await context.progress
    .stage('denoise', () =>
      sample(sampler, {
        latents,
        predict: denoiser.predict,
        generator,
        signal: context.signal,
        begin: stage.begin,
        end: stage.end,
        onEvaluation({ evaluation, step, sample: x, denoised }) {
          run.trace?.(`latents.${twoDigits(done + evaluation)}`, x);
          observe({ evaluation: done + evaluation, step, denoised: () => denoised });
        },
      }),
    )
    .finally(() => denoiser.dispose());
  picture.latents = result.latents;
  picture.done += result.evaluations;
}

function finish({ run, latents }: Unfinished): Float32Array {
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
    return [{ net, plan, guide: fitGuide(guide.picture, width, height) }];
  });
}
