/** @file Runs inside the browser: pictures by an engine whose GPU devices are destroyed at chosen places. */
import { urlTree } from '../../src/assets/url-tree.js';
import { createEngine, type Engine } from '../../src/pipeline/engine.js';
import type { WireEvent } from '../../src/pipeline/events.js';
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

const devices: GPUDevice[] = [];
const verdicts = new Map<string, string>(); // of the self-test, which is not the matter here
const engine: Engine = createEngine({
  runtime: {
    backend: 'webgpu',
    loadOrt: loadOrtInBrowser,
    gpu: navigator.gpu,
    observeDevice: (device) => devices.push(device),
    memo: {
      get: (key) => Promise.resolve(verdicts.get(key)),
      set: (key, value) => Promise.resolve(void verdicts.set(key, value)),
    },
  },
  openTree: () => urlTree(new URL('/folder/micro/', location.href).href, { fetch: (url, init) => fetch(url, init) }),
  encodePicture: () => Promise.reject(new Error('PNG is asked for')),
  newUUID: () => crypto.randomUUID(),
  randomSeed: () => 1n,
  now: () => performance.now(),
  defaultModel: 'micro',
});

/** A picture of `steps` steps, during which the device at hand is destroyed at each of `places` in turn. */
async function make(steps: number, places: readonly Place[] = []): Promise<SurvivalReport> {
  const left = [...places];
  const warnings: string[] = [];
  let hashing: Promise<string> = Promise.resolve('');
  const { errors } = await engine.run([{ ...TASK, steps }], {
    onEvent(event) {
      if (event.kind === 'progress' && event.step === 2) stepHeard();
      if (left.length > 0 && isPlace(left[0], event)) {
        left.shift();
        devices.at(-1)?.destroy();
      }
      if (event.kind !== 'picture') return;
      warnings.push(...event.picture.warnings);
      hashing = sha256(event.picture.bytes);
    },
  });
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

/** Starts a picture; resolves when its second step is done. */
function begin(steps: number): Promise<void> {
  const heard = new Promise<void>((resolve) => (stepHeard = resolve));
  running = make(steps);
  return heard;
}

/** Destroys the device while nothing runs. */
async function loseIdle(): Promise<void> {
  devices.at(-1)?.destroy();
  await devices.at(-1)?.lost;
}

const survivalPage = { make, begin, loseIdle, end: () => running, dispose: () => engine.dispose() };
export type SurvivalPage = typeof survivalPage;
Object.assign(globalThis, { survivalPage });
