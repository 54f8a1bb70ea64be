/** @file The one error class of Darkroom, its closed set of codes, and its wire form (the cloud's error object). Imports nothing. */

/** Parameters of a task that have a rule of their own; each gives the codes `invalid…` and `missing…`. */
export type Parameter =
  | 'TaskType'
  | 'TaskUUID'
  | 'PositivePrompt'
  | 'NegativePrompt'
  | 'Model'
  | 'Width'
  | 'Height'
  | 'Steps'
  | 'CFGScale'
  | 'Scheduler'
  | 'Seed'
  | 'Vae'
  | 'ClipSkip'
  | 'Refiner'
  | 'RefinerModel'
  | 'RefinerStartStep'
  | 'RefinerStartStepPercentage'
  | 'ControlNet'
  | 'ControlNetModel'
  | 'ControlNetGuideImage'
  | 'ControlNetWeight'
  | 'ControlNetStartStep'
  | 'ControlNetStartStepPercentage'
  | 'ControlNetEndStep'
  | 'ControlNetEndStepPercentage'
  | 'ControlNetControlMode'
  | 'ControlNetUnionMode'
  | 'Lora'
  | 'LoraModel'
  | 'LoraWeight'
  | 'Embeddings'
  | 'EmbeddingsModel'
  | 'EmbeddingsWeight'
  | 'NumberResults'
  | 'OutputType'
  | 'OutputFormat'
  | 'OutputQuality'
  | 'IncludeCost'
  | 'PromptWeighting'
  | 'TrueCFGScale'
  | 'MaxSequenceLength'
  | 'SeedImage'
  | 'MaskImage'
  | 'MaskMargin'
  | 'Strength'
  | `Outpaint${'' | 'Top' | 'Right' | 'Bottom' | 'Left' | 'Blur'}`
  | 'ReferenceImages'
  | `IpAdapters${'' | 'Model' | 'GuideImage' | 'Weight'}`
  | 'Resolution'
  | 'Acceleration'
  | `AcceleratorOptions${'' | 'TeaCache' | 'TeaCacheDistance' | 'DeepCache' | 'DeepCacheInterval' | 'DeepCacheBranchId'}`
  | `AcceleratorOptionsCache${'Start' | 'End'}Step${'' | 'Percentage'}`
  | 'AcceleratorOptionsCacheMaxConsecutiveSteps'
  | `AdvancedFeatures${'' | 'LayerDiffuse'}`
  | `Safety${'' | 'CheckContent' | 'Mode'}`
  | 'CheckNSFW'
  | 'UploadEndpoint'
  | 'WebhookURL'
  | 'DeliveryMethod'
  | 'Ttl'
  | 'UsePromptWeighting'
  | 'UseCache'
  | 'PuLID'
  | 'AcePlusPlus'
  | 'PhotoMaker'
  | 'InstantID'
  | 'Lycoris'
  | 'Ultralytics'
  | 'ProviderSettings'
  | 'Settings'
  | 'Inputs'
  | 'Image'
  | 'InputImage'
  | 'PreProcessorType'
  | 'LowThresholdCanny'
  | 'HighThresholdCanny'
  | 'IncludeHandsAndFaceOpenPose'
  | 'Task'
  | 'Request';

/** Every code that Darkroom reports. Request codes follow the cloud's naming; the rest say which stage failed. */
export type ErrorCode =
  | `invalid${Parameter}`
  | `missing${Parameter}`
  | 'conflictTaskUUID'
  | 'conflictParameters'
  | 'unsupportedParameter'
  | 'unsupportedTaskType'
  | 'unsupportedScheduler'
  | 'unsupportedModel'
  | 'unsupportedPreProcessorType'
  | 'modelNotFound'
  | 'invalidModelFile'
  | 'invalidModelConfig'
  | 'missingModelFile'
  | 'missingWeight'
  | 'incompatibleLora'
  | 'pickleRefused'
  | 'incompatibleEmbedding'
  | 'incompatibleControlNet'
  | 'downloadFailed'
  | 'accessDenied'
  | 'hashMismatch'
  | 'storageFull'
  | 'storageFailed'
  | 'invalidGraph'
  | 'deviceUnavailable'
  | 'deviceLost'
  | 'outOfMemory'
  | 'runtimeFailed'
  | 'notFinite'
  | 'imageNotFound'
  | 'aborted'
  | 'workerDied'
  | 'disposed'
  | 'internalError';

/** The cloud's error object: what crosses the worker boundary and what `errors` of a response holds. Absent fields are left out. */
export interface WireError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly parameter?: string;
  /** JSON type of the parameter, e.g. `integer`, `float`, `string`, `string[]`. */
  readonly type?: string;
  readonly documentation?: string;
  readonly taskUUID?: string;
  readonly taskType?: string;
  readonly min?: number | string;
  readonly max?: number | string;
  readonly multiplier?: number;
  readonly allowedValues?: readonly (string | number | boolean)[];
  /** What to do about it; additive to the cloud's fields. */
  readonly hint?: string;
}

/**
 * The only error that Darkroom throws on purpose.
 * `errors` holds every problem found (validation reports all at once); the first one gives `code` and `message`.
 */
export class DarkroomError extends Error {
  override readonly name = 'DarkroomError';
  readonly errors: readonly [WireError, ...WireError[]];

  constructor(problem: WireError | readonly [WireError, ...WireError[]], options: { readonly cause?: unknown } = {}) {
    const errors = isList(problem) ? problem : ([problem] as const);
    const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : '';
    super(errors[0].message + more, options);
    this.errors = errors;
  }

  get code(): ErrorCode {
    return this.errors[0].code;
  }
  /** The cloud SDK rejects with `{error}`; this keeps `e.error.code` working there. */
  get error(): WireError {
    return this.errors[0];
  }
  get hint(): string | undefined {
    return this.errors[0].hint;
  }
}

function isList(
  problem: WireError | readonly [WireError, ...WireError[]],
): problem is readonly [WireError, ...WireError[]] {
  return Array.isArray(problem);
}

/** Short form: `throw fail('invalidModelFile', 'unet/x.safetensors: …', { hint })`. */
export function fail(
  code: ErrorCode,
  message: string,
  more: Partial<WireError> & { readonly cause?: unknown } = {},
): DarkroomError {
  const { cause, ...fields } = more;
  return new DarkroomError({ ...fields, code, message }, cause === undefined ? {} : { cause });
}

/** Anything thrown → the wire form; unknown errors become `internalError` with their message, never their stack. */
export function toWireErrors(error: unknown): readonly [WireError, ...WireError[]] {
  if (error instanceof DarkroomError) return error.errors;
  const message = error instanceof Error ? error.message : String(error);
  return [{ code: 'internalError', message }];
}

/** A broken invariant of our own code (not of the input). */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw fail('internalError', `Invariant broken: ${message}`);
}

/** Throws the typed `aborted` error when `signal` has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw fail('aborted', 'The task was aborted.');
}
