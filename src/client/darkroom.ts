/**
 * @file `createDarkroom`: the library as a page sees it. Checks nothing and computes nothing: requests go to the worker as
 * they are, one call after the other. May import base and the files beside it.
 */
import { DarkroomError, fail, throwIfAborted } from '../base/errors.js';
import { createUrlLedger } from './deliver.js';
import { fieldsOf, reading } from './given.js';
import { notify, releaseUrl, runJob, type JobOutcome } from './job.js';
import { keptImages, storedModels } from './kept.js';
import { toWireModel } from './model-source.js';
import { toSendable } from './picture-source.js';
import { createQueue } from './queue.js';
import type {
  Darkroom,
  DarkroomOptions,
  GuideResult,
  ImageResult,
  ModelRegistration,
  ModelSource,
  RunOptions,
  RunResponse,
  TaskResult,
  Timeouts,
  UploadResult,
} from './types.js';
import type { ControlNetPreprocessRequest, ImageInferenceRequest, ImageUploadRequest } from '../request/request.js';
import type { WorkerOptions } from './wire.js';
import { createHost } from './worker-host.js';
import { unwrap, type WorkerLink } from './worker-link.js';

const DEFAULT_TIMEOUTS: Timeouts = { startMs: 120_000, silenceMs: 600_000, freezeMs: 30_000, cancelMs: 30_000 };

/**
 * Makes a {@link Darkroom}. Cheap: the worker and everything in it load on first use.
 * @example
 * const darkroom = createDarkroom({ models: { 'my:model@1': '/models/my-model/' } });
 */
export function createDarkroom(options: DarkroomOptions = {}): Darkroom {
  const timeouts: Timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts };
  const models = new Map(Object.entries(options.models ?? {}).map(([air, given]) => [air, registrationOf(air, given)]));
  const urls = createUrlLedger();
  const queue = createQueue();
  const host = createHost({
    makeWorker: options.worker ?? makeWorker,
    timeouts,
    workerOptions: async (): Promise<WorkerOptions> => ({
      backend: options.backend ?? 'auto',
      strictGpu: options.strictGpu ?? false,
      keepModels: options.keepModels ?? true,
      authorization: options.authorization ?? {},
      ...(options.imageStoreBytes === undefined ? {} : { imageStoreBytes: options.imageStoreBytes }),
      ...(options.memoryBudgetBytes === undefined ? {} : { memoryBudgetBytes: options.memoryBudgetBytes }),
      models: await reading(() => Promise.all([...models.values()].map((model) => toWireModel(model, baseUrl())))),
    }),
    onEnd: (reason) => {
      if (reason.code === 'workerDied') queue.clear(reason);
    },
  });
  let disposed: DarkroomError | undefined;
  let ended: Promise<void> | undefined;

  async function start(tasks: unknown, run: RunOptions): Promise<JobOutcome> {
    if (disposed !== undefined) throw disposed;
    throwIfAborted(run.signal);
    const sendable = toSendable(tasks);
    sendable.catch(() => undefined); // heard of when its turn comes
    if (queue.busy) void sendable.then((sent) => announceWait(sent, run)).catch(() => undefined);
    return queue.add(async () => {
      const { link } = await host.live();
      const sent = await sendable;
      throwIfAborted(run.signal);
      return runJob(link, sent, run, { urls, timeouts });
    }, run.signal);
  }

  /** One request of a task type, as the SDK has a method for each. */
  async function runOne(taskType: TaskResult['taskType'], request: object, run: RunOptions): Promise<JobOutcome> {
    const sent = fieldsOf(request);
    const task = { taskUUID: crypto.randomUUID(), ...sent, taskType: sent['taskType'] || taskType };
    const outcome = await start(task, run);
    const [first, ...more] = outcome.errors;
    if (first === undefined) return outcome;
    if (run.onPicture === undefined) for (const picture of outcome.pictures) releaseUrl(picture, urls);
    throw new DarkroomError([first, ...more]);
  }

  async function imageInference(request: ImageInferenceRequest, run: RunOptions = {}): Promise<readonly ImageResult[]> {
    const { pictures } = await runOne('imageInference', request, run);
    const images = pictures.filter(isPicture);
    if (images.length < pictures.length) throw otherMethod();
    return images;
  }

  async function controlNetPreprocess(
    request: ControlNetPreprocessRequest,
    run: RunOptions = {},
  ): Promise<GuideResult> {
    return theOne((await runOne('controlNetPreprocess', request, run)).pictures.filter(isGuide));
  }

  async function imageUpload(request: ImageUploadRequest, run: RunOptions = {}): Promise<UploadResult> {
    return theOne((await runOne('imageUpload', request, run)).pictures.filter(isUpload));
  }

  const live = async (): Promise<WorkerLink> => {
    if (disposed !== undefined) throw disposed;
    return (await host.live()).link;
  };

  async function registerModel(model: ModelRegistration): Promise<void>;
  async function registerModel(name: string, source: ModelSource): Promise<void>;
  async function registerModel(first: string | ModelRegistration, source?: ModelSource): Promise<void> {
    if (disposed !== undefined) throw disposed;
    const model = typeof first === 'string' ? { air: first, source: sourceGiven(source) } : first;
    const wire = await reading(() => toWireModel(model, baseUrl()));
    const { link } = await host.live();
    unwrap(await link.call((worker) => worker.registerModel(wire)));
    models.delete(model.air); // the last one registered goes last when the worker is started anew
    models.set(model.air, model);
  }

  async function end(): Promise<void> {
    disposed = fail('disposed', 'This Darkroom was disposed; make a new one with createDarkroom().');
    queue.clear(disposed);
    urls.releaseAll();
    await host.dispose(disposed);
  }

  return {
    imageInference,
    requestImages: imageInference,
    controlNetPreprocess,
    controlNetPreProcess: controlNetPreprocess,
    imageUpload,
    images: keptImages(live),
    models: storedModels(live),
    run: (tasks, run = {}) => toResponse(async () => start(await reading(() => checkedList(tasks)), run)),
    registerModel,
    device: async () => (await host.live()).device,
    willItFit: async (request, fit = {}) => {
      if (disposed !== undefined) throw disposed;
      const asked = await toSendable({ taskUUID: crypto.randomUUID(), ...fieldsOf(request) });
      return unwrap(await (await host.live()).link.call((worker) => worker.willItFit(asked, fit)));
    },
    memory: async () => (await host.live()).link.call((worker) => worker.memory()),
    release: (imageURL) => urls.release(imageURL),
    dispose() {
      ended ??= end();
      return ended;
    },
  };
}

function makeWorker(): Worker {
  return new Worker(new URL('../../workers/pipeline.worker.js', import.meta.url), { type: 'module', name: 'darkroom' });
}

/** What `models` may hold: a source, or a source with what is said of the model. */
function registrationOf(air: string, given: ModelSource | Omit<ModelRegistration, 'air'>): ModelRegistration {
  return typeof given === 'object' && 'source' in given ? { ...given, air } : { air, source: given };
}

function sourceGiven(source: ModelSource | undefined): ModelSource {
  if (source !== undefined) return source;
  throw fail('invalidModel', 'registerModel(name, source) got no source.', { parameter: 'model' });
}

function baseUrl(): string | undefined {
  return typeof document === 'undefined' ? undefined : document.baseURI;
}

function announceWait(tasks: unknown, { onProgress, signal }: RunOptions): void {
  if (signal?.aborted === true) return;
  const list: readonly unknown[] = Array.isArray(tasks) ? tasks : [tasks];
  for (const task of list) {
    if (typeof task !== 'object' || task === null || !('taskUUID' in task) || typeof task.taskUUID !== 'string')
      continue;
    const images = 'numberResults' in task && typeof task.numberResults === 'number' ? task.numberResults : 1;
    notify(onProgress, { kind: 'progress', taskUUID: task.taskUUID, stage: 'queue', image: 0, images });
  }
}

function isPicture(result: TaskResult): result is ImageResult {
  return result.taskType === 'imageInference';
}

function isUpload(result: TaskResult): result is UploadResult {
  return result.taskType === 'imageUpload';
}

function isGuide(result: TaskResult): result is GuideResult {
  return !isPicture(result) && !isUpload(result);
}

function theOne<T>([result]: readonly T[]): T {
  if (result === undefined) throw otherMethod();
  return result;
}

/** A request whose `taskType` belongs to another method gives another kind of result. */
function otherMethod(): DarkroomError {
  return fail(
    'unsupportedTaskType',
    "The request's 'taskType' belongs to another method than the one that was called.",
  );
}

/** The wire form: what is wrong with the tasks is part of the answer, what is wrong with the worker is thrown. */
async function toResponse(work: () => Promise<JobOutcome>): Promise<RunResponse> {
  try {
    const { pictures, errors } = await work();
    if (errors.length === 0) return { data: pictures };
    return pictures.length === 0 ? { errors } : { data: pictures, errors };
  } catch (error) {
    if (error instanceof DarkroomError && !isAboutTheWorker(error)) return { errors: error.errors };
    throw error;
  }
}

function checkedList(tasks: unknown): readonly unknown[] {
  if (Array.isArray(tasks)) return tasks;
  throw fail('invalidRequest', 'run() takes an array of tasks.', { type: 'object[]' });
}

/** Errors that no task can be blamed for. */
function isAboutTheWorker({ code }: DarkroomError): boolean {
  return code === 'aborted' || code === 'workerDied' || code === 'disposed';
}
