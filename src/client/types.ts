/** @file The public face of Darkroom: what a page passes in and gets back. Types only. */
import type { WireError } from '../base/errors.js';
import type { ModelDetails } from '../models/details.js';
import type { ControlNetPreprocessRequest, ImageInferenceRequest, ImageUploadRequest } from '../request/request.js';
import type {
  DeviceInfo,
  EvictEvent,
  Fit,
  FitOptions,
  ImageInfo,
  PreviewEvent,
  ProgressEvent,
  Stage,
  StoredModel,
  StoreStatus,
} from './wire.js';

/**
 * Where a model's files are: the URL of a folder or of one `.safetensors` or `.gguf` file, a Hub repo (`huggingface:owner/repo@revision`), files
 * the visitor chose (`<input type="file" webkitdirectory>` or a drop), or a handle from `showDirectoryPicker()` or `showOpenFilePicker()`.
 */
export type ModelSource =
  string | URL | File | Iterable<File> | ArrayLike<File> | FileSystemDirectoryHandle | FileSystemFileHandle;

/**
 * A model to register, and what is to be said of it. Card fields (`name`, `family`, `native`, `defaults`, …) hold where the model's files
 * say nothing; `overrides` beat the files.
 */
export interface ModelRegistration extends ModelDetails {
  /** What requests will say in `model`: an AIR (`civitai:4384@128713`, `urn:air:…`), or a name without a colon. */
  readonly air: string;
  readonly source: ModelSource;
}

/** The part of `Worker` that Darkroom uses. */
export type WorkerPort = Pick<Worker, 'postMessage' | 'addEventListener' | 'removeEventListener' | 'terminate'>;

/** How long Darkroom waits for the worker before it gives it up, in milliseconds. */
export interface Timeouts {
  /** For the first answer: the worker's script and ONNX Runtime load meanwhile. Default 120,000. */
  readonly startMs: number;
  /** While it shows no sign of life in a call that may block it: on the CPU, one step can for long. Default 600,000. */
  readonly silenceMs: number;
  /** While it shows none outside such calls: then it is caught in a loop, or gone. Default 30,000. */
  readonly freezeMs: number;
  /** For a cancelled task to stop by itself, which takes up to one step. Default 30,000. */
  readonly cancelMs: number;
}

export interface DarkroomOptions {
  /** `auto` (default) = WebGPU where it works, else the CPU; `device()` and every result say which. */
  readonly backend?: 'auto' | 'webgpu' | 'wasm';
  /**
   * Models by AIR or name, known from the start: sources, or sources with what is to be said of them. The bundled `darkroom:1@1` is
   * always there; naming it here replaces it.
   */
  readonly models?: Readonly<Record<string, ModelSource | Omit<ModelRegistration, 'air'>>>;
  /** Makes the worker, where a bundler needs help. Default: a module worker from `workers/pipeline.worker.js` beside this code. */
  readonly worker?: () => WorkerPort;
  /** Refuse to run anything on the CPU that belongs on the GPU; for tests. Default false. */
  readonly strictGpu?: boolean;
  /**
   * Whether files of models that come over the network stay in this browser. Default true: a model is downloaded once, resumed where it
   * was left, and works offline ever after. `false`: only what is needed is read, each time.
   */
  readonly keepModels?: boolean;
  /**
   * `Authorization` headers by host, for models that ask for a login: `{ 'huggingface.co': 'Bearer hf_…' }`. Sent to that host alone, over
   * https; never stored and never in a message.
   */
  readonly authorization?: Readonly<Record<string, string>>;
  /** The most that kept pictures may take, in bytes. Default: 512 MB, or a tenth of what the browser gives this site if that is less. */
  readonly imageStoreBytes?: number;
  /**
   * How much memory pictures may take on the GPU, in bytes, which no browser tells: networks are then kept, freed in turn or brought block by
   * block (FLUX.1) so that they fit. Above 0, or every call rejects with `invalidRequest`. Default: as much as there is, found out by running out of it.
   */
  readonly memoryBudgetBytes?: number;
  readonly timeouts?: Partial<Timeouts>;
}

export interface RunOptions {
  /** Stops the task: at once while it waits, within one step while it runs. The promise rejects at once with `aborted`. */
  readonly signal?: AbortSignal;
  /** Stages, bytes and steps; how long a step takes, and how long is left. */
  readonly onProgress?: (event: ProgressEvent) => void;
  /** After each step: a tiny picture (1/8 of the size) of what is coming. */
  readonly onPreview?: (event: PreviewEvent) => void;
  /** Each picture as soon as it is there. */
  readonly onPicture?: (picture: ImageResult) => void;
  /** Kept pictures were deleted to make room for new ones: those not used for the longest time. The result has a warning too. */
  readonly onEvict?: (event: EvictEvent) => void;
}

/** One finished picture, in the cloud's form; the fields from `width` on are additions to it. */
export interface ImageResult {
  readonly taskType: 'imageInference';
  readonly taskUUID: string;
  readonly imageUUID: string;
  /** Rounded above 2^53; then `seedString` has every digit. */
  readonly seed: number;
  readonly seedString?: string;
  /** Exactly one of these three, as `outputType` says. The URL is valid until `release(imageURL)` or `dispose()`. */
  readonly imageURL?: string;
  readonly imageDataURI?: string;
  readonly imageBase64Data?: string;
  /** Always 0, and only with `includeCost`. */
  readonly cost?: 0;
  readonly width: number;
  readonly height: number;
  /** The encoded file. */
  readonly blob: Blob;
  readonly backend: 'webgpu' | 'wasm';
  /** What was ignored or fell back, one sentence each. */
  readonly warnings: readonly string[];
  /** Milliseconds by stage. */
  readonly timings: Readonly<Partial<Record<Stage, number>>>;
}

/** A guide picture that a preprocessor drew, in the cloud's form; the fields from `width` on are additions to it. */
export interface GuideResult {
  /** As it was sent. */
  readonly taskType: 'controlNetPreprocess' | 'imageControlNetPreProcess';
  readonly taskUUID: string;
  /** The picture it was drawn from; kept, like the guide. */
  readonly inputImageUUID: string;
  /** For `controlNet[].guideImage`. The kept guide is without loss, whatever `outputFormat` says. */
  readonly guideImageUUID: string;
  /** Exactly one of these three, as `outputType` says. The URL is valid until `release(guideImageURL)` or `dispose()`. */
  readonly guideImageURL?: string;
  readonly guideImageDataURI?: string;
  readonly guideImageBase64Data?: string;
  /** Always 0, and only with `includeCost`. */
  readonly cost?: 0;
  readonly width: number;
  readonly height: number;
  /** The encoded file. */
  readonly blob: Blob;
  readonly warnings: readonly string[];
  /** Milliseconds by stage. */
  readonly timings: Readonly<Partial<Record<Stage, number>>>;
}

/** A picture that is kept from now on; the fields from `width` on are additions to the cloud's form. */
export interface UploadResult {
  readonly taskType: 'imageUpload';
  readonly taskUUID: string;
  /** What later requests name it by. */
  readonly imageUUID: string;
  /** Valid until `release(imageURL)` or `dispose()`. */
  readonly imageURL: string;
  readonly width: number;
  readonly height: number;
  readonly blob: Blob;
  readonly warnings: readonly string[];
}

/** What a task of any type gives. */
export type TaskResult = ImageResult | GuideResult | UploadResult;

/** Pictures that were made or uploaded here, kept in the browser over visits; all tabs of a site share them. Each call starts the worker. */
export interface KeptImages {
  /** The last used first. */
  list(): Promise<readonly ImageInfo[]>;
  /** The picture's file. @throws `imageNotFound` */
  read(imageUUID: string): Promise<Blob>;
  /** Whether there was such a picture. */
  delete(imageUUID: string): Promise<boolean>;
  clear(): Promise<void>;
}

/** Files of models that were downloaded, kept in the browser over visits; all tabs of a site share them. Each call starts the worker. */
export interface StoredModels {
  list(): Promise<readonly StoredModel[]>;
  /** Where models are kept, how much room there is, and why none are where that is so. */
  status(): Promise<StoreStatus>;
  /** @param id of {@link StoredModels.list} */
  delete(id: string): Promise<void>;
  /** A pinned model is not deleted to make room for another. */
  pin(id: string, pinned: boolean): Promise<void>;
  /** Asks the browser not to clear this site's storage by itself when the disk is full; it may ask the visitor. Whether it agreed. */
  persist(): Promise<boolean>;
}

/** The cloud's response: `errors` only where a task failed, `data` only where a picture was made. */
export interface RunResponse {
  readonly data?: readonly TaskResult[];
  readonly errors?: readonly WireError[];
}

/** A picture maker. It owns one worker, started on first use, which runs one call at a time; further calls wait in order. */
export interface Darkroom {
  /**
   * Makes the pictures of one request. `taskType` and `taskUUID` may be left out.
   * @throws `DarkroomError` with every problem in `errors`; pictures already made were given to `onPicture`.
   * @example
   * const darkroom = createDarkroom();
   * const [picture] = await darkroom.imageInference({ positivePrompt: 'a red house', model: 'darkroom:1@1' });
   * document.body.append(Object.assign(new Image(), { src: picture.imageURL }));
   */
  imageInference(request: ImageInferenceRequest, options?: RunOptions): Promise<readonly ImageResult[]>;
  /** The same as `imageInference`, under the name older SDKs use. */
  requestImages(request: ImageInferenceRequest, options?: RunOptions): Promise<readonly ImageResult[]>;
  /**
   * Draws the guide of a ControlNet: the edges, depth, pose, … of a picture.
   * @throws `DarkroomError` with every problem in `errors`
   * @example
   * const guide = await darkroom.controlNetPreprocess({ inputImage: file, preProcessorType: 'canny' });
   * const controlNet = [{ model: 'civitai:38784@44716', guideImage: guide.guideImageUUID }];
   */
  controlNetPreprocess(request: ControlNetPreprocessRequest, options?: RunOptions): Promise<GuideResult>;
  /** The same, under the name the cloud's SDK has too. */
  controlNetPreProcess(request: ControlNetPreprocessRequest, options?: RunOptions): Promise<GuideResult>;
  /**
   * Keeps a picture, so that requests can name it by a UUID. A request can also hold the picture itself; then nothing is kept.
   * @throws `DarkroomError` with `invalidImage`, `downloadFailed`, …
   * @example
   * const { imageUUID } = await darkroom.imageUpload({ image: file });
   */
  imageUpload(request: ImageUploadRequest, options?: RunOptions): Promise<UploadResult>;
  /** Pictures that were made or uploaded here. */
  readonly images: KeptImages;
  readonly models: StoredModels;
  /**
   * Runs an array of tasks in the cloud's wire form. Failed tasks are reported in `errors`, beside what succeeded.
   * @throws `DarkroomError` only for `aborted`, `workerDied` and `disposed`.
   */
  run(tasks: readonly unknown[], options?: RunOptions): Promise<RunResponse>;
  /**
   * Makes a model known under an AIR or a name, for the `model` field of requests; starts the worker. Registering again replaces.
   * @throws `invalidModel` for a wrong AIR or address, `missingModelFile` when the source cannot hold a model, `invalidModelConfig`
   * naming the wrong field of what is said about it.
   * @example
   * await darkroom.registerModel({ air: 'civitai:4384@128713', source: file, defaults: { steps: 30 } });
   */
  registerModel(model: ModelRegistration): Promise<void>;
  registerModel(name: string, source: ModelSource): Promise<void>;
  /** Which device runs, and why; starts the worker. */
  device(): Promise<DeviceInfo>;
  /**
   * Whether a request would fit into memory, and why: from the model's configs and weight headers, before its weights are downloaded.
   * Starts the worker. Without a budget only the device's limits can say no, since no browser tells how much video memory there is.
   * @throws `DarkroomError` for what is wrong with the request or its model
   * @example
   * const { fits, reason } = await darkroom.willItFit(request, { memoryBudgetBytes: 8e9 });
   */
  willItFit(request: ImageInferenceRequest, options?: FitOptions): Promise<Fit>;
  /** Bytes and number of the GPU buffers that are alive; starts the worker. */
  memory(): Promise<{ readonly gpuBytes: number; readonly gpuBuffers: number }>;
  /** Frees a picture's `imageURL` (a guide's `guideImageURL`). Its `blob` stays usable. */
  release(imageURL: string): void;
  /** Ends the worker and frees every `imageURL`. Calls under way, and all later ones, reject with `disposed`. */
  dispose(): Promise<void>;
}
