/** @file Runs inside the browser: pictures on devices that are destroyed at chosen places, by the engine itself on this page. */
import type { WireEvent } from '../../src/pipeline/events.js';
import type { Harness } from '../../scripts/page/harness.js';

/** Where the device is destroyed: when this stage is first heard of, or when this step is done. */
export type Place = 'load' | 'text' | 'decode' | 'encode' | number;

export interface SurvivalReport {
  readonly errors: readonly string[];
  /** SHA-256 of each picture's file. */
  readonly hashes: readonly string[];
  readonly warnings: readonly string[];
  /** Devices that the engine used (those of the self-test are not among them). */
  readonly devices: number;
}

const { createPageEngine } = Reflect.get(globalThis, 'harness') as Harness;

const TASK = {
  taskType: 'imageInference',
  taskUUID: '6ba7b810-9dad-41d1-80b4-00c04fd430c8',
  positivePrompt: 'a red fox',
  width: 128,
  height: 128,
  steps: 3,
  CFGScale: 4,
  seed: 1,
  outputFormat: 'PNG',
} as const;

function isPlace(place: Place | undefined, event: WireEvent): boolean {
  if (place === undefined || event.kind !== 'progress') return false;
  return typeof place === 'number' ? event.step === place : event.stage === place && event.step === undefined;
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return [...new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))].map((b) => b.toString(16)).join(' ');
}

/**
 * A task on a fresh engine whose device is destroyed at `place`, once; or never.
 * @param idle destroys it between this task and one more instead, whose report it is
 */
async function survive(model: string, place?: Place, idle = false): Promise<SurvivalReport> {
  const devices: GPUDevice[] = [];
  const engine = createPageEngine({
    backend: 'webgpu',
    models: { [model]: model },
    observeDevice: (device) => devices.push(device),
  });
  if (idle) {
    await engine.run([{ ...TASK, model, steps: 1 }]);
    devices[0]?.destroy();
    await devices[0]?.lost;
  }
  const files: Uint8Array<ArrayBuffer>[] = [];
  const warnings: string[] = [];
  let destroyed = false;
  const { errors } = await engine.run([{ ...TASK, model }], {
    onEvent(event) {
      if (event.kind === 'picture') {
        files.push(event.picture.bytes);
        warnings.push(...event.picture.warnings);
      }
      if (destroyed || !isPlace(place, event)) return;
      destroyed = true;
      devices.at(-1)?.destroy();
    },
  });
  await engine.dispose();
  const hashes = await Promise.all(files.map(sha256));
  return { errors: errors.map(({ code, message }) => `${code}: ${message}`), hashes, warnings, devices: devices.length };
}

/** Starts a long task and says when `step` is done; its report is had by `end`. */
function begin(model: string, step: number): { readonly reached: Promise<void>; readonly end: Promise<SurvivalReport> } {
  let devices = 0;
  const engine = createPageEngine({
    backend: 'webgpu',
    models: { [model]: model },
    observeDevice: () => void devices++,
  });
  let reach: () => void = () => undefined;
  const reached = new Promise<void>((resolve) => (reach = resolve));
  const files: Uint8Array<ArrayBuffer>[] = [];
  const warnings: string[] = [];
  const end = engine
    .run([{ ...TASK, model, steps: 12 }], {
      onEvent(event) {
        if (event.kind === 'progress' && event.step === step) reach();
        if (event.kind !== 'picture') return;
        files.push(event.picture.bytes);
        warnings.push(...event.picture.warnings);
      },
    })
    .then(async ({ errors }) => {
      await engine.dispose();
      const hashes = await Promise.all(files.map(sha256));
      return { errors: errors.map(({ code, message }) => `${code}: ${message}`), hashes, warnings, devices };
    });
  return { reached, end };
}

const survivalPage = { survive, begin, running: undefined as ReturnType<typeof begin> | undefined };
export type SurvivalPage = typeof survivalPage;
Object.assign(globalThis, { survivalPage });
