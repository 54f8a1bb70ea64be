/** @file The pictures of a plan by FLUX.1: text once, then for each picture noise → packed latents → latents. Order and memory, no maths. */
import { packLatents, tokenGrid, unpackLatents, type LatentSize } from '../../graphs/flux-tokens.js';
import type { FluxShape } from '../../graphs/flux.js';
import { createSampler, guide, sample, type Sampler } from '../../sampling/index.js';
import { changedBy, useLoras } from '../add-ons.js';
import type { StageRun } from '../conditioning.js';
import type { GenerateContext, Painter } from '../generate.js';
import { createObserver, previewColours, stepEnds, tracedGenerator, type OnePicture } from '../observer.js';
import type { Plan } from '../plan.js';
import type { Trace } from '../trace.js';
import { describeControl, freeControl, seeGuides, type ControlJob } from './control-job.js';
import { controlSizes, planControlled, type ControlledMemory } from './control-memory.js';
import {
  controlledKinds,
  drawGuides,
  openControl,
  steerControl,
  type ControlSteering,
  type FluxControls,
  type SeenGuides,
} from './control.js';
import { encodeFluxPrompts, type FluxConditioning, type FluxPrompt } from './conditioning.js';
import { branchName, fluxWeights, onceGraphs, stepGraphs, type OnceGraphs, type StepGraphs } from './graphs.js';
import { availableBytes, planFluxMemory, type FluxSizes } from './memory.js';
import type { FluxModel } from './model.js';
import { broughtAt, expectStep, planSteps, type PlannedStep } from './planned-steps.js';
import { fluxSizes } from './sizes.js';
import { slownessWarnings } from './slowness.js';
import { makeSteering, type Steering } from './steering.js';
import {
  createWorkspace,
  embedText,
  evaluateTransformer,
  loadTransformer,
  type BlockHooks,
  type PromptFeed,
} from './transformer.js';

/** The text is encoded here, for all pictures. */
export async function createFluxPainter(context: GenerateContext, plan: Plan, model: FluxModel): Promise<Painter> {
  const { progress, signal, trace } = context;
  const job = describeJob(context, plan, model);
  trace?.(0)('scheduler.timesteps', Float32Array.from(job.sampler.timesteps));
  trace?.(0)('scheduler.sigmas', Float32Array.from(job.sampler.sigmas));
  const run: StageRun = { progress, signal, trace: trace?.(0), pace: context.pace };
  useLoras(model, context.models.loras);
  const { together: keep, t5: t5Blocks } = job.memory;
  const prompts = await encodeFluxPrompts(context, model, plan, { keep, t5Blocks }, run);
  const tiles = context.bands ? 'always' : 'auto';
  const seen =
    job.control && (await seeGuides(context.runtime, job.control, context.pictures.guides, plan, run, tiles));
  if (context.frugal) await model.vae.dispose();
  const steering = await steerAll(job, prompts, run);
  /** Planned again when weights have been brought for the text, so that it is known how fast they come. */
  let { memory } = job;
  /** Seconds of the last picture's steps. */
  let measured: number | undefined;
  let network: Network | undefined;
  const free = (): void => {
    network?.dispose();
    network = undefined;
  };
  const denoiseOne = async (one: OnePicture): Promise<Float32Array> => {
    if (network === undefined) {
      memory = job.planMemory();
      network = await openNetwork({ ...job, memory }, prompts, steering, run);
    }
    const latents = await denoise(job, network, seen, one, () => expectedSeconds(job, memory));
    measured = progress.secondsPerStep();
    return latents;
  };
  const ready = new Map<number, Float32Array>();
  /** Of all pictures from this one on, so that the transformer is brought once for all of them. */
  const denoiseAll = async (first: OnePicture): Promise<void> => {
    for (const [index, seed] of plan.seeds.entries()) {
      if (index < first.index) continue;
      progress.image(index);
      ready.set(index, await denoiseOne({ ...first, index, seed }));
    }
    progress.image(first.index);
    free();
    await model.transformer.dispose();
    if (job.control !== undefined) await freeControl(job.control);
  };
  return {
    get warnings() {
      return [...(job.control?.warnings ?? []), ...slowness(job, memory, measured)];
    },
    async paint(one) {
      if (!context.frugal) return denoiseOne(one);
      if (!ready.has(one.index)) await denoiseAll(one);
      return ready.get(one.index) ?? new Float32Array();
    },
    dispose: free,
  };
}

function stepsOf({ plan, sampler, sizes, control }: Job, memory: ControlledMemory): readonly PlannedStep[] {
  return planSteps(plan, sampler, sizes, memory, control);
}

/** What a step takes at the speeds that were measured up to now. */
function expectedSeconds(job: Job, memory: ControlledMemory): number | undefined {
  return expectStep(stepsOf(job, memory), job.context.pace.rates('image'))?.seconds;
}

/** Bringing weights at every step can take longer than all the arithmetic; few bits are the way out. @param measured seconds of a step */
function slowness(job: Job, memory: ControlledMemory, measured: number | undefined): readonly string[] {
  const steps = stepsOf(job, memory);
  const step = expectStep(steps, job.context.pace.rates('image'));
  const fewer =
    job.model.weightBits === 4 ? '' : ' Few bits take less: overrides.weightBits when registering, or a GGUF file.';
  return slownessWarnings(broughtAt(steps), step && { ...step, seconds: measured ?? step.seconds }, fewer);
}

function endsOf(sampler: Sampler): readonly number[] {
  return stepEnds(sampler, [{ begin: undefined, end: undefined }]);
}

/** Everything that is fixed for the pictures of a plan. */
interface Job {
  readonly context: GenerateContext;
  readonly plan: Plan;
  readonly model: FluxModel;
  readonly sampler: Sampler;
  /** Each timestep once. */
  readonly timesteps: readonly number[];
  readonly size: LatentSize;
  readonly shape: FluxShape;
  readonly graphs: OnceGraphs & StepGraphs;
  /** Names the graphs, among those of this model. */
  readonly key: string;
  readonly sizes: FluxSizes;
  readonly control: ControlJob | undefined;
  readonly memory: ControlledMemory;
  /** For the speeds that were measured up to now, which decide about the transformer's blocks alone. */
  readonly planMemory: () => ControlledMemory;
}

function describeJob(context: GenerateContext, plan: Plan, model: FluxModel): Job {
  const { runtime, dtype, frugal } = context;
  const size = plan.latent;
  const { rows, columns } = tokenGrid(size);
  const shape = { textTokens: plan.flux?.textTokens ?? model.t5.tokenizer.length, imageTokens: rows * columns };
  const sampler = createSampler({
    name: plan.scheduler,
    config: model.scheduler,
    steps: plan.steps,
    imageSeqLen: shape.imageTokens,
    uniformFlowGrid: true,
  });
  const timesteps = [...new Set(sampler.timesteps)];
  const weights = fluxWeights(model, changedBy(context.models.loras));
  const options = { dialect: runtime.dialect, dtype };
  const setting = { model, controls: context.models.fluxControls, shape, timesteps: timesteps.length, options };
  const control = describeControl(plan, setting, context.pictures.guides);
  const controlled = controlledKinds(control);
  const graphs = {
    ...stepGraphs(weights, shape, options, controlled),
    ...onceGraphs(weights, shape, timesteps.length, options),
  };
  const sizes = fluxSizes(model, graphs, { tokens: shape.textTokens, latent: size }, weights.changed, options);
  const available = availableBytes(context.memory, runtime.info.limits, frugal);
  const ofControl = controlSizes(control, runtime.dialect);
  const planMemory = (): ControlledMemory =>
    planControlled(sizes, ofControl, (all) => planFluxMemory(all, available, frugal, context.pace.rates('image')));
  const { image, double, single, output } = graphs;
  const branches = branchName([image, double.graph, single.graph, output]);
  const takes = `${controlled.double ? ' +double' : ''}${controlled.single ? ' +single' : ''}`;
  const key = `${shape.textTokens}+${shape.imageTokens} ${dtype}${takes}${branches}`;
  return {
    context,
    plan,
    model,
    sampler,
    timesteps,
    size,
    shape,
    graphs,
    key,
    sizes,
    control,
    memory: planMemory(),
    planMemory,
  };
}

/** Of the prompt, and with true guidance of the negative prompt. */
interface Sides<T> {
  readonly cond: T;
  readonly uncond: T | undefined;
}

/** What steers the blocks of all networks. ControlNets look at the positive prompt alone. */
interface AllSteering extends Sides<Steering> {
  readonly control: ControlSteering;
}

async function steerAll(
  { plan, model, timesteps, graphs, memory, control }: Job,
  { cond, uncond }: FluxConditioning,
  run: StageRun,
): Promise<AllSteering> {
  const request = { timesteps, guidance: plan.CFGScale };
  const steer = ({ pooled }: FluxPrompt): Promise<Steering> =>
    makeSteering(model.transformer, graphs, { ...request, pooled }, memory.modulation, run);
  const nets = control && (await steerControl(control, { ...request, pooled: cond.pooled }, memory.modulation, run));
  return { cond: await steer(cond), uncond: uncond && (await steer(uncond)), control: nets ?? new Map() };
}

/** The transformer, ready for the pictures of a plan. */
interface Network {
  /** Velocity of one side, from packed latents. */
  readonly evaluate: (
    side: PromptFeed,
    latents: Float32Array,
    timestep: number,
    control: BlockHooks['inputs'],
  ) => Promise<Float32Array>;
  readonly feeds: Sides<PromptFeed>;
  readonly control: FluxControls | undefined;
  dispose(): void;
}

async function openNetwork(
  job: Job,
  prompts: FluxConditioning,
  steering: AllSteering,
  run: StageRun,
): Promise<Network> {
  const { context, model, graphs, shape, size, key, memory } = job;
  const { transformer } = model;
  const held: { dispose(): void }[] = [];
  const feed = async (prompt: FluxPrompt, steer: Steering): Promise<PromptFeed> => {
    const text = await embedText(context.runtime, transformer, graphs.text, prompt.states, run);
    held.push(text);
    return { text, steering: steer };
  };
  const free = (): void => held.forEach((array) => array.dispose());
  try {
    const cond = await feed(prompts.cond, steering.cond);
    const uncond = prompts.uncond && steering.uncond && (await feed(prompts.uncond, steering.uncond));
    const sessions = await loadTransformer(transformer, key, graphs, memory, run);
    const workspace = await createWorkspace(context, transformer.config, shape, tokenGrid(size));
    held.push(workspace);
    const control =
      job.control && (await openControl(context, job.control, prompts.cond, steering.control, memory.control, run));
    if (control !== undefined) held.push(control);
    return {
      feeds: { cond, uncond },
      control,
      evaluate: (side, latents, timestep, added) =>
        evaluateTransformer(sessions, workspace, side, latents, timestep, added, context.signal),
      dispose: free,
    };
  } catch (error) {
    free();
    throw error;
  }
}

/** The denoising loop of one picture, on packed latents: there diffusers draws the noise of stochastic samplers too. */
async function denoise(
  { context, plan, sampler, size, model, control: job }: Job,
  { evaluate, feeds, control }: Network,
  seen: SeenGuides | undefined,
  one: OnePicture,
  secondsPerStep: () => number | undefined,
): Promise<Float32Array> {
  const { progress, signal } = context;
  const trace = context.trace?.(one.index);
  const generator = tracedGenerator(one.seed, trace);
  const colours = previewColours(model.card, 'flux', size.channels);
  const observe = createObserver(endsOf(sampler), one, colours, context);
  const guides = job && seen && drawGuides(job, seen, generator, trace);
  const noise = generator.randn(size.channels * size.height * size.width);
  const result = await progress.stage('denoise', () => {
    progress.expect(secondsPerStep, plan.steps);
    return sample(sampler, {
      latents: packLatents(noise, size),
      generator,
      signal,
      async predict(input, timestep, { evaluation, step }) {
        const name = `step.${evaluation}`;
        trace?.(`${name}.input`, input);
        trace?.(`${name}.timestep`, Float32Array.of(timestep / 1000));
        trace?.(`${name}.guidance`, Float32Array.of(plan.CFGScale));
        const show = evaluation === 0 && trace ? { trace: prefixed(trace, name) } : {};
        const added = guides && (await control?.at({ step, timestep, latents: input, guides, signal, ...show }));
        const cond = await evaluate(feeds.cond, input, timestep, added);
        if (feeds.uncond === undefined) return cond;
        const uncond = await evaluate(feeds.uncond, input, timestep, added);
        trace?.(`${name}.cond.output`, cond);
        trace?.(`${name}.uncond.output`, uncond);
        return guide(uncond, cond, plan.flux?.trueCFGScale ?? 1);
      },
      onEvaluation({ evaluation, step, sample: x, output, denoised }) {
        trace?.(`step.${evaluation}.velocity`, output);
        trace?.(`step.${evaluation}.latents`, x);
        observe({ evaluation, step, denoised: () => unpackLatents(denoised, size) });
      },
    });
  });
  return unpackLatents(result.latents, size);
}

/** Names of intermediates behind a common beginning. */
function prefixed(trace: Trace, prefix: string): Trace {
  return (name, data) => trace(`${prefix}.${name}`, data);
}
