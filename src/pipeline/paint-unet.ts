/** @file The pictures of a plan by a UNet: text once, then for each picture noise → latents (→ refiner). Order and memory, no maths. */
import { createSampler, sample, type Sampler } from '../sampling/index.js';
import { useLoras } from './add-ons.js';
import { encodeConditioning, type Conditioning, type Role, type StageRun } from './conditioning.js';
import type { ControlPart } from './control.js';
import { acts } from './control-plan.js';
import { createDenoiser } from './denoiser.js';
import type { GenerateContext, Painter } from './generate.js';
import type { LoadedModel } from './model.js';
import { createObserver, previewColours, stepEnds, tracedGenerator, type OnePicture } from './observer.js';
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
  return {
    warnings: [],
    paint: (one) => denoise(sampler, stages, one, context, base),
    dispose: () => undefined,
  };
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

/**
 * The denoising loop of one picture. The refiner takes over the latents as they are, at an index of the same schedule and with the same
 * stream of noise; a solver's memory starts afresh there.
 */
async function denoise(
  sampler: Sampler,
  stages: readonly Stage[],
  one: OnePicture,
  context: GenerateContext,
  base: LoadedModel,
): Promise<Float32Array> {
  const { plan, seed, index } = one;
  const { channels, height, width } = plan.latent;
  const run: StageRun = { progress: context.progress, signal: context.signal, trace: context.trace?.(index) };
  const generator = tracedGenerator(seed, run.trace);
  const family = base.architecture === 'sd' ? 'sd1' : base.architecture;
  const colours = previewColours(base.card, family, channels);
  const observe = createObserver(stepEnds(sampler, stages), one, colours, context);
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
          onEvaluation({ evaluation, step, sample: x, denoised }) {
            run.trace?.(`latents.${twoDigits(before + evaluation)}`, x);
            observe({ evaluation: before + evaluation, step, denoised: () => denoised });
          },
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
