/**
 * @file The engine: what the worker, the command line and the tests drive. Raw tasks in, events and wire errors out;
 * owns the runtime and the models that are loaded.
 */
import { DarkroomError, fail, throwIfAborted, toWireErrors, type WireError } from '../base/errors.js';
import type { WireEvent, WireOutcome, WirePicture } from './events.js';
import type { EncodePicture } from '../image/encode.js';
import { parseRequest } from '../request/facade.js';
import type { ImageInferenceTask } from '../request/task.js';
import { parseTasks } from '../request/tasks.js';
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
import { createLibrary, type OpenModels, type OpenTree } from './library.js';
import { otherMeans, type Means } from './means.js';
import { makePlan, type Plan } from './plan.js';
import { createProgress } from './progress.js';
import type { Trace } from './trace.js';
import { willItFit, type FitOptions } from './will-it-fit.js';

/** What the engine needs from outside; nothing in it is global. */
export interface EngineDeps {
  readonly runtime: RuntimeOptions;
  readonly openTree: OpenTree;
  readonly encodePicture: EncodePicture;
  readonly newUUID: () => string;
  /** 1 … 2^32−1. */
  readonly randomSeed: () => bigint;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** What a request that names no model gets. */
  readonly defaultModel: string;
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
   * Runs raw input: an array is checked as wire tasks, anything else as one `imageInference()` request.
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
  let runtime: Promise<Runtime> | undefined;
  let ready: Runtime | undefined;
  const library = createLibrary(deps.openTree);
  let disposed = false;

  const getRuntime = (): Promise<Runtime> => {
    if (disposed) return Promise.reject(fail('disposed', 'This engine was disposed.'));
    if (runtime === undefined) {
      runtime = createRuntime(deps.runtime);
      runtime.then(
        (made) => (ready = made),
        () => (runtime = undefined), // asked for again by the next task
      );
    }
    return runtime;
  };

  /** Gives the device up, with all that was made on it: the next use opens a new one. */
  const forgetDevice = async (): Promise<void> => {
    const old = runtime;
    runtime = undefined;
    ready = undefined;
    await library.clear().catch(() => undefined); // releasing on a lost device may fail; its memory is gone anyway
    await (await old)?.dispose().catch(() => undefined);
  };

  const runTask = async (task: ImageInferenceTask, options: RunOptions, pictures: WirePicture[]): Promise<void> => {
    const { onEvent = () => undefined, signal, trace } = options;
    throwIfAborted(signal);
    const progress = createProgress(task, onEvent, deps.now);
    const open = async (): Promise<{ readonly runtime: Runtime; readonly models: OpenModels }> => {
      const active = await getRuntime();
      return { runtime: active, models: await progress.stage('load', () => library.open(active, task, signal)) };
    };
    let opened = await open();
    const plan = makePlan(task, opened.models.base, deps.randomSeed);
    options.onPlan?.(plan);
    const { encodePicture, newUUID } = deps;
    let means: Means = { dtype: opened.runtime.info.dtype, frugal: false, warnings: opened.models.warnings };
    for (;;) {
      try {
        const told = { ...plan, warnings: [...plan.warnings, ...means.warnings] };
        const context = { ...opened, progress, onEvent, encodePicture, newUUID, signal, trace, ...means };
        await generate(task, told, context, pictures);
        return;
      } catch (error) {
        means = otherMeans(error, means);
        // What ran on a device keeps its buffers while it is open: only a new one has all of its memory.
        if (means.frugal) await forgetDevice();
        else await library.free();
        opened = await open();
      }
    }
  };

  return {
    start: async () => (await getRuntime()).info,

    async run(input, options = {}) {
      const { tasks, errors } = parseInput(input, deps);
      const problems: WireError[] = [...errors];
      const pictures: WirePicture[] = [];
      for (const task of tasks) {
        const made: WirePicture[] = [];
        try {
          await runTask(task, options, made);
        } catch (error) {
          problems.push(
            ...toWireErrors(error).map((e) => ({ taskType: task.taskType, taskUUID: task.taskUUID, ...e })),
          );
          if (error instanceof DarkroomError && error.code === 'deviceLost') await forgetDevice();
        }
        pictures.push(...made);
      }
      return { pictures: pictures.map(({ taskUUID, imageUUID }) => ({ taskUUID, imageUUID })), errors: problems };
    },

    async willItFit(input, options = {}) {
      const { tasks, errors } = parseInput(input, deps);
      const [first, ...more] = errors;
      if (first !== undefined) throw new DarkroomError([first, ...more]);
      const [task] = tasks;
      if (task === undefined || tasks.length > 1)
        throw fail('invalidRequest', `Expected one request, got ${tasks.length}.`);
      const { openTree } = deps;
      return willItFit({ runtime: await getRuntime(), openTree, gpu: deps.runtime.gpu }, task, options);
    },
    memory: () => ready?.memory() ?? { gpuBytes: 0, gpuBuffers: 0 },
    stats: () => ready?.stats() ?? { runMs: 0, runs: 0, peakGpuBytes: 0 },
    async dispose() {
      disposed = true;
      await library.clear();
      await (await runtime)?.dispose();
      runtime = undefined;
    },
  };
}

function parseInput(
  input: unknown,
  deps: EngineDeps,
): { readonly tasks: readonly ImageInferenceTask[]; readonly errors: readonly WireError[] } {
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
