/** @file What a run tells while it goes on and when it ends, as plain data (structured-cloneable). Types only. */
import type { WireError } from '../base/errors.js';
import type { PictureMime } from '../image/image-header.js';
import type { OutputMime } from '../image/encode-file.js';
import type { OutputType, PreprocessTaskType } from '../request/task.js';

/** Where a task is. `download`, `convert` (weights are rounded, once for all) and `load` count bytes, `denoise` counts steps, and so does `decode` where a picture is decoded in bands; `preprocess` draws a guide picture. */
export type Stage =
  'queue' | 'download' | 'convert' | 'load' | 'compile' | 'text' | 'denoise' | 'decode' | 'encode' | 'preprocess';

/** Progress of one task. */
export interface ProgressEvent {
  readonly kind: 'progress';
  readonly taskUUID: string;
  readonly stage: Stage;
  /** Which picture of `numberResults`, from 0. */
  readonly image: number;
  readonly images: number;
  /** Steps done and in all; only in `denoise`, and in `decode` of a picture in bands: runs of its bands. */
  readonly step?: number;
  readonly of?: number;
  /** Bytes done and in all; only in `download`, there of all files of the task whose sizes are known, in `convert`, of what is stored, and in `load`. */
  readonly bytes?: number;
  readonly totalBytes?: number;
  /** Mean of the last seconds; only in `download`. */
  readonly bytesPerSecond?: number;
  /** Seconds that a step takes: the mean of the last ones; before the second, what is expected of this device where that is known (FLUX.1). */
  readonly secondsPerStep?: number;
  /** Estimated seconds until this picture's steps are done, in `download` until all of them are there; absent until it can be told. */
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

/** A guide picture that a preprocessor drew. */
export interface GuideEvent {
  readonly kind: 'guide';
  readonly guide: WireGuide;
}

/** A picture that is kept from now on. */
export interface UploadEvent {
  readonly kind: 'upload';
  readonly upload: WireUpload;
}

/** Kept pictures that were deleted to make room for new ones: their UUIDs lead nowhere now. */
export interface EvictEvent {
  readonly kind: 'evict';
  readonly taskUUID: string;
  readonly imageUUIDs: readonly string[];
}

export type WireEvent = ProgressEvent | PreviewEvent | PictureEvent | GuideEvent | UploadEvent | EvictEvent;

/** One finished picture as encoded file bytes. */
export interface WirePicture {
  readonly taskType: 'imageInference';
  readonly taskUUID: string;
  readonly imageUUID: string;
  readonly seed: bigint;
  readonly image: number;
  readonly width: number;
  readonly height: number;
  readonly mime: OutputMime;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** How the caller wants it delivered; the client turns `bytes` into that. */
  readonly outputType: OutputType;
  readonly includeCost: boolean;
  /** Which device made it, and everything that was ignored or fell back. */
  readonly backend: 'webgpu' | 'wasm';
  readonly warnings: readonly string[];
  /** Wall time of this picture's stages in milliseconds. */
  readonly timings: Readonly<Partial<Record<Stage, number>>>;
}

/** A guide picture as encoded file bytes. */
export interface WireGuide {
  /** As it was sent. */
  readonly taskType: PreprocessTaskType;
  readonly taskUUID: string;
  /** The picture it was drawn from, which is kept too. */
  readonly inputImageUUID: string;
  readonly guideImageUUID: string;
  readonly width: number;
  readonly height: number;
  readonly mime: OutputMime;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly outputType: OutputType;
  readonly includeCost: boolean;
  readonly warnings: readonly string[];
  readonly timings: Readonly<Partial<Record<Stage, number>>>;
}

/** An uploaded picture, as the file it came in. */
export interface WireUpload {
  readonly taskType: 'imageUpload';
  readonly taskUUID: string;
  readonly imageUUID: string;
  readonly width: number;
  readonly height: number;
  readonly mime: PictureMime;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly warnings: readonly string[];
}

/** The end of a run: every result was already sent as an event; errors are those of tasks that failed. */
export interface WireOutcome {
  /** In the order of the tasks; of a guide the UUID is its `guideImageUUID`. */
  readonly pictures: readonly FinishedPicture[];
  readonly errors: readonly WireError[];
  /** ONNX Runtime has ended in the middle of something, and there is one in a thread: the next run needs another worker. */
  readonly spent?: boolean;
}

export interface FinishedPicture {
  readonly taskUUID: string;
  readonly imageUUID: string;
  /** What showed after the picture was sent: that it could not be kept, that others had to go. Absent when nothing did. */
  readonly warnings?: readonly string[];
}
