/** @file The package's public names; at most twelve. Everything heavy is in the worker. */
export { createDarkroom } from './client/darkroom.js';
export type { Darkroom, DarkroomOptions, ImageResult, RunOptions } from './client/types.js';
export type { DeviceInfo, PreviewEvent, ProgressEvent } from './client/wire.js';
export { DarkroomError } from './base/errors.js';
export type { ImageInferenceRequest } from './request/request.js';
export { SCHEDULER_NAMES } from './request/scheduler-names.js';
export { readPictureRequest } from './image/restore.js';
