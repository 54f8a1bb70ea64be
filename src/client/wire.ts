/** @file What crosses the worker boundary, as plain data (structured-cloneable). Types only. */
import type { WireError } from '../base/errors.js';

/** Where a task is. `download` and `load` count bytes, `denoise` counts steps. */
export type Stage = 'queue' | 'download' | 'load' | 'compile' | 'text' | 'denoise' | 'decode' | 'encode';

/** Progress of one task. */
export interface ProgressEvent {
  readonly kind: 'progress';
  readonly taskUUID: string;
  readonly stage: Stage;
  /** Which picture of `numberResults`, from 0. */
  readonly image: number;
  readonly images: number;
  /** Steps done and in all; only in `denoise`. */
  readonly step?: number;
  readonly of?: number;
  /** Bytes done and in all; only in `download` and `load`. */
  readonly bytes?: number;
  readonly totalBytes?: number;
  /** Estimated seconds until this picture's steps are done; absent until it can be told. */
  readonly secondsLeft?: number;
}

/** A cheap picture of the denoised estimate (latent → RGB, one pixel per 8×8 block), after each step. */
export interface PreviewEvent {
  readonly kind: 'preview';
  readonly taskUUID: string;
  readonly image: number;
  readonly step: number;
  readonly of: number;
  readonly width: number;
  readonly height: number;
  /** RGBA, 8 bit, row by row; `width·height·4` bytes. */
  readonly rgba: Uint8ClampedArray<ArrayBuffer>;
}

/** A finished picture, sent as soon as it is there. */
export interface PictureEvent {
  readonly kind: 'picture';
  readonly picture: WirePicture;
}

export type WireEvent = ProgressEvent | PreviewEvent | PictureEvent;

/** One finished picture as encoded file bytes. */
export interface WirePicture {
  readonly taskType: 'imageInference';
  readonly taskUUID: string;
  readonly imageUUID: string;
  readonly seed: bigint;
  readonly image: number;
  readonly width: number;
  readonly height: number;
  readonly mime: 'image/png' | 'image/jpeg' | 'image/webp';
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** How the caller wants it delivered; the client turns `bytes` into that. */
  readonly outputType: 'URL' | 'dataURI' | 'base64Data';
  readonly includeCost: boolean;
  /** Which device made it, and everything that was ignored or fell back. */
  readonly backend: 'webgpu' | 'wasm';
  readonly warnings: readonly string[];
  /** Wall time of this picture's stages in milliseconds. */
  readonly timings: Readonly<Partial<Record<Stage, number>>>;
}

/** The end of a run: every picture was already sent as an event; errors are those of tasks that failed. */
export interface WireOutcome {
  readonly pictures: readonly { readonly taskUUID: string; readonly imageUUID: string }[];
  readonly errors: readonly WireError[];
}

/** Which device runs, and why. */
export interface DeviceInfo {
  readonly backend: 'webgpu' | 'wasm';
  /** One sentence for people: why this backend, e.g. "This browser has no WebGPU." */
  readonly why: string;
  /** ONNX Runtime build in use. */
  readonly build: 'jspi' | 'asyncify' | 'wasm';
  readonly adapter?: { readonly vendor: string; readonly architecture: string; readonly description: string };
  readonly dtype: 'float32' | 'float16';
  /** WebGPU features that were offered but withheld by the self-test, with the reason. */
  readonly withheld: readonly { readonly feature: string; readonly why: string }[];
}

/** Where a model's files are. Files cross by structured clone; no bytes are copied. */
export type WireModelSource =
  | { readonly kind: 'url'; readonly url: string }
  | { readonly kind: 'files'; readonly files: readonly { readonly path: string; readonly file: Blob }[] };

/** Worker functions never throw: comlink would drop code and fields (see docs/architecture.md §6). */
export type Settled<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly errors: readonly [WireError, ...WireError[]] };

/** Choices made once, when the worker starts. */
export interface WorkerOptions {
  /** `auto` = WebGPU where it works, else wasm (said in {@link DeviceInfo}). */
  readonly backend: 'auto' | 'webgpu' | 'wasm';
  /** AIR or name → where its files are; registered before the first task. */
  readonly models: Readonly<Record<string, WireModelSource>>;
  /** Sessions refuse operators that fall back to the CPU (tests). */
  readonly strictGpu: boolean;
}

/** What the worker exposes through comlink. `onEvent` is a top-level comlink proxy. */
export interface PipelineWorker {
  start(options: WorkerOptions): Promise<Settled<DeviceInfo>>;
  registerModel(name: string, source: WireModelSource): Promise<Settled<void>>;
  /** Runs an array of raw tasks (unknown JSON) in order. */
  run(jobId: string, tasks: unknown, onEvent: (event: WireEvent) => void): Promise<Settled<WireOutcome>>;
  /** Stops within one step; the run's promise then settles with `aborted` errors. */
  cancel(jobId: string): Promise<void>;
  /** Bytes of GPU buffers that are alive, for tests and the demo. */
  memory(): Promise<{ readonly gpuBytes: number; readonly gpuBuffers: number }>;
  dispose(): Promise<void>;
}
