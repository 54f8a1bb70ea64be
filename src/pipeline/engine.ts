/**
 * @file The engine: what the worker, the command line and the tests drive. Raw tasks in, events and wire errors out;
 * owns the runtime and the models that are loaded.
 */
import { createMemoryDriver } from '../assets/image-drivers.js';
import { createImagePins } from '../assets/image-pins.js';
import { createImageStore } from '../assets/image-store.js';
import type { FloatType } from '../base/dtype.js';
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
import { generate } from './generate.js';
import { createKeeper, type Keeper } from './keeper.js';
import { createLibrary, type OpenTree } from './library.js';
import { FIRST_MEANS, ONLY_MEANS, learnedMemory, otherMeans, withinMemory, type Means } from './means.js';
import { createOwnDevice } from './own-device.js';
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
  /** Frees everything, the device included. A run in progress must have ended. */
  dispose(): Promise<void>;
}

export function createEngine(deps: EngineDeps): Engine {
  const { backend, gpu } = deps.runtime;
  const device = createOwnDevice({
    open: () => createRuntime(deps.runtime),
    createLibrary: () => createLibrary(deps.openTree),
    hasGpu: async () => backend !== 'wasm' && typeof (await findAdapter(gpu)) !== 'string',
    now: deps.now,
    spareBytes: deps.spareBytes,
  });
  const pictureDeps = deps.pictures ?? memoryPictures();
  /** Bytes that a request may take, where that is known: given, or learned from running out of them. */
  let memory = deps.memoryBudgetBytes;
  /** How fast each backend has been up to now, on whichever of its devices. */
  const paces = { webgpu: createPace(deps.now), wasm: createPace(deps.now) };
  const preprocess = createPreprocess({ getRuntime: () => device.get(), openTree: deps.openTree });

  /** Tries until it works or there is no other way. What ran on a device keeps its buffers while that is open: only a new one has all its memory. */
  const attempt = async <T>(
    first: Means,
    work: (means: Means, use: (chosen: Means) => Means) => Promise<T>,
  ): Promise<T> => {
    let means = first;
    for (;;) {
      try {
        return await work(means, (chosen) => (means = chosen));
      } catch (error) {
        const reason = await device.reasonOf(error);
        memory = learnedMemory(reason, gpuPeak(device.ready()), memory);
        const next = otherMeans(reason, { ...means, dtype: usable(means, device.ready()) });
        if (next.frugal || next.losses > means.losses) await device.forget();
        else await device.library().free();
        means = next;
      }
    }
  };

  const runInference = async (task: ImageInferenceTask, options: RunOptions): Promise<void> => {
    const { onEvent = () => undefined, signal, trace } = options;
    const { encodePicture, newUUID } = deps;
    const progress = createProgress(task, onEvent, deps.now);
    // Before any model: a picture that is not there is known in a moment, a model can take minutes.
    const load = () => loadTaskPictures(pictureDeps, task, signal);
    const pictures = task.controlNet.length === 0 ? await load() : await progress.stage('download', load);
    const made: WirePicture[] = [];
    let plan: Plan | undefined; // one for all attempts: it holds the seeds
    await attempt(FIRST_MEANS, async (wanted, use) => {
      throwIfAborted(signal);
      const runtime = await device.get();
      const models = await progress.stage('load', () => device.library().open(runtime, task, signal));
      if (plan === undefined) {
        plan = planTask(task, models.base, deps.randomSeed);
        options.onPlan?.(plan);
      }
      const room = memoryOf(runtime, memory);
      const pace = paces[runtime.info.backend];
      const known = room !== undefined && !fitsEasily(models, plan, room);
      const means = known
        ? use(withinMemory(wanted, predictWays(runtime, models, plan, { available: room, pace }), room))
        : wanted;
      const warnings = [...plan.warnings, ...models.warnings, ...means.warnings, ...refuge(means, runtime)];
      const told = { ...plan, warnings };
      const how = { dtype: usable(means, runtime), frugal: means.frugal, bands: means.bands, memory, pace };
      const context = { runtime, models, progress, pictures, onEvent, encodePicture, newUUID, signal, trace, ...how };
      await generate(task, told, context, made);
    });
  };

  /** Runs one task; what it made is added to `finished` as soon as it is there. */
  const runTask = async (
    task: Task,
    options: RunOptions,
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
        const { taskUUID, guideImageUUID } = await attempt(ONLY_MEANS, ({ warnings }) =>
          preprocessImage({ ...task, warnings: [...task.warnings, ...warnings] }, context),
        );
        finished.push({ taskUUID, imageUUID: guideImageUUID });
        return;
      }
      default:
        return task satisfies never;
    }
  };

  return {
    start: async () => (await device.get()).info,

    async run(input, options = {}) {
      const { tasks, errors } = parseInput(input, deps);
      const problems: WireError[] = [...errors];
      const finished: FinishedPicture[] = [];
      const keeper = createKeeper(pictureDeps.images, options.onEvent ?? (() => undefined));
      for (const task of tasks) {
        const unpin = await pictureDeps.images.pin(imageUUIDsOf(task));
        try {
          await runTask(task, options, keeper, finished);
        } catch (error) {
          problems.push(
            ...toWireErrors(asAborted(error, options.signal)).map((e) => ({
              taskType: task.taskType,
              taskUUID: task.taskUUID,
              ...e,
            })),
          );
          if (error instanceof DarkroomError && error.code === 'deviceLost') await device.forget();
        } finally {
          unpin();
        }
      }
      const warnings = await keeper.settle();
      const pictures = finished.map(({ taskUUID, imageUUID }) => withWarnings({ taskUUID, imageUUID }, warnings));
      return { pictures, errors: problems };
    },

    async willItFit(input, options = {}) {
      const { tasks, errors } = parseInput(input, deps);
      const [first, ...more] = errors;
      if (first !== undefined) throw new DarkroomError([first, ...more]);
      const [task] = tasks;
      if (task === undefined || tasks.length > 1)
        throw fail('invalidRequest', `Expected one request, got ${tasks.length}.`);
      if (task.taskType !== 'imageInference') {
        throw fail('unsupportedTaskType', `Only imageInference can be asked whether it fits, got ${task.taskType}.`);
      }
      const runtime = await device.get();
      return willItFit({ runtime, openTree: deps.openTree, pace: paces[runtime.info.backend] }, task, options);
    },
    memory: () => device.ready()?.memory() ?? { gpuBytes: 0, gpuBuffers: 0 },
    stats: () => device.ready()?.stats() ?? { runMs: 0, runs: 0, peakGpuBytes: 0 },
    dispose: () => device.dispose(),
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

/** Most bytes that were on the GPU; nobody counts them on the CPU. */
function gpuPeak(runtime: Runtime | undefined): number | undefined {
  return runtime?.info.backend === 'webgpu' ? runtime.stats().peakGpuBytes : undefined;
}

/** What a task may be computed in on a device. */
function usable({ dtype }: Means, runtime: Runtime | undefined): FloatType {
  return dtype === 'float16' && runtime?.info.dtype !== 'float32' ? 'float16' : 'float32';
}

/** What is to be said where a GPU was lost and there is no other. */
function refuge({ losses }: Means, { info: { backend, why } }: Runtime): readonly string[] {
  return losses > 0 && backend === 'wasm' ? [`It was made on the CPU, which differs in the last digits. ${why}`] : [];
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
