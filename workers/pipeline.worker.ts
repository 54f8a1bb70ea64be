/** @file The pipeline worker: builds the engine from the browser's own parts and exposes it through comlink. */
import { expose, releaseProxy, type Remote } from 'comlink';
import { modelTree } from '../src/assets/file-tree.js';
import { createIndexedDbDriver } from '../src/assets/image-drivers.js';
import { createImagePins } from '../src/assets/image-pins.js';
import { createImageStore, defaultLimitBytes, type ImageStore } from '../src/assets/image-store.js';
import { addressTree, type HttpDeps } from '../src/assets/url-tree.js';
import { fail, toWireErrors } from '../src/base/errors.js';
import { holdLifeLock } from '../src/client/life-lock.js';
import type { PipelineWorker, Settled, WireEvent, WireModel, WorkerOptions } from '../src/client/wire.js';
import { decodeWithCanvas } from '../src/image/decode.js';
import { encodeWithCanvas } from '../src/image/encode.js';
import { DEFAULT_MODEL } from '../src/models/bundled.js';
import { CLIP_TOKENIZER_FILES } from '../src/models/clip-tokenizer.js';
import { bundledRegistry, register, resolve, type ModelRegistry } from '../src/models/registry.js';
import { createEngine, type Engine } from '../src/pipeline/engine.js';
import { createIndexedDbMemo } from '../src/runtime/memo.js';
import { loadOrtInBrowser } from '../src/runtime/ort.js';

const jobs = new Map<string, AbortController>();
const http: HttpDeps = { fetch: (url, init) => fetch(url, init) };
const clipTokenizer = addressTree('CLIP', CLIP_TOKENIZER_FILES, http);
let registry: ModelRegistry = new Map();
let engine: Engine | undefined;
let images: ImageStore | undefined;

function add(known: ModelRegistry, { air, source, ...details }: WireModel): ModelRegistry {
  return register(known, air, source, details);
}

/** Lib types say that all of these are always there; they are not on pages without a secure origin. */
const { storage, locks } = navigator as Partial<Pick<Navigator, 'storage' | 'locks'>>;

function makeImageStore(imageStoreBytes: number | undefined): ImageStore {
  return createImageStore({
    driver: createIndexedDbDriver(),
    pins: createImagePins(locks),
    limitBytes: () => (imageStoreBytes === undefined ? defaultLimitBytes(storage) : Promise.resolve(imageStoreBytes)),
    now: () => Date.now(),
  });
}

function makeEngine({ backend, strictGpu, models }: WorkerOptions, store: ImageStore): Engine {
  registry = models.reduce(add, bundledRegistry());
  return createEngine({
    runtime: {
      backend,
      strictGpu,
      loadOrt: loadOrtInBrowser,
      gpu: navigator.gpu, // typed as always there; it is not in every browser
      memo: createIndexedDbMemo(),
    },
    openTree: (model, wanted) => {
      const about = resolve(registry, model, wanted);
      return { ...modelTree(about.reference, about.source, http), about, clipTokenizer };
    },
    encodePicture: encodeWithCanvas,
    pictures: { fetch: http.fetch, decodePicture: decodeWithCanvas, images: store },
    newUUID: () => crypto.randomUUID(),
    randomSeed: () => BigInt(Math.max(1, crypto.getRandomValues(new Uint32Array(1))[0] ?? 1)),
    now: () => performance.now(),
    defaultModel: DEFAULT_MODEL,
  });
}

function started(): Engine {
  if (engine === undefined) throw fail('internalError', 'The worker was not started.');
  return engine;
}

function startedImages(): ImageStore {
  if (images === undefined) throw fail('internalError', 'The worker was not started.');
  return images;
}

/** comlink drops the fields of thrown errors, so nothing is thrown across the border. */
async function settle<T>(work: () => T | Promise<T>): Promise<Settled<T>> {
  try {
    return { ok: true, value: await work() };
  } catch (error) {
    return { ok: false, errors: toWireErrors(error) };
  }
}

const worker: PipelineWorker = {
  start: (options) =>
    settle(async () => {
      if (options.lifeLock !== undefined) await holdLifeLock(options.lifeLock);
      images = makeImageStore(options.imageStoreBytes);
      engine = makeEngine(options, images);
      return engine.start();
    }),
  registerModel: (model) =>
    settle(() => {
      registry = add(registry, model);
    }),
  run: (jobId, tasks, onEvent) =>
    settle(async () => {
      const job = new AbortController();
      jobs.set(jobId, job);
      try {
        return await started().run(tasks, { signal: job.signal, onEvent: (event) => void onEvent(event) });
      } finally {
        jobs.delete(jobId);
        // comlink made this function from the client's proxy; without the release the channel would stay open.
        (onEvent as unknown as Remote<(event: WireEvent) => void>)[releaseProxy]();
      }
    }),
  cancel: (jobId) => Promise.resolve(jobs.get(jobId)?.abort()),
  willItFit: (request, options) => settle(() => started().willItFit(request, options)),
  listImages: () => settle(() => startedImages().list()),
  readImage: (imageUUID) => settle(() => startedImages().get(imageUUID)),
  deleteImage: (imageUUID) => settle(() => startedImages().delete(imageUUID)),
  clearImages: () => settle(() => startedImages().clear()),
  memory: () => Promise.resolve(started().memory()),
  dispose: async () => {
    for (const job of jobs.values()) job.abort();
    await engine?.dispose();
    engine = undefined;
  },
};

expose(worker);
