/** @file Runs inside the browser: pictures by an engine whose GPU devices are destroyed at chosen places. */
import { urlTree } from '../../src/assets/url-tree.js';
import { createEngine, type Engine } from '../../src/pipeline/engine.js';
import type { WireEvent } from '../../src/pipeline/events.js';
import type { Memory } from '../../src/runtime/ledger.js';
import { loadOrtInBrowser } from '../../src/runtime/ort.js';

/** When a device is destroyed: as this stage is first heard of, or when this step is done. */
export type Place = 'load' | 'text' | 'decode' | 'encode' | number;

export interface SurvivalReport {
  readonly errors: readonly string[];
  /** SHA-256 of the picture's file. */
  readonly hash: string;
  readonly warnings: readonly string[];
  /** Devices that the engine has opened so far; those of its self-test are not among them. */
  readonly devices: number;
}

const TASK = {
  taskType: 'imageInference',
  taskUUID: '6ba7b810-9dad-41d1-80b4-00c04fd430c8',
  model: 'micro',
  positivePrompt: 'a red fox',
  width: 128,
  height: 128,
  CFGScale: 1,
  seed: 1,
  outputFormat: 'PNG',
} as const;

/** The browser's, while there is one. */
const gpu = {
  there: true,
  requestAdapter: (options?: GPURequestAdapterOptions) =>
    gpu.there ? navigator.gpu.requestAdapter(options) : Promise.resolve(null),
};
const devices: GPUDevice[] = [];
const verdicts = new Map<string, string>(); // of the self-test, which is not the matter here
const engine: Engine = createEngine({
  runtime: {
    backend: 'webgpu',
    loadOrt: loadOrtInBrowser,
    gpu: gpu as unknown as GPU, // nothing else of it is used
    observeDevice: (device) => devices.push(device),
    memo: {
      get: (key) => Promise.resolve(verdicts.get(key)),
      set: (key, value) => Promise.resolve(void verdicts.set(key, value)),
    },
  },
  openTree: (name) =>
    urlTree(new URL(`/folder/${name}/`, location.href).href, { fetch: (url, init) => fetch(url, init) }),
  encodePicture: () => Promise.reject(new Error('PNG is asked for')),
  newUUID: () => crypto.randomUUID(),
  randomSeed: () => 1n,
  now: () => performance.now(),
  defaultModel: 'micro',
});

export interface Mishaps {
  /** The device at hand is destroyed at each of these in turn. */
  readonly places: readonly Place[];
  /** There is no other device after the first loss. */
  readonly forGood?: boolean;
  /** A data URI: a guide for the ControlNet `control`. */
  readonly guideImage?: string;
}

/** A picture of `steps` steps, and what happens meanwhile. */
async function make(
  steps: number,
  { places, forGood = false, guideImage }: Mishaps = { places: [] },
): Promise<SurvivalReport> {
  const left = [...places];
  const controlNet = guideImage === undefined ? [] : [{ model: 'control', guideImage, weight: 1 }];
  const warnings: string[] = [];
  let hashing: Promise<string> = Promise.resolve('');
  const { errors } = await engine.run([{ ...TASK, steps, controlNet }], {
    onEvent(event) {
      if (event.kind === 'progress' && event.step === 1) stepHeard();
      if (left.length > 0 && isPlace(left[0], event)) {
        left.shift();
        gpu.there = !forGood;
        devices.at(-1)?.destroy();
      }
      if (event.kind !== 'picture') return;
      warnings.push(...event.picture.warnings);
      hashing = sha256(event.picture.bytes);
    },
  });
  gpu.there = true;
  return {
    errors: errors.map(({ code, message }) => `${code}: ${message}`),
    hash: await hashing,
    warnings,
    devices: devices.length,
  };
}

function isPlace(place: Place | undefined, event: WireEvent): boolean {
  if (event.kind !== 'progress') return false;
  return typeof place === 'number' ? event.step === place : event.stage === place && event.step === undefined;
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

let stepHeard: () => void = () => undefined;
let running: Promise<SurvivalReport> | undefined;

/** Starts a picture; resolves when its first step is done. */
function begin(steps: number): Promise<void> {
  const heard = new Promise<void>((resolve) => (stepHeard = resolve));
  running = make(steps);
  return heard;
}

/** Ends all. @returns what is still held of the last device */
async function end(): Promise<Memory> {
  await engine.dispose();
  return engine.memory();
}

const survivalPage = { make, begin, begun: () => running, end };
export type SurvivalPage = typeof survivalPage;
Object.assign(globalThis, { survivalPage });
