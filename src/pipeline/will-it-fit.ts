/** @file A request's memory before anything is downloaded: opens configs and weight headers only, predicts, and judges. */
import type { ImageInferenceTask } from '../request/task.js';
import { findAdapter } from '../runtime/device.js';
import type { Runtime } from '../runtime/runtime.js';
import { planPrompt } from '../text/weighted.js';
import { changedBy } from './add-ons.js';
import { acts } from './control-plan.js';
import { judgeFit, type Fit, type Predictions, type Room, type Size } from './fit.js';
import type { PlanModels } from './generate.js';
import { createLibrary, type OpenTree } from './library.js';
import { predictHeap, predictMemory } from './memory-plan.js';
import { networksOf, type NetworkOptions } from './networks.js';
import { makePlan, type Plan } from './plan.js';

export interface FitOptions {
  /** Bytes that the request may take. Default: on the GPU unknown, on the CPU the 4 GiB of a WebAssembly heap. */
  readonly memoryBudgetBytes?: number;
}

/** A WebAssembly heap addresses 32 bits. */
const HEAP_BYTES = 2 ** 32;

/**
 * @throws whatever opening the models or planning the task throws: modelNotFound, missingModelFile, invalidWidth, …
 */
export async function willItFit(
  { runtime, openTree, gpu }: { readonly runtime: Runtime; readonly openTree: OpenTree; readonly gpu: GPU | undefined },
  task: ImageInferenceTask,
  { memoryBudgetBytes }: FitOptions,
): Promise<Fit> {
  // A library of its own: the models of the last task stay where they are.
  const library = createLibrary(openTree);
  try {
    const models = await library.open(runtime, task, undefined);
    const predict = (size: Size | undefined): { readonly plan: Plan; readonly made: Predictions } => {
      const plan = makePlan({ ...task, ...size }, models.base, () => 1n);
      return { plan, made: predictions(runtime, models, plan) };
    };
    const { plan, made } = predict(undefined);
    const room = await roomOf(runtime, gpu, memoryBudgetBytes);
    return judgeFit(made, room, plan, (size) => predict(size).made);
  } finally {
    await library.clear();
  }
}

function predictions({ dialect, info }: Runtime, models: PlanModels, plan: Plan): Predictions {
  const options: NetworkOptions = { dialect, dtype: info.dtype, textTokens: textTokens(models, plan) };
  const controls = models.controls.filter((_, i) => acts(plan.controlNet[i]));
  const networks = networksOf({ ...models, controls, changed: changedBy(models.loras) }, plan, options);
  if (info.backend === 'wasm')
    return { resident: predictHeap(networks, 'resident'), frugal: predictHeap(networks, 'frugal') };
  return { resident: predictMemory(networks, 'resident'), frugal: predictMemory(networks, 'frugal') };
}

/** Rows of text states, as the conditioning will have them. */
function textTokens({ base }: PlanModels, plan: Plan): number {
  return planPrompt({
    positive: plan.positivePrompt,
    negative: plan.guided ? (plan.negativePrompt ?? '') : undefined,
    weighting: plan.promptWeighting,
    tokenizers: base.encoders.map(({ tokenizer }) => tokenizer),
  }).tokens;
}

/** The device is opened with all that its adapter allows. */
async function roomOf({ info }: Runtime, gpu: GPU | undefined, budget: number | undefined): Promise<Room> {
  if (info.backend === 'wasm') return { limits: undefined, available: Math.min(budget ?? HEAP_BYTES, HEAP_BYTES) };
  const adapter = await findAdapter(gpu);
  return { limits: typeof adapter === 'string' ? undefined : adapter.limits, available: budget };
}
