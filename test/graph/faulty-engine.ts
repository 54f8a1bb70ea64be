/** @file Tasks by engines of small models whose ONNX Runtime fails at chosen calls, and everything that tests ask of what came out. */
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { folderTree } from '../../scripts/lib/folder-tree.js';
import { GOLDEN, soakGuide } from '../../scripts/lib/soak-node.js';
import type { WireError } from '../../src/base/errors.js';
import { createEngine, type Engine, type RunOptions } from '../../src/pipeline/engine.js';
import type { WireEvent } from '../../src/pipeline/events.js';
import { writeMicroFlux } from '../micro-flux.js';
import { writeMicroControlNet, writeMicroLora, writeMicroModel } from '../micro-model.js';
import { faultyOrt, noFaults, type Call, type Fault, type FaultRecord } from './faulty-ort.js';

/** The models on disk. */
export interface MicroModels {
  readonly folder: string;
  /** Of FLUX.1 with its ControlNet. */
  readonly fluxTask: Readonly<Record<string, unknown>>;
  remove(): Promise<void>;
}

export async function writeMicroModels(): Promise<MicroModels> {
  const folder = await mkdtemp(join(tmpdir(), 'darkroom-faulty-'));
  await writeMicroModel(join(folder, 'micro'));
  await writeMicroLora(join(folder, 'micro-lora'));
  await writeMicroControlNet(join(folder, 'micro-control'));
  const { request, guideImage } = await writeMicroFlux(folder);
  const net = { model: 'flux-union', guideImage, unionMode: 1, weight: 0.8 };
  const fluxTask = {
    ...ONE,
    negativePrompt: undefined,
    scheduler: undefined,
    ...request,
    model: 'flux',
    controlNet: [net],
  };
  return { folder, fluxTask, remove: () => rm(folder, { recursive: true }) };
}

export const TASK = {
  taskType: 'imageInference',
  taskUUID: '6ba7b810-9dad-41d1-80b4-00c04fd430c8',
  model: 'micro',
  positivePrompt: 'a red fox',
  negativePrompt: 'blue',
  width: 128,
  height: 128,
  steps: 2,
  CFGScale: 4,
  scheduler: 'Euler a',
  numberResults: 2,
  outputFormat: 'PNG',
};
export const ONE = { ...TASK, numberResults: 1 };
/** With everything that is added to a UNet. */
export const CONTROLLED = {
  ...ONE,
  lora: [{ model: 'micro-lora', weight: 0.7 }],
  controlNet: [{ model: 'micro-control', guideImage: soakGuide(), weight: 0.6 }],
};

export interface Faulty {
  readonly engine: Engine;
  readonly record: FaultRecord;
}

export type FaultAt = (call: Call) => Fault | undefined;
export const never: FaultAt = () => undefined;

/** Models `sdxl-tiny` and `sdxl-refiner-tiny` are goldens, others are in `models`. */
export function createFaulty({ folder }: MicroModels, faultAt: FaultAt, memoryBudgetBytes?: number): Faulty {
  const record = noFaults();
  let seeds = 41n;
  const engine = createEngine({
    runtime: { backend: 'wasm', loadOrt: faultyOrt(faultAt, record) },
    openTree: (name) => folderTree(name.startsWith('sdxl') ? join(GOLDEN, 'models', name) : join(folder, name)),
    encodePicture: () => Promise.reject(new Error('PNG is asked for')),
    newUUID: () => crypto.randomUUID(),
    randomSeed: () => seeds++,
    now: () => performance.now(),
    defaultModel: 'micro',
    memoryBudgetBytes,
  });
  return { engine, record };
}

export interface Made {
  /** SHA-256 of the pictures' files. */
  readonly hashes: readonly string[];
  readonly files: readonly Uint8Array<ArrayBuffer>[];
  readonly seeds: readonly bigint[];
  /** Of each picture, as one text. */
  readonly warnings: readonly string[];
  readonly errors: readonly WireError[];
  readonly codes: readonly string[];
  readonly spent: boolean;
  /** Steps that were reported, of all tries. */
  readonly steps: number;
}

export async function run({ engine }: Pick<Faulty, 'engine'>, task: object, options: RunOptions = {}): Promise<Made> {
  const events: WireEvent[] = [];
  const { errors, spent = false } = await engine.run([task], {
    ...options,
    onEvent(event) {
      events.push(event);
      options.onEvent?.(event);
    },
  });
  const pictures = events.flatMap((event) => (event.kind === 'picture' ? [event.picture] : []));
  return {
    hashes: pictures.map(({ bytes }) => createHash('sha256').update(bytes).digest('hex')),
    files: pictures.map(({ bytes }) => bytes),
    seeds: pictures.map(({ seed }) => seed),
    warnings: pictures.map(({ warnings }) => warnings.join('\n')),
    errors,
    codes: errors.map(({ code }) => code),
    spent,
    steps: events.filter((event) => event.kind === 'progress' && event.step !== undefined).length,
  };
}
