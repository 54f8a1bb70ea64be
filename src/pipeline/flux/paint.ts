/** @file The pictures of a plan by FLUX.1: text once, then for each picture noise → packed latents → latents. Order and memory, no maths. */
import { packLatents, tokenGrid, unpackLatents, type LatentSize } from '../../graphs/flux-tokens.js';
import type { FluxShape } from '../../graphs/flux.js';
import type { DeviceArray } from '../../runtime/device-array.js';
import { createSampler, guide, sample, type Sampler } from '../../sampling/index.js';
import { changedBy, useLoras } from '../add-ons.js';
import type { StageRun } from '../conditioning.js';
import type { GenerateContext, Painter } from '../generate.js';
import { createObserver, previewColours, stepEnds, tracedGenerator, type OnePicture } from '../observer.js';
import type { Plan } from '../plan.js';
import { encodeFluxPrompts, type FluxConditioning, type FluxPrompt } from './conditioning.js';
import { fluxWeights, onceGraphs, stepGraphs, type OnceGraphs, type StepGraphs } from './graphs.js';
import { planFluxMemory, ASSUMED_BYTES, type FluxMemory } from './memory.js';
import type { FluxModel } from './model.js';
import { fluxSizes } from './sizes.js';
import { makeSteering, type Steering } from './steering.js';
import { createWorkspace, embedText, evaluateTransformer, loadTransformer, type PromptFeed } from './transformer.js';

/** The text is encoded here, for all pictures. */
export async function createFluxPainter(context: GenerateContext, plan: Plan, model: FluxModel): Promise<Painter> {
  const { progress, signal, trace } = context;
  const job = describeJob(context, plan, model);
  trace?.(0)('scheduler.timesteps', Float32Array.from(job.sampler.timesteps));
  trace?.(0)('scheduler.sigmas', Float32Array.from(job.sampler.sigmas));
  const run: StageRun = { progress, signal, trace: trace?.(0) };
  useLoras(model, context.models.loras);
  const { together: keep, t5: t5Blocks } = job.memory;
  const prompts = await encodeFluxPrompts(context, model, plan, { keep, t5Blocks }, run);
  const steering = await steerBoth(job, prompts, run);
  let network: Network | undefined;
  const free = (): void => {
    network?.dispose();
    network = undefined;
  };
  const denoiseOne = async (one: OnePicture): Promise<Float32Array> => {
    network ??= await openNetwork(job, prompts, steering, run);
    return denoise(job, network, one);
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
  };
  return {
    warnings: slowness(job),
    async paint(one) {
      if (!context.frugal) return denoiseOne(one);
      if (!ready.has(one.index)) await denoiseAll(one);
      return ready.get(one.index) ?? new Float32Array();
    },
    dispose: free,
  };
}

/** Bringing weights at every step can take longer than all the arithmetic; few bits are the way out. */
function slowness({ graphs: { double, single }, memory, model }: Job): readonly string[] {
  const blocks = double.prefixes.length + single.prefixes.length;
  const brought = blocks - memory.double - memory.single;
  if (brought === 0) return [];
  const fewer =
    model.weightBits === 4 ? '' : ' Few bits take less: overrides.weightBits when registering, or a GGUF file.';
  return [
    `${brought} of ${blocks} blocks did not fit into memory; they are brought at every step, which is slow.${fewer}`,
  ];
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
  readonly memory: FluxMemory;
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
  const graphs = {
    ...stepGraphs(weights, shape, options),
    ...onceGraphs(weights, shape, timesteps.length, options),
  };
  const sizes = fluxSizes(model, graphs, { tokens: shape.textTokens, latent: size }, weights.floats, options);
  const memory = planFluxMemory(sizes, availableTo(context), frugal);
  const key = `${shape.textTokens}+${shape.imageTokens} ${dtype}`;
  return { context, plan, model, sampler, timesteps, size, shape, graphs, key, memory };
}

/** What was known to be there, but for a tenth; where nothing is, what cards have that run such models, or half of that where it was too much. */
function availableTo({ memory, frugal }: GenerateContext): number {
  return memory === undefined ? (frugal ? ASSUMED_BYTES / 2 : ASSUMED_BYTES) : 0.9 * memory;
}

/** Of the prompt, and with true guidance of the negative prompt. */
interface Sides<T> {
  readonly cond: T;
  readonly uncond: T | undefined;
}

async function steerBoth(
  { plan, model, timesteps, graphs, memory }: Job,
  { cond, uncond }: FluxConditioning,
  run: StageRun,
): Promise<Sides<Steering>> {
  const steer = ({ pooled }: FluxPrompt): Promise<Steering> =>
    makeSteering(model.transformer, graphs, { timesteps, guidance: plan.CFGScale, pooled }, memory.modulation, run);
  return { cond: await steer(cond), uncond: uncond && (await steer(uncond)) };
}

/** The transformer, ready for the pictures of a plan. */
interface Network {
  /** Velocity of one side, from packed latents. */
  readonly evaluate: (side: PromptFeed, latents: Float32Array, timestep: number) => Promise<Float32Array>;
  readonly feeds: Sides<PromptFeed>;
  dispose(): void;
}

async function openNetwork(
  job: Job,
  prompts: FluxConditioning,
  steering: Sides<Steering>,
  run: StageRun,
): Promise<Network> {
  const { context, model, graphs, shape, size, key, memory } = job;
  const { transformer } = model;
  const held: DeviceArray[] = [];
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
    const workspace = await createWorkspace(context, transformer, shape, tokenGrid(size));
    return {
      feeds: { cond, uncond },
      evaluate: (side, latents, timestep) =>
        evaluateTransformer(sessions, workspace, side, latents, timestep, context.signal),
      dispose() {
        workspace.dispose();
        free();
      },
    };
  } catch (error) {
    free();
    throw error;
  }
}

/** The denoising loop of one picture, on packed latents: there diffusers draws the noise of stochastic samplers too. */
async function denoise(
  { context, plan, sampler, size, model }: Job,
  { evaluate, feeds }: Network,
  one: OnePicture,
): Promise<Float32Array> {
  const { progress, signal } = context;
  const trace = context.trace?.(one.index);
  const generator = tracedGenerator(one.seed, trace);
  const colours = previewColours(model.card, 'flux', size.channels);
  const observe = createObserver(stepEnds(sampler, [{ begin: undefined, end: undefined }]), one, colours, context);
  const noise = generator.randn(size.channels * size.height * size.width);
  const result = await progress.stage('denoise', () =>
    sample(sampler, {
      latents: packLatents(noise, size),
      generator,
      signal,
      async predict(input, timestep, { evaluation }) {
        const name = `step.${evaluation}`;
        trace?.(`${name}.input`, input);
        trace?.(`${name}.timestep`, Float32Array.of(timestep / 1000));
        trace?.(`${name}.guidance`, Float32Array.of(plan.CFGScale));
        const cond = await evaluate(feeds.cond, input, timestep);
        if (feeds.uncond === undefined) return cond;
        const uncond = await evaluate(feeds.uncond, input, timestep);
        trace?.(`${name}.cond.output`, cond);
        trace?.(`${name}.uncond.output`, uncond);
        return guide(uncond, cond, plan.flux?.trueCFGScale ?? 1);
      },
      onEvaluation({ evaluation, step, sample: x, output, denoised }) {
        trace?.(`step.${evaluation}.velocity`, output);
        trace?.(`step.${evaluation}.latents`, x);
        observe({ evaluation, step, denoised: () => unpackLatents(denoised, size) });
      },
    }),
  );
  return unpackLatents(result.latents, size);
}
