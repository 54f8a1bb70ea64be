/** @file What a run tells while it goes on and when it ends, as plain data (structured-cloneable). Types only. */
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
