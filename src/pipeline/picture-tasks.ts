/** @file The tasks that need no diffusion model: a picture that is uploaded, and a picture that becomes a ControlNet's guide. Order, no maths. */
import { throwIfAborted } from '../base/errors.js';
import { encodeFile } from '../image/encode-file.js';
import type { EncodePicture } from '../image/encode.js';
import { resize } from '../image/resize.js';
import type { ImageUploadTask, PreprocessTask } from '../request/task.js';
import type { WireEvent, WireGuide, WireUpload } from './events.js';
import type { Keeper } from './keeper.js';
import { boundedSize, loadPictureFile, type PictureDeps } from './pictures.js';
import type { Preprocess } from './preprocess/run.js';
import { createProgress, type Progress } from './progress.js';

export interface PictureTaskContext {
  readonly pictures: PictureDeps;
  readonly preprocess: Preprocess;
  readonly encodePicture: EncodePicture;
  readonly keeper: Keeper;
  readonly newUUID: () => string;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  readonly onEvent: (event: WireEvent) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Keeps a picture; it is read whole first, so that what is kept is a picture. One that is kept already stays the same.
 * @throws as `loadPictureFile`
 */
export async function uploadImage(task: ImageUploadTask, context: PictureTaskContext): Promise<WireUpload> {
  const { taskType, taskUUID, warnings } = task;
  const progress = progressOf(task, context);
  const { picture, file, imageUUID } = await progress.stage('download', () =>
    loadPictureFile(context.pictures, task.image, { parameter: 'image', taskType, signal: context.signal }),
  );
  const { width, height } = picture;
  const upload = { taskType, taskUUID, imageUUID: imageUUID ?? context.newUUID(), width, height, ...file, warnings };
  if (imageUUID === undefined) context.keeper.keep(upload);
  context.onEvent({ kind: 'upload', upload });
  return upload;
}

/**
 * Draws a guide; it is kept, and so is the picture it was drawn from.
 * @throws as `loadPictureFile` and the preprocessor
 */
export async function preprocessImage(task: PreprocessTask, context: PictureTaskContext): Promise<WireGuide> {
  const { taskType, taskUUID, outputType, includeCost, warnings } = task;
  const { signal, keeper, newUUID, encodePicture } = context;
  const progress = progressOf(task, context);
  const input = await progress.stage('download', () =>
    loadPictureFile(context.pictures, task.inputImage, { parameter: 'inputImage', taskType, signal }),
  );
  const { width, height } = boundedSize(input.picture, task);
  const drawn = await progress.stage('preprocess', () =>
    context.preprocess(resize(input.picture, width, height, 'lanczos'), requestOf(task), {
      signal,
      onProgress: reportLoading(progress),
    }),
  );
  throwIfAborted(signal);
  const file = await progress.stage('encode', () => encodeFile(drawn, task, encodePicture));
  const identity = { taskType, taskUUID, inputImageUUID: input.imageUUID ?? newUUID(), guideImageUUID: newUUID() };
  if (input.imageUUID === undefined) {
    const { width: w, height: h } = input.picture;
    keeper.keep({ taskUUID, imageUUID: identity.inputImageUUID, width: w, height: h, ...input.file });
  }
  const size = { width: drawn.width, height: drawn.height };
  // What a ControlNet will look at is kept without loss, whatever the caller gets.
  const lossless =
    file.mime === 'image/png' ? file : await encodeFile(drawn, { ...task, outputFormat: 'PNG' }, encodePicture);
  const { preProcessorType } = task;
  keeper.keep({ taskUUID, imageUUID: identity.guideImageUUID, ...size, ...lossless, preProcessorType });
  const timings = { ...progress.timings() };
  const guide: WireGuide = { ...identity, ...size, ...file, outputType, includeCost, warnings, timings };
  context.onEvent({ kind: 'guide', guide });
  return guide;
}

function progressOf({ taskUUID }: { readonly taskUUID: string }, { onEvent, now }: PictureTaskContext): Progress {
  return createProgress({ taskUUID, numberResults: 1 }, onEvent, now);
}

function requestOf(task: PreprocessTask): Parameters<Preprocess>[1] {
  return {
    type: task.preProcessorType,
    lowThreshold: task.lowThresholdCanny,
    highThreshold: task.highThresholdCanny,
    handsAndFace: task.includeHandsAndFaceOpenPose,
  };
}

/** A preprocessor tells how much it has read in all; progress wants what is new. */
function reportLoading(progress: Progress): (step: { readonly bytes?: number; readonly totalBytes?: number }) => void {
  let before = 0;
  return ({ bytes, totalBytes }) => {
    if (bytes === undefined || totalBytes === undefined) return;
    progress.bytes(bytes - before, totalBytes);
    before = bytes;
  };
}
