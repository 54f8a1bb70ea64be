/** @file What crosses the worker boundary, as plain data (structured-cloneable). Types only. */
import type { ImageInfo } from '../assets/image-drivers.js';
import type { StoredModel, StoreStatus } from '../assets/store/model-store.js';
import type { WireError } from '../base/errors.js';
import type { ModelDetails } from '../models/details.js';
import type { WireEvent, WireOutcome } from '../pipeline/events.js';
import type { Fit } from '../pipeline/fit.js';
import type { FitOptions } from '../pipeline/will-it-fit.js';

export type { Fit, FitOptions, ImageInfo, StoredModel, StoreStatus };

export type {
  EvictEvent,
  FinishedPicture,
  PictureEvent,
  PreviewEvent,
  ProgressEvent,
  Stage,
  WireEvent,
  WireGuide,
  WireOutcome,
  WirePicture,
  WireUpload,
} from '../pipeline/events.js';

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

/** Where a model's files are: a URL, a Hub repo as `huggingface:owner/repo`, or files, which cross by structured clone; no bytes are copied. */
export type WireModelSource =
  | { readonly kind: 'url'; readonly url: string }
  | { readonly kind: 'files'; readonly files: readonly { readonly path: string; readonly file: Blob }[] };

/** A model to register: AIR or name, files, and what is said of it, which the worker checks. */
export interface WireModel extends ModelDetails {
  readonly air: string;
  readonly source: WireModelSource;
}

/** Worker functions never throw: comlink would drop code and fields (see docs/architecture.md §6). */
export type Settled<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly errors: readonly [WireError, ...WireError[]] };

/** Choices made once, when the worker starts. */
export interface WorkerOptions {
  /** `auto` = WebGPU where it works, else wasm (said in {@link DeviceInfo}). */
  readonly backend: 'auto' | 'webgpu' | 'wasm';
  /** Registered, in this order, before the first task. */
  readonly models: readonly WireModel[];
  /** Sessions refuse operators that fall back to the CPU (tests). */
  readonly strictGpu: boolean;
  /** The most that kept pictures may take; absent: 512 MB, or a tenth of what the browser gives. */
  readonly imageStoreBytes?: number;
  /** What pictures may take on the GPU, where the page says so. */
  readonly memoryBudgetBytes?: number;
  /** Whether files of models that come over the network stay in this browser. */
  readonly keepModels: boolean;
  /** `Authorization` headers by host. */
  readonly authorization: Readonly<Record<string, string>>;
  /**
   * A Web Lock's name. The worker takes it (`holdLifeLock` of life-lock.ts) before `start` answers and never gives it back:
   * the browser releases it when the worker dies, which nothing else tells the page.
   */
  readonly lifeLock?: string;
}

/** What the worker exposes through comlink. `onEvent` is a top-level comlink proxy. */
export interface PipelineWorker {
  start(options: WorkerOptions): Promise<Settled<DeviceInfo>>;
  registerModel(model: WireModel): Promise<Settled<void>>;
  /**
   * Runs tasks in order: an array is checked as raw tasks (`parseTasks`), anything else as one request with the liberties of
   * `imageInference()` (`parseRequest`). `onEvent` should be released (`onEvent[releaseProxy]()`) at the end.
   */
  run(jobId: string, tasks: unknown, onEvent: (event: WireEvent) => void): Promise<Settled<WireOutcome>>;
  /** Stops within one step; the run's promise then settles with `aborted` errors. */
  cancel(jobId: string): Promise<void>;
  /** One request or task, as {@link PipelineWorker.run} takes it; reads configs and weight headers only. */
  willItFit(request: unknown, options: FitOptions): Promise<Settled<Fit>>;
  /** Kept pictures, the last used first. */
  listImages(): Promise<Settled<readonly ImageInfo[]>>;
  /** A kept picture's file. */
  readImage(imageUUID: string): Promise<Settled<{ readonly info: ImageInfo; readonly data: Uint8Array<ArrayBuffer> }>>;
  /** Whether there was such a picture. */
  deleteImage(imageUUID: string): Promise<Settled<boolean>>;
  clearImages(): Promise<Settled<void>>;
  listModels(): Promise<Settled<readonly StoredModel[]>>;
  storeStatus(): Promise<Settled<StoreStatus>>;
  deleteModel(id: string): Promise<Settled<void>>;
  pinModel(id: string, pinned: boolean): Promise<Settled<void>>;
  /** Bytes of GPU buffers that are alive, for tests and the demo. */
  memory(): Promise<{ readonly gpuBytes: number; readonly gpuBuffers: number }>;
  dispose(): Promise<void>;
}
