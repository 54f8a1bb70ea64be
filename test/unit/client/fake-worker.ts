/** @file A worker for tests: speaks the real protocol over a real MessageChannel through comlink, and does what the test says. */
import { busyNotice } from '../../../src/client/busy-notice.js';
import * as Comlink from 'comlink';
import type { WorkerPort } from '../../../src/client/types.js';
import type {
  DeviceInfo,
  Fit,
  PipelineWorker,
  WireEvent,
  WireModel,
  WireOutcome,
  WirePicture,
  WorkerOptions,
} from '../../../src/client/wire.js';

const FIT: Fit = {
  fits: true,
  reason: 'It needs 4 MB at most.',
  bytes: { weights: 1e6, activations: 3e6, peak: 4e6, peakInTurn: 4e6, peakTaken: 4e6 },
  available: undefined,
};

export const DEVICE: DeviceInfo = {
  backend: 'wasm',
  why: 'This is a test.',
  build: 'wasm',
  dtype: 'float32',
  withheld: [],
};

export interface FakeWorker extends WorkerPort {
  /** What the client called, in order, e.g. `start`, `run 1`, `cancel 1`: jobs are numbered as they come. */
  readonly calls: readonly string[];
  readonly started: readonly WorkerOptions[];
  readonly tasks: readonly unknown[];
  readonly registered: readonly WireModel[];
  readonly terminated: boolean;
  /** As a worker does before and after calls that may block it. */
  say(busy: boolean): void;
  /** As a browser does when the script throws or cannot be loaded (`error`), or a message cannot be read. */
  fire(type: 'error' | 'messageerror', message?: string): void;
}

type Emit = (event: WireEvent) => Promise<void>;
export type FakeRun = (emit: Emit, tasks: unknown, cancelled: Promise<void>) => ReturnType<PipelineWorker['run']>;

/** `run` decides what a job does; other answers can be replaced through `overrides`. */
export function fakeWorker(run: FakeRun, overrides: Partial<PipelineWorker> = {}): FakeWorker {
  const { port1, port2 } = new MessageChannel();
  const events = new EventTarget();
  const calls: string[] = [];
  const started: WorkerOptions[] = [];
  const tasks: unknown[] = [];
  const registered: WireModel[] = [];
  const jobs = new Map<string, { readonly number: number; readonly cancel: () => void }>();
  let terminated = false;

  const api: PipelineWorker = {
    start: (options) => {
      calls.push('start');
      started.push(options);
      return overrides.start?.(options) ?? Promise.resolve({ ok: true, value: DEVICE });
    },
    registerModel: (model) => {
      calls.push(`registerModel ${model.air}`);
      registered.push(model);
      return overrides.registerModel?.(model) ?? Promise.resolve({ ok: true, value: undefined });
    },
    run: (jobId, job, onEvent) => {
      const number = jobs.size + 1;
      calls.push(`run ${number}`);
      tasks.push(job);
      const cancelled = new Promise<void>((cancel) => jobs.set(jobId, { number, cancel }));
      return run((event) => Promise.resolve(onEvent(event)), job, cancelled);
    },
    cancel: (jobId) => {
      calls.push(`cancel ${jobs.get(jobId)?.number}`);
      jobs.get(jobId)?.cancel();
      return Promise.resolve();
    },
    willItFit: () => Promise.resolve({ ok: true, value: FIT }),
    listImages: () => overrides.listImages?.() ?? Promise.resolve({ ok: true, value: [] }),
    readImage: (imageUUID) => overrides.readImage?.(imageUUID) ?? Promise.reject(new Error('No picture is kept here.')),
    deleteImage: (imageUUID) => overrides.deleteImage?.(imageUUID) ?? Promise.resolve({ ok: true, value: false }),
    clearImages: () => overrides.clearImages?.() ?? Promise.resolve({ ok: true, value: undefined }),
    listModels: () => overrides.listModels?.() ?? Promise.resolve({ ok: true, value: [] }),
    storeStatus: () => overrides.storeStatus?.() ?? Promise.resolve({ ok: true, value: { kind: 'opfs' } }),
    deleteModel: (id) => overrides.deleteModel?.(id) ?? Promise.resolve({ ok: true, value: undefined }),
    pinModel: (id, pinned) => overrides.pinModel?.(id, pinned) ?? Promise.resolve({ ok: true, value: undefined }),
    memory: () => overrides.memory?.() ?? Promise.resolve({ gpuBytes: 12, gpuBuffers: 3 }),
    dispose: () => {
      calls.push('dispose');
      return overrides.dispose?.() ?? Promise.resolve();
    },
  };
  Comlink.expose(api, port2);

  return {
    calls,
    started,
    tasks,
    registered,
    get terminated() {
      return terminated;
    },
    say: (busy) => port2.postMessage(busyNotice(busy)),
    fire: (type, message) =>
      events.dispatchEvent(Object.assign(new Event(type), message === undefined ? {} : { message })),
    postMessage: (message: unknown, transfer?: Transferable[] | StructuredSerializeOptions) =>
      port1.postMessage(message, Array.isArray(transfer) ? transfer : []),
    addEventListener: (type: string, listener: EventListenerOrEventListenerObject) => {
      (type === 'message' ? port1 : events).addEventListener(type, listener);
      if (type === 'message') port1.start();
    },
    removeEventListener: (type: string, listener: EventListenerOrEventListenerObject) =>
      (type === 'message' ? port1 : events).removeEventListener(type, listener),
    terminate() {
      terminated = true;
      port1.close();
      port2.close();
    },
  };
}

/** A finished picture of three bytes. */
export function picture(fields: Partial<WirePicture> = {}): WirePicture {
  return {
    taskType: 'imageInference',
    taskUUID: '11111111-1111-4111-8111-111111111111',
    imageUUID: crypto.randomUUID(),
    seed: 42n,
    image: 0,
    width: 64,
    height: 128,
    mime: 'image/png',
    bytes: Uint8Array.of(1, 2, 250),
    outputType: 'URL',
    includeCost: false,
    backend: 'wasm',
    warnings: [],
    timings: { denoise: 5 },
    ...fields,
  };
}

/** The answer of a run that made these pictures. */
export function outcome(...pictures: readonly WirePicture[]): { readonly ok: true; readonly value: WireOutcome } {
  return {
    ok: true,
    value: { pictures: pictures.map(({ taskUUID, imageUUID }) => ({ taskUUID, imageUUID })), errors: [] },
  };
}

/** A run that makes these pictures. */
export function makes(...pictures: readonly WirePicture[]): FakeRun {
  return async (emit) => {
    for (const made of pictures) await emit({ kind: 'picture', picture: made });
    return outcome(...pictures);
  };
}

/** A run that stops only when it is cancelled, or never. */
export function lasts(obeys: boolean): FakeRun {
  return async (_emit, _tasks, cancelled) => {
    await (obeys ? cancelled : new Promise<never>(() => undefined));
    return { ok: false, errors: [{ code: 'aborted', message: 'Stopped.' }] };
  };
}
