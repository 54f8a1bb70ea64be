/**
 * @file The engine: what the worker, the command line and the tests drive. Raw tasks in, events and wire errors out;
 * owns the runtime and the models that are loaded.
 */
import { createMemoryDriver } from '../assets/image-drivers.js';
import { createImagePins } from '../assets/image-pins.js';
import { createImageStore } from '../assets/image-store.js';
import { DarkroomError, fail, throwIfAborted, toWireErrors, type WireError } from '../base/errors.js';
import type { FinishedPicture, WireEvent, WireOutcome, WirePicture } from './events.js';
import type { EncodePicture } from '../image/encode.js';
import { parseRequest } from '../request/facade.js';
import type { ImageInferenceTask, Task } from '../request/task.js';
import { parseTasks } from '../request/tasks.js';
import { findAdapter } from '../runtime/device.js';
import type { Memory } from '../runtime/ledger.js';
import {
  createRuntime,
  type Runtime,
  type RuntimeInfo,
  type RuntimeOptions,
  type RuntimeStats,
} from '../runtime/runtime.js';
import type { Fit } from './fit.js';
import { createAttempts, usable } from './attempts.js';
import { generate } from './generate.js';
import { createKeeper, type Keeper } from './keeper.js';
import { createLibrary, type OpenTree } from './library.js';
import { FIRST_MEANS, ONLY_MEANS, withinMemory, type Means } from './means.js';
import { createOwnDevice, within } from './own-device.js';
import { createPace } from './pace.js';
import { preprocessImage, uploadImage, type PictureTaskContext } from './picture-tasks.js';
import { imageUUIDsOf, loadTaskPictures, type PictureDeps } from './pictures.js';
import type { Plan } from './plan.js';
import { planTask } from './plans.js';
import { createPreprocess } from './preprocess/run.js';
import { createProgress } from './progress.js';
import type { Trace } from './trace.js';
import { fitsEasily, memoryOf, predictWays, willItFit, type FitOptions } from './will-it-fit.js';

/** What the engine needs from outside; nothing in it is global. */
export interface EngineDeps {
  readonly runtime: RuntimeOptions;
  readonly openTree: OpenTree;
  readonly encodePicture: EncodePicture;
  /** Where pictures that requests name come from, and where results are kept. Without it: PNG only, no addresses, and in memory. */
  readonly pictures?: PictureDeps;
  readonly newUUID: () => string;
  /** 1 … 2^32−1. */
  readonly randomSeed: () => bigint;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** What a request that names no model gets. */
  readonly defaultModel: string;
  /** Bytes of the GPU (of the heap on the CPU) that a request may take; default: what there is. */
  readonly memoryBudgetBytes?: number | undefined;
  /** What former sizes may hold of the device before a task of another kind begins on a new one, besides twice the first kind's (own-device.ts). */
  readonly spareBytes?: number | undefined;
}

export interface RunOptions {
  readonly onEvent?: (event: WireEvent) => void;
  readonly signal?: AbortSignal;
  /** Sees every intermediate of picture `i` of a task (tests). */
  readonly trace?: (picture: number) => Trace;
  /** Sees each plan before it runs. */
  readonly onPlan?: (plan: Plan) => void;
}

/** Stops with its caller, and with the engine. */
interface TaskOptions extends RunOptions {
  readonly signal: AbortSignal;
}

/** How long `dispose` waits for a run that cannot be interrupted. */
const LAST_RUN_MS = 5_000;

export interface Engine {
  /** Chooses and tests the device; done by the first run otherwise. */
  start(): Promise<RuntimeInfo>;
  /**
   * Runs raw input: an array is checked as wire tasks, anything else as one request with the liberties of `imageInference()`.
   * Never rejects for what the input or a task did; every problem is in `errors`.
   */
  run(input: unknown, options?: RunOptions): Promise<WireOutcome>;
  /**
   * Whether one `imageInference()` request, or one task, would fit into memory, told from configs and weight headers: no weights are read.
   * @throws what is wrong with the request or its models
   */
  willItFit(input: unknown, options?: FitOptions): Promise<Fit>;
  memory(): Memory;
  stats(): RuntimeStats;
  /**
   * Frees everything, the device included. What runs ends with `disposed` as soon as it can be stopped, and is waited for, a few seconds at most. A second
   * call is the same as the first.
   */
  dispose(): Promise<void>;
}

/** @throws invalidRequest for a budget that is none */
export function createEngine(deps: EngineDeps): Engine {
  const { backend, gpu } = deps.runtime;
  /** Whether ONNX Runtime has ended, which there is one of in a thread. */
  let spent = false;
  const device = createOwnDevice({
    open: () => createRuntime({ ...deps.runtime, onTrap: () => (spent = true) }),
    createLibrary: () => createLibrary(deps.openTree),
    hasGpu: async () => backend !== 'wasm' && typeof (await findAdapter(gpu)) !== 'string',
    now: deps.now,
    spareBytes: deps.spareBytes,
  });
  const pictureDeps = deps.pictures ?? memoryPictures();
  const attempts = createAttempts(device, checkedBudget(deps.memoryBudgetBytes), () => spent);
  /** How fast each backend has been up to now, on whichever of its devices. */
  const paces = { webgpu: createPace(deps.now), wasm: createPace(deps.now) };
  const preprocess = createPreprocess({ getRuntime: () => device.get(), openTree: deps.openTree });
  /** Ends with the engine, and with it all that runs. */
  const life = new AbortController();
  const running = new Set<Promise<unknown>>();
  let ended: Promise<void> | undefined;

  const runInference = async (task: ImageInferenceTask, options: TaskOptions): Promise<void> => {
    const { onEvent = () => undefined, signal, trace } = options;
    const { encodePicture, newUUID } = deps;
    const progress = createProgress(task, onEvent, deps.now);
    // Before any model: a picture that is not there is known in a moment, a model can take minutes.
    const load = () => loadTaskPictures(pictureDeps, task, signal);
    const pictures = task.controlNet.length === 0 ? await load() : await progress.stage('download', load);
    const made: WirePicture[] = [];
    let plan: Plan | undefined; // one for all attempts: it holds the seeds
    await attempts.run(FIRST_MEANS, signal, async (wanted, use) => {
      const runtime = await device.get();
      const models = await progress.stage('load', () => device.library().open(runtime, task, signal));
      if (plan === undefined) {
        plan = planTask(task, models.base, deps.randomSeed);
        options.onPlan?.(plan);
      }
      const memory = attempts.memory();
      const room = memoryOf(runtime, memory);
      const pace = paces[runtime.info.backend];
      const known = room !== undefined && !fitsEasily(models, plan, room);
      const means = known
        ? use(withinMemory(wanted, predictWays(runtime, models, plan, { available: room, pace }), room))
        : wanted;
      const warnings = [...plan.warnings, ...models.warnings, ...means.warnings, ...refuge(means, runtime)];
      const told = { ...plan, warnings };
      const { frugal, bands, streamed } = means;
      const how = { dtype: usable(means, runtime), frugal, bands, memory: streamed ? 0 : memory, pace };
      const context = { runtime, models, progress, pictures, onEvent, encodePicture, newUUID, signal, trace, ...how };
      await generate(task, told, context, made);
    });
  };

  /** Runs one task; what it made is added to `finished` as soon as it is there. */
  const runTask = async (
    task: Task,
    options: TaskOptions,
    keeper: Keeper,
    finished: FinishedPicture[],
  ): Promise<void> => {
    const { onEvent = () => undefined, signal } = options;
    throwIfAborted(signal);
    if (task.taskType !== 'imageUpload') await device.prepare(kindOf(task));
    const context: PictureTaskContext = { ...deps, pictures: pictureDeps, preprocess, keeper, onEvent, signal };
    switch (task.taskType) {
      case 'imageInference': {
        const watch = (event: WireEvent): void => {
          onEvent(event);
          if (event.kind !== 'picture') return;
          keeper.keep(event.picture);
          finished.push(event.picture);
        };
        return runInference(task, { ...options, onEvent: watch });
      }
      case 'imageUpload':
        finished.push(await uploadImage(task, context));
        return;
      case 'controlNetPreprocess':
      case 'imageControlNetPreProcess': {
        const { taskUUID, guideImageUUID } = await attempts.run(ONLY_MEANS, signal, ({ warnings }) =>
          preprocessImage({ ...task, warnings: [...task.warnings, ...warnings] }, context),
        );
        finished.push({ taskUUID, imageUUID: guideImageUUID });
        return;
      }
      default:
        return task satisfies never;
    }
  };

  const runAll = async (input: unknown, options: TaskOptions): Promise<WireOutcome> => {
    const { tasks, errors } = parseInput(input, deps);
    const problems: WireError[] = [...errors];
    const finished: FinishedPicture[] = [];
    const keeper = createKeeper(pictureDeps.images, options.onEvent ?? (() => undefined));
    for (const task of tasks) {
      const unpin = await pictureDeps.images.pin(imageUUIDsOf(task));
      try {
        await runTask(task, options, keeper, finished);
      } catch (error) {
        const { taskType, taskUUID } = task;
        const told = life.signal.aborted ? asDisposed(error) : asAborted(error, options.signal);
        problems.push(...toWireErrors(told).map((e) => ({ taskType, taskUUID, ...e })));
      } finally {
        unpin();
      }
    }
    const warnings = await keeper.settle();
    const pictures = finished.map(({ taskUUID, imageUUID }) => withWarnings({ taskUUID, imageUUID }, warnings));
    return { pictures, errors: problems, ...(spent ? { spent } : {}) };
  };

  return {
    start: async () => (await device.get()).info,

    async run(input, options = {}) {
      const signal = options.signal === undefined ? life.signal : AbortSignal.any([life.signal, options.signal]);
      const work = runAll(input, { ...options, signal });
      running.add(work);
      return work.finally(() => running.delete(work));
    },

    async willItFit(input, options = {}) {
      const { tasks, errors } = parseInput(input, deps);
      const [first, ...more] = errors;
      if (first !== undefined) throw new DarkroomError([first, ...more]);
      const [task] = tasks;
      if (task === undefined || tasks.length > 1)
        throw fail('invalidRequest', `Expected one request, got ${tasks.length}.`);
      checkedBudget(options.memoryBudgetBytes);
      if (task.taskType !== 'imageInference') {
        throw fail('unsupportedTaskType', `Only imageInference can be asked whether it fits, got ${task.taskType}.`);
      }
      const runtime = await device.get();
      return willItFit({ runtime, openTree: deps.openTree, pace: paces[runtime.info.backend] }, task, options);
    },
    memory: () => device.ready()?.memory() ?? { gpuBytes: 0, gpuBuffers: 0 },
    stats: () => device.ready()?.stats() ?? { runMs: 0, runs: 0, peakGpuBytes: 0 },
    dispose() {
      life.abort();
      return (ended ??= within(LAST_RUN_MS, Promise.allSettled(running)).then(() => device.dispose()));
    },
  };
}

/** What decides the sizes of a task's buffers, but for details. */
function kindOf(task: Exclude<Task, { readonly taskType: 'imageUpload' }>): string {
  if (task.taskType !== 'imageInference') return task.preProcessorType;
  const { model, refiner, vae, controlNet, width, height, CFGScale, maxSequenceLength } = task;
  const guided = CFGScale === undefined || CFGScale > 1;
  return JSON.stringify([
    model,
    refiner?.model,
    vae,
    controlNet.map((net) => net.model),
    width,
    height,
    guided,
    maxSequenceLength,
  ]);
}

/** What is to be said where a GPU was lost and there is no other. */
function refuge({ losses }: Means, { info: { backend, why } }: Runtime): readonly string[] {
  return losses > 0 && backend === 'wasm' ? [`It was made on the CPU, which differs in the last digits. ${why}`] : [];
}

/** What a task that ended with its engine ends with, unless something was wrong with the task. */
function asDisposed(error: unknown): unknown {
  const own = !(error instanceof DarkroomError) || error.code === 'aborted';
  return own ? fail('disposed', 'This engine was disposed.', { cause: error }) : error;
}

/** @returns the same @throws invalidRequest for what is no number of bytes; `Infinity` is one: as much as there is */
function checkedBudget(memoryBudgetBytes: number | undefined): number | undefined {
  const given: unknown = memoryBudgetBytes;
  if (given === undefined || (typeof given === 'number' && given > 0)) return memoryBudgetBytes;
  const got = typeof given === 'number' ? String(given) : `of type ${typeof given}`;
  throw fail('invalidRequest', `"memoryBudgetBytes" is ${got}; expected a number of bytes above 0.`, {
    parameter: 'memoryBudgetBytes',
    type: 'integer',
    min: 1,
  });
}

/** Where the files of a model are somebody else's code, an abort may come back as that code's own error. */
function asAborted(error: unknown, signal: AbortSignal | undefined): unknown {
  const foreign = signal?.aborted === true && !(error instanceof DarkroomError);
  return foreign ? fail('aborted', 'The task was aborted.', { cause: error }) : error;
}

function withWarnings(picture: FinishedPicture, warnings: ReadonlyMap<string, readonly string[]>): FinishedPicture {
  const said = warnings.get(picture.imageUUID);
  return said === undefined ? picture : { ...picture, warnings: said };
}

/** Pictures in this engine's memory, for engines that were given no place for them. */
function memoryPictures(): PictureDeps {
  const unsupported = (what: string) => () =>
    Promise.reject(fail('unsupportedParameter', `${what} cannot be read here.`));
  return {
    fetch: unsupported('Addresses of pictures'),
    decodePicture: unsupported('Pictures other than PNG'),
    images: createImageStore({
      driver: createMemoryDriver(),
      pins: createImagePins(undefined),
      limitBytes: () => Promise.resolve(Infinity),
      now: () => 0,
    }),
  };
}

function parseInput(
  input: unknown,
  deps: EngineDeps,
): { readonly tasks: readonly Task[]; readonly errors: readonly WireError[] } {
  if (Array.isArray(input)) {
    const { tasks, errors } = parseTasks(input);
    return { tasks: tasks.map(({ task }) => task), errors };
  }
  try {
    return { tasks: [parseRequest(input, { newUUID: deps.newUUID, model: deps.defaultModel })], errors: [] };
  } catch (error) {
    return { tasks: [], errors: toWireErrors(error) };
  }
}
