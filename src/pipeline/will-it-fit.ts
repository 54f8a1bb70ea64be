/** @file A request's memory before anything is downloaded: opens configs and weight headers only, predicts, and judges. */
import { elementCount } from '../base/dtype.js';
import { fail } from '../base/errors.js';
import type { ImageInferenceTask } from '../request/task.js';
import type { Runtime, RuntimeInfo } from '../runtime/runtime.js';
import { planPrompt } from '../text/weighted.js';
import { changedBy } from './add-ons.js';
import { HEAP_BYTES, isCut } from './banded-plan.js';
import { acts } from './control-plan.js';
import { judgeFit, type Fit, type Room, type Size, type Way, type Ways } from './fit.js';
import { fluxForms } from './flux/ways.js';
import { componentsOf, type PlanModels } from './generate.js';
import { createLibrary, type OpenTree } from './library.js';
import { createHeapPredictor, createPredictor } from './memory-plan.js';
import type { LoadedModel } from './model.js';
import { networksOf, type Network, type NetworkOptions } from './networks.js';
import type { Pace } from './pace.js';
import type { Plan } from './plan.js';
import { planTask } from './plans.js';

export interface FitOptions {
  /** Bytes that the request may take. Default: on the GPU unknown, on the CPU the 4 GiB of a WebAssembly heap. */
  readonly memoryBudgetBytes?: number;
}

/**
 * @throws whatever opening the models or planning the task throws: modelNotFound, missingModelFile, invalidWidth, …
 */
export async function willItFit(
  { runtime, openTree, pace }: { readonly runtime: Runtime; readonly openTree: OpenTree; readonly pace: Pace },
  task: ImageInferenceTask,
  { memoryBudgetBytes }: FitOptions,
): Promise<Fit> {
  // A library of its own: the models of the last task stay where they are.
  const library = createLibrary(openTree);
  try {
    const models = await library.open(runtime, task, undefined);
    const available = memoryOf(runtime, memoryBudgetBytes);
    const predict = (size: Size | undefined): { readonly plan: Plan; readonly ways: Ways } => {
      const plan = planTask({ ...task, ...size }, models.base, () => 1n);
      return { plan, ways: predictWays(runtime, models, plan, { available, pace }) };
    };
    const { plan, ways } = predict(undefined);
    const room: Room = { limits: runtime.info.limits, available };
    return judgeFit(ways, room, plan, (size) => predict(size).ways);
  } finally {
    await library.clear();
  }
}

/** What decides how a task is run on a device, besides its limits. */
export interface Circumstances {
  /** Bytes there are, where that is known. */
  readonly available: number | undefined;
  readonly pace: Pace;
}

/** What a plan takes of the memory of a runtime's device, in each way that it can be run. */
export function predictWays(
  { dialect, info }: Runtime,
  models: PlanModels,
  plan: Plan,
  { available, pace }: Circumstances,
): Ways {
  const options = { dialect, dtype: info.dtype };
  const { base, loras } = models;
  if (base.architecture === 'flux') {
    const { fluxControls: controls } = models;
    const forms = fluxForms(base, plan, options, changedBy(loras), { limits: info.limits, available, pace, controls });
    return asWays(forms.flatMap(({ networks, frugal, ...about }) => waysOf(info, networks, [frugal], about)));
  }
  return asWays(waysOf(info, sdNetworks(models, base, plan, options), [false, true], {}));
}

/** Of networks in memory modes, from the fastest: at once, and in bands where the decoder can be cut. */
function waysOf(
  info: RuntimeInfo,
  networks: readonly Network[],
  modes: readonly boolean[],
  about: Partial<Way>,
): readonly Way[] {
  const predict = (info.backend === 'wasm' ? createHeapPredictor : createPredictor)(networks);
  const decoder = networks.find(({ kind }) => kind === 'vae');
  // Where the device cannot do it at once, it is done in parts anyway.
  const cut = decoder !== undefined && isCut('auto', { graph: () => decoder.graph, info });
  return modes.flatMap((frugal) =>
    (cut || decoder?.parts === undefined ? [false] : [false, true]).map((bands) => ({
      ...about,
      frugal,
      bands,
      plan: predict(frugal ? 'frugal' : 'resident', cut || bands ? 'parts' : 'whole'),
    })),
  );
}

function asWays([first, ...others]: readonly Way[]): Ways {
  if (first === undefined) throw fail('internalError', 'A request can be run in no way.');
  return [first, ...others];
}

function sdNetworks(
  models: PlanModels,
  base: LoadedModel,
  plan: Plan,
  options: Pick<NetworkOptions, 'dialect' | 'dtype'>,
): readonly Network[] {
  const changed = changedBy(models.loras);
  const controls = models.controls.filter((_, i) => acts(plan.controlNet[i]));
  return networksOf({ ...models, base, controls, changed }, plan, { ...options, textTokens: textTokens(base, plan) });
}

/** More than a run takes for a pixel of the picture: of the published decoders in one piece it is 2.6 KB at once. */
const PIXEL_BYTES = 10_000;

/** Whether there is no doubt that a task fits, so that nothing need be predicted. */
export function fitsEasily(models: PlanModels, plan: Plan, available: number): boolean {
  const tensors = new Set(componentsOf(models).flatMap(({ file }) => [...file.tensors.values()]));
  let bytes = plan.width * plan.height * PIXEL_BYTES;
  for (const { shape } of tensors) bytes += 4 * elementCount(shape); // in float32
  return bytes <= available;
}

/** Bytes there are for a task, where that is known: a budget, or the heap on the CPU. */
export function memoryOf({ info }: Runtime, budget: number | undefined): number | undefined {
  return info.backend === 'wasm' ? Math.min(budget ?? HEAP_BYTES, HEAP_BYTES) : budget;
}

/** Rows of text states, as the conditioning will have them. */
function textTokens(base: LoadedModel, plan: Plan): number {
  return planPrompt({
    positive: plan.positivePrompt,
    negative: plan.guided ? (plan.negativePrompt ?? '') : undefined,
    weighting: plan.promptWeighting,
    tokenizers: base.encoders.map(({ tokenizer }) => tokenizer),
  }).tokens;
}
