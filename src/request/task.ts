/** @file The checked form of every task: what `parseTasks` makes and the planner reads. Data only. */
import type { ImageInput } from './image-reference.js';
import type { PreProcessorType } from './preprocessors.js';
import type { SchedulerName } from './scheduler-names.js';

export type OutputType = 'URL' | 'dataURI' | 'base64Data';
export type OutputFormat = 'JPG' | 'PNG' | 'WEBP';
export type ControlMode = 'prompt' | 'controlnet' | 'balanced';
export type PromptWeighting = 'compel' | 'sdEmbeds';

/** `refiner`: the SDXL refiner takes over at a step (of the base's schedule) or at a percentage. */
export interface RefinerRequest {
  readonly model: string;
  /** The base runs this many steps; 2…steps. */
  readonly startStep?: number;
  /** 1…99. */
  readonly startStepPercentage?: number;
}

/** One entry of `controlNet[]`. Steps are 1-based and inclusive. */
export interface ControlNetRequest {
  readonly model: string;
  /** As sent: UUID, data URI, base64, URL or file. */
  readonly guideImage: ImageInput;
  readonly weight: number;
  readonly startStep?: number;
  readonly startStepPercentage?: number;
  readonly endStep?: number;
  readonly endStepPercentage?: number;
  readonly controlMode: ControlMode;
  /** Number of the kind of guide, for union nets. Ours, not the cloud's. */
  readonly unionMode?: number;
}

/** One entry of `lora[]` or `embeddings[]`; weight −4…4. */
export interface WeightedModel {
  readonly model: string;
  readonly weight: number;
}

/** How a result comes back. */
export interface OutputChoice {
  readonly outputType: OutputType;
  readonly outputFormat: OutputFormat;
  /** 20…99. */
  readonly outputQuality: number;
  readonly includeCost: boolean;
}

/** A checked text-to-image task. Absent optional parameters take the model's default when the plan is made. */
export interface ImageInferenceTask extends OutputChoice {
  readonly taskType: 'imageInference';
  readonly taskUUID: string;
  /** `__BLANK__` is kept as sent. */
  readonly positivePrompt: string;
  readonly negativePrompt?: string;
  readonly model: string;
  readonly width?: number;
  readonly height?: number;
  readonly steps?: number;
  readonly CFGScale?: number;
  readonly scheduler?: SchedulerName;
  /** 1…2^63−1; absent = random 32-bit, chosen when the plan is made. */
  readonly seed?: bigint;
  readonly vae?: string;
  readonly clipSkip: number;
  readonly refiner?: RefinerRequest;
  readonly controlNet: readonly ControlNetRequest[];
  readonly lora: readonly WeightedModel[];
  readonly embeddings: readonly WeightedModel[];
  /** Syntax of weights in the prompts; absent = parentheses are text. */
  readonly promptWeighting?: PromptWeighting;
  /** FLUX.1: guidance by the negative prompt, with a second pass a step; 1…20. Ours, not the cloud's. */
  readonly trueCFGScale?: number;
  /** FLUX.1: tokens that T5 pads the prompt to; 1…512. Ours, not the cloud's. */
  readonly maxSequenceLength?: number;
  /** As sent; the picture to start from. */
  readonly seedImage?: ImageInput;
  /** As sent; white is changed, black is kept. Only with `seedImage`. */
  readonly maskImage?: ImageInput;
  /** Pixels, 32…128. */
  readonly maskMargin?: number;
  /** 0…1. */
  readonly strength?: number;
  readonly numberResults: number;
  /** What was accepted but has no effect (unknown keys and the like), one sentence each. */
  readonly warnings: readonly string[];
}

/** A picture to keep: later tasks name it by the UUID that comes back. */
export interface ImageUploadTask {
  readonly taskType: 'imageUpload';
  readonly taskUUID: string;
  /** As sent. */
  readonly image: ImageInput;
  readonly warnings: readonly string[];
}

/** The two names of one task: the cloud's present one, and the one that its SDKs send. */
export type PreprocessTaskType = 'controlNetPreprocess' | 'imageControlNetPreProcess';

/** A picture that becomes a ControlNet's guide. */
export interface PreprocessTask extends OutputChoice {
  /** As sent. */
  readonly taskType: PreprocessTaskType;
  readonly taskUUID: string;
  /** As sent. */
  readonly inputImage: ImageInput;
  readonly preProcessorType: PreProcessorType;
  /** Pixels, at most: a larger picture is made smaller, a smaller one stays. One alone keeps the shape. */
  readonly width?: number;
  readonly height?: number;
  /** 0…255; below `highThresholdCanny`. */
  readonly lowThresholdCanny: number;
  readonly highThresholdCanny: number;
  readonly includeHandsAndFaceOpenPose: boolean;
  readonly warnings: readonly string[];
}

/** Every checked task. */
export type Task = ImageInferenceTask | ImageUploadTask | PreprocessTask;
