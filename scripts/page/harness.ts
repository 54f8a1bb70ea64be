/**
 * @file What runs inside headless Chromium for the command line, the golden runner and the benchmarks: pictures through the public
 * API, and the engine itself where intermediates or counters are wanted. Folders on disk are served under `/folder/KEY/`.
 */
import { urlTree } from '../../src/assets/url-tree.js';
import { toWireErrors, type WireError } from '../../src/base/errors.js';
import { createMemoryDriver } from '../../src/assets/image-drivers.js';
import { createImagePins } from '../../src/assets/image-pins.js';
import { createImageStore } from '../../src/assets/image-store.js';
import type { TaskResult } from '../../src/client/types.js';
import { decodeWithCanvas } from '../../src/image/decode.js';
import { createDarkroom, type Darkroom, type RunOptions } from '../../src/index.js';
import { encodeWithCanvas } from '../../src/image/encode.js';
import { createEngine, type Engine } from '../../src/pipeline/engine.js';
import type { ModelTree } from '../../src/pipeline/library.js';
import type { Fit } from '../../src/pipeline/fit.js';
import { loadOrtInBrowser } from '../../src/runtime/ort.js';
import type { Memory } from '../../src/runtime/ledger.js';
import { createRuntime, type RuntimeInfo } from '../../src/runtime/runtime.js';
import type { GoldenFolder } from '../../test/golden-runner/files.js';
import { fileWithConfigs } from '../lib/file-with-configs.js';
import type { GuideFacts, PictureFacts, UploadFacts } from '../lib/response.js';
import type { WirePicture } from '../../src/pipeline/events.js';
import type { Outcome } from '../../test/golden-runner/report.js';
import { runCase } from '../../test/golden-runner/run-case.js';
import { runUnit } from '../../test/golden-runner/run-units.js';

export type Backend = 'auto' | 'webgpu' | 'wasm';

/** Where the server puts a folder of the disk (`key`), or one file of it (`key/name`). */
const folderUrl = (key: string): string => new URL(`/folder/${key}${key.includes('/') ? '' : '/'}`, location.href).href;
const treeOf = (url: string): ReturnType<typeof urlTree> =>
  urlTree(url, { fetch: (input, init) => fetch(input, init) });

export interface EngineOptions {
  readonly backend: Backend;
  /** Model name → key of a served folder. */
  readonly models: Readonly<Record<string, string>>;
  /** Key of a diffusers folder that models of one file take their configs, tokenizers and missing parts from. */
  readonly base?: string;
  readonly observeDevice?: (device: GPUDevice) => void;
  /** What the registry says of a model, where that matters. */
  readonly about?: (name: string) => Pick<ModelTree, 'about'>;
  /** See `EngineDeps`. */
  readonly spareBytes?: number | undefined;
  readonly memoryBudgetBytes?: number | undefined;
}

export function createPageEngine(options: EngineOptions): Engine {
  const { backend, models, base, observeDevice, spareBytes, memoryBudgetBytes } = options;
  const openTree = (name: string): ModelTree => {
    const tree = { ...treeOf(folderUrl(models[name] ?? name)), ...options.about?.(name) };
    const given = base === undefined || tree.file === undefined ? undefined : treeOf(`${folderUrl(base)}/`);
    return given === undefined ? tree : { ...fileWithConfigs(tree, given), companions: [given] };
  };
  return createEngine({
    runtime: {
      backend,
      strictGpu: true,
      loadOrt: loadOrtInBrowser,
      gpu: navigator.gpu,
      ...(observeDevice ? { observeDevice } : {}),
    },
    openTree,
    encodePicture: encodeWithCanvas,
    pictures: {
      fetch: (url, init) => fetch(url, init),
      decodePicture: decodeWithCanvas,
      images: createImageStore({
        driver: createMemoryDriver(),
        pins: createImagePins(undefined),
        limitBytes: () => Promise.resolve(Infinity),
        now: () => Date.now(),
      }),
    },
    newUUID: () => crypto.randomUUID(),
    randomSeed: () => 1n,
    now: () => performance.now(),
    defaultModel: Object.keys(models)[0] ?? '',
    spareBytes,
    memoryBudgetBytes,
  });
}

/** Results as the command line wants them: file bytes in base64, the seed with all its digits. */
export interface PageResponse {
  readonly results: readonly PageResult[];
  readonly errors: readonly WireError[];
}

interface PageResult {
  readonly facts: (Omit<PictureFacts, 'seed'> & { readonly seed: string }) | GuideFacts | UploadFacts;
  readonly base64: string;
}

/** Through the public API and its worker; `outputType` is for the caller to honour, since a blob: URL dies with the page. */
async function generate(
  input: unknown,
  options: {
    readonly backend: Backend;
    readonly models: Readonly<Record<string, string>>;
    readonly details?: Readonly<Record<string, object>>;
  },
): Promise<PageResponse> {
  const { details = {} } = options;
  const models = Object.fromEntries(
    Object.entries(options.models).map(([name, key]) => [name, { ...details[name], source: folderUrl(key) }]),
  );
  const darkroom = createDarkroom({ backend: options.backend, models, strictGpu: true });
  const made: TaskResult[] = [];
  const listeners = { onProgress: report, onPicture: (picture: TaskResult): void => void made.push(picture) };
  try {
    const { data = [], errors = [] } = Array.isArray(input)
      ? await darkroom.run(input, listeners)
      : { data: await runOne(darkroom, input, listeners) };
    return { results: await Promise.all(data.map(toPageResult)), errors };
  } catch (error) {
    return { results: await Promise.all(made.map(toPageResult)), errors: toWireErrors(error) };
  } finally {
    await darkroom.dispose();
  }
}

/** One request, by the method of its type. */
async function runOne(darkroom: Darkroom, input: unknown, options: RunOptions): Promise<readonly TaskResult[]> {
  const taskType: unknown = typeof input === 'object' && input !== null ? Reflect.get(input, 'taskType') : undefined;
  // The worker checks it, whatever it is.
  const request = input as never;
  switch (taskType) {
    case 'imageUpload':
      return [await darkroom.imageUpload(request, options)];
    case 'controlNetPreprocess':
    case 'imageControlNetPreProcess':
      return [await darkroom.controlNetPreprocess(request, options)];
    default:
      return darkroom.imageInference(request, options);
  }
}

async function toPageResult(result: TaskResult): Promise<PageResult> {
  const { blob } = result;
  const base64 = await toBase64(blob);
  if (result.taskType === 'imageUpload') {
    const { taskType, taskUUID, imageUUID, width, height, warnings } = result;
    const mime = blob.type as UploadFacts['mime']; // the client made the blob from exactly this
    return { facts: { taskType, taskUUID, imageUUID, width, height, warnings, mime }, base64 };
  }
  const { taskUUID, width, height, warnings, timings } = result;
  const mime = blob.type as WirePicture['mime']; // the same
  const shared = { taskUUID, width, height, warnings, timings, mime, includeCost: result.cost !== undefined };
  if (result.taskType === 'imageInference') {
    const { taskType, imageUUID, backend, imageURL, imageDataURI } = result;
    const seed = result.seedString ?? String(result.seed);
    const outputType = outputTypeOf(imageURL, imageDataURI);
    return { facts: { taskType, imageUUID, backend, image: 0, seed, outputType, ...shared }, base64 };
  }
  const { taskType, inputImageUUID, guideImageUUID, guideImageURL, guideImageDataURI } = result;
  const outputType = outputTypeOf(guideImageURL, guideImageDataURI);
  return { facts: { taskType, inputImageUUID, guideImageUUID, outputType, ...shared }, base64 };
}

function outputTypeOf(url: string | undefined, dataURI: string | undefined): WirePicture['outputType'] {
  if (url !== undefined) return 'URL';
  return dataURI === undefined ? 'base64Data' : 'dataURI';
}

/** The driving script may listen (Playwright's `exposeFunction`). */
function report(event: unknown): void {
  const listener: unknown = Reflect.get(globalThis, 'reportProgress');
  if (typeof listener === 'function') (listener as (value: unknown) => void)(event);
}

async function toBase64(blob: Blob): Promise<string> {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let binary = '';
  for (let i = 0; i < bytes.length; i += 8192) binary += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(binary);
}

const goldens: GoldenFolder = {
  async read(path) {
    const response = await fetch(`${folderUrl('goldens')}${path}`);
    if (!response.ok) throw new Error(`${path}: HTTP ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  },
  tree: (path) => treeOf(`${folderUrl('goldens')}${path}`),
};

let current: { readonly key: string; readonly engine: Engine } | undefined;

async function runGolden(name: string, backend: Backend): Promise<Outcome> {
  return runCase(goldens, name, async (models, base) => {
    const key = JSON.stringify([backend, models, base]);
    if (current?.key !== key) {
      await current?.engine.dispose();
      const keys = Object.fromEntries(Object.entries(models).map(([model, path]) => [model, `goldens/${path}`]));
      const options = { backend, models: keys, ...(base === undefined ? {} : { base: `goldens/${base}` }) };
      current = { key, engine: createPageEngine(options) };
    }
    return current.engine;
  });
}

/** On a device of its own, without falling back to the CPU. */
async function runUnitGolden(name: string): Promise<Outcome> {
  const runtime = createRuntime({ backend: 'webgpu', strictGpu: true, loadOrt: loadOrtInBrowser, gpu: navigator.gpu });
  try {
    return await runUnit({ folder: goldens, runtime: () => runtime }, name);
  } finally {
    await (await runtime).dispose();
  }
}

async function device(backend: Backend): Promise<RuntimeInfo> {
  const engine = createPageEngine({ backend, models: {} });
  try {
    return await engine.start();
  } finally {
    await engine.dispose();
  }
}

const TASK = {
  taskType: 'imageInference',
  taskUUID: '6ba7b810-9dad-41d1-80b4-00c04fd430c8',
  positivePrompt: 'a red fox',
  width: 128,
  height: 128,
  steps: 1,
  CFGScale: 4,
  seed: 1,
} as const;

/** GPU buffers after each of `count` pictures of two sizes in turn, and after the engine is disposed. */
async function countBuffers(
  model: string,
  count: number,
): Promise<{ readonly pictures: number; readonly after: readonly Memory[]; readonly disposed: Memory }> {
  const engine = createPageEngine({ backend: 'webgpu', models: { [model]: model } });
  const after: Memory[] = [];
  let pictures = 0;
  for (let i = 0; i < count; i++) {
    const outcome = await engine.run([{ ...TASK, model, width: i % 2 === 0 ? 128 : 192, seed: i + 1 }]);
    pictures += outcome.pictures.length;
    after.push(engine.memory());
  }
  await engine.dispose();
  return { pictures, after, disposed: engine.memory() };
}

/** A picture of 192×192, smaller ones until what they leave is too much and a new device is opened, and the first one again. */
async function outgrow(model: string): Promise<{
  /** SHA-256 of the files of the first picture and the last. */
  readonly hashes: readonly string[];
  /** What was held after each, the device's number with it. */
  readonly held: readonly (readonly [device: number, bytes: number])[];
}> {
  let devices = 0;
  const observeDevice = (): void => void devices++;
  const engine = createPageEngine({ backend: 'webgpu', models: { [model]: model }, observeDevice, spareBytes: 0 });
  const held: (readonly [number, number])[] = [];
  const make = async (width: number, height: number): Promise<string> => {
    let file: Uint8Array<ArrayBuffer> = new Uint8Array();
    const { errors } = await engine.run([{ ...TASK, model, width, height, outputFormat: 'PNG' }], {
      onEvent: (event) => void (event.kind === 'picture' && (file = event.picture.bytes)),
    });
    if (errors.length > 0) throw new Error(JSON.stringify(errors));
    held.push([devices, engine.memory().gpuBytes]);
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', file));
    return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  };
  const first = await make(192, 192);
  const smaller = [[192, 128], [128, 192], [128, 128], [256, 128], [128, 256]] as const; // prettier-ignore
  for (const [width, height] of smaller) if (devices === 1) await make(width, height);
  const last = await make(192, 192);
  await engine.dispose();
  return { hashes: [first, last], held };
}

/**
 * What one picture of 128×128 is predicted to take of the GPU's memory, and what its ledger counted.
 * @param memoryBudgetBytes that there are
 * @param more parameters
 */
async function measureMemory(
  model: string,
  memoryBudgetBytes?: number,
  more: Readonly<Record<string, unknown>> = {},
): Promise<{ readonly predicted: Fit; readonly peakGpuBytes: number; readonly errors: readonly string[] }> {
  const engine = createPageEngine({ backend: 'webgpu', models: { [model]: model }, memoryBudgetBytes });
  const task = [{ ...TASK, ...more, model }];
  const predicted = await engine.willItFit(task, memoryBudgetBytes === undefined ? {} : { memoryBudgetBytes });
  const { errors } = await engine.run(task);
  const { peakGpuBytes } = engine.stats();
  await engine.dispose();
  return { predicted, peakGpuBytes, errors: errors.map((e) => e.message) };
}

/** Aborts after the first step; `stepsAfter` = steps that ended after the abort. */
async function abortRun(
  model: string,
): Promise<{ readonly errors: readonly string[]; readonly stepsAfter: number; readonly next: readonly string[] }> {
  const engine = createPageEngine({ backend: 'webgpu', models: { [model]: model } });
  const controller = new AbortController();
  let stepsAfter = 0;
  const first = await engine.run([{ ...TASK, model, steps: 8 }], {
    signal: controller.signal,
    onEvent: (event) => {
      if (event.kind !== 'progress' || event.step === undefined) return;
      if (controller.signal.aborted) stepsAfter++;
      else controller.abort();
    },
  });
  const second = await engine.run([{ ...TASK, model }]);
  await engine.dispose();
  return { errors: first.errors.map((e) => e.code), stepsAfter, next: second.errors.map((e) => e.code) };
}

/** What one backend needs for the bundled model; times in milliseconds, of which `insideMs` were spent in `session.run`. */
export interface BenchResult {
  readonly info: RuntimeInfo;
  readonly startMs: number;
  readonly loadMs: number;
  readonly steps: number;
  readonly firstPictureMs: number;
  readonly secondPictureMs: number;
  readonly denoiseMs: number;
  readonly insideMs: number;
  readonly dispatchesPerStep: number;
  readonly peakHeapBytes: number;
  readonly memory: Memory;
  readonly peakGpuBytes: number;
}

/** Two pictures of one model: the first loads and compiles, the second is what every further one costs. */
async function bench(
  model: string,
  backend: Backend,
  request: { readonly steps: number; readonly width: number; readonly height: number },
): Promise<BenchResult> {
  const counter = countDispatches();
  const engine = createPageEngine({ backend, models: { [model]: model } });
  let heap = 0;
  const sampleHeap = (): void => void (heap = Math.max(heap, usedHeap()));
  const start = performance.now();
  const info = await engine.start();
  const startMs = performance.now() - start;
  const picture = async (): Promise<{
    readonly ms: number;
    readonly timings: WirePicture['timings'];
    readonly insideMs: number;
    readonly dispatches: number;
  }> => {
    const begin = performance.now();
    let timings: WirePicture['timings'] = {};
    let inside = 0;
    let dispatches = 0;
    let step = 0;
    let before = { runMs: 0, dispatches: 0 };
    const { errors } = await engine.run([{ ...TASK, model, CFGScale: 4.5, ...request }], {
      onEvent: (event) => {
        sampleHeap();
        if (event.kind === 'picture') timings = event.picture.timings;
        if (event.kind !== 'progress' || event.stage !== 'denoise') return;
        const now = { runMs: engine.stats().runMs, dispatches: counter.count() };
        if (event.step === undefined) before = now;
        else {
          inside = now.runMs - before.runMs;
          dispatches = now.dispatches - before.dispatches;
          step = event.step;
        }
      },
    });
    if (errors.length > 0) throw new Error(JSON.stringify(errors));
    return { ms: performance.now() - begin, timings, insideMs: inside, dispatches: dispatches / step };
  };
  const first = await picture();
  const second = await picture();
  const memory = engine.memory();
  const { peakGpuBytes } = engine.stats();
  await engine.dispose();
  counter.stop();
  return {
    info,
    startMs,
    loadMs: first.timings.load ?? 0,
    steps: request.steps,
    firstPictureMs: first.ms,
    secondPictureMs: second.ms,
    denoiseMs: second.timings.denoise ?? 0,
    insideMs: second.insideMs,
    dispatchesPerStep: second.dispatches,
    peakHeapBytes: heap,
    memory,
    peakGpuBytes,
  };
}

/** Counts compute dispatches of all devices of this page until stopped. */
function countDispatches(): { readonly count: () => number; readonly stop: () => void } {
  if (typeof GPUComputePassEncoder === 'undefined') return { count: () => 0, stop: () => undefined };
  const prototype = GPUComputePassEncoder.prototype;
  // Called with `apply` below, and put back as they are.
  // eslint-disable-next-line @typescript-eslint/unbound-method
  const { dispatchWorkgroups, dispatchWorkgroupsIndirect } = prototype;
  let count = 0;
  prototype.dispatchWorkgroups = function (...args) {
    count++;
    return dispatchWorkgroups.apply(this, args);
  };
  prototype.dispatchWorkgroupsIndirect = function (...args) {
    count++;
    return dispatchWorkgroupsIndirect.apply(this, args);
  };
  return {
    count: () => count,
    stop: () => Object.assign(prototype, { dispatchWorkgroups, dispatchWorkgroupsIndirect }),
  };
}

/** Chromium's own figure for the JavaScript heap; 0 elsewhere. */
function usedHeap(): number {
  const memory: unknown = Reflect.get(performance, 'memory');
  return typeof memory === 'object' && memory !== null && 'usedJSHeapSize' in memory
    ? Number(memory.usedJSHeapSize)
    : 0;
}

const harness = {
  generate,
  bench,
  runGolden,
  runUnitGolden,
  device,
  createPageEngine,
  countBuffers,
  measureMemory,
  outgrow,
  abortRun,
};
export type Harness = typeof harness;
Object.assign(globalThis, { harness });
