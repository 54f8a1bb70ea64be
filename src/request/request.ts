/**
 * @file What a caller writes: the cloud's requests as types. Types only. They tell what the checks of `parameters.ts` and
 * `other-parameters.ts` accept; a request from elsewhere is `unknown` and goes through the same checks.
 */
import type { PreProcessorType } from './preprocessors.js';
import type { SchedulerName } from './scheduler-names.js';
import type { ControlMode, OutputFormat, OutputType, PromptWeighting } from './task.js';
import type { UnionMode } from './union-modes.js';

/** A model: an AIR such as `civitai:4384@128713`, a registered name, or a URL. 1–4096 characters. */
export type ModelReference = string;

/**
 * A picture: the UUID of an earlier result or upload, a data URI, bare base64, an http(s) or blob: URL, or a file (PNG, JPG, WEBP). Pages
 * may also pass what they have in their hands; it is turned into a file when the call is made.
 */
export type ImageReference =
  string | Blob | ImageData | ImageBitmap | HTMLImageElement | HTMLCanvasElement | OffscreenCanvas;

/** A picture from a prompt. Only `positivePrompt` is always needed. */
export interface ImageInferenceRequest extends NotYetSupported, CloudOnly {
  /** Default and only value: `imageInference`. Raw tasks must have it. */
  readonly taskType?: 'imageInference';
  /** Names the task in results and errors: an RFC 9562 UUID, once per array. Default: a new one. Raw tasks must have it. */
  readonly taskUUID?: string;
  /** What to draw: 2–3000 Unicode characters. `__BLANK__` draws without guidance by text. */
  readonly positivePrompt: string;
  /** What to avoid: 2–3000 Unicode characters. Without effect when `CFGScale` ≤ 1 and for models without guidance (FLUX). */
  readonly negativePrompt?: string;
  /** Default: the page's default model, if it has one. Raw tasks must have it. */
  readonly model?: ModelReference;
  /** Pixels, 128–2048 in multiples of 64. Default: the model's. Raw tasks must have it. */
  readonly width?: number;
  /** Pixels, 128–2048 in multiples of 64. Default: the model's. Raw tasks must have it. */
  readonly height?: number;
  /** Steps of the schedule, 1–100. Default: the model's, else 20. */
  readonly steps?: number;
  /** Guidance, 0–50; 0 to 1 is off. Default: the model's, else 7. */
  readonly CFGScale?: number;
  /** One of the 76 names, in any capitals. Default: the model's own scheduler. */
  readonly scheduler?: SchedulerName | (string & {});
  /** 1 … 2^63−1; picture i uses `seed + i`. Above 2^53−1 as bigint or decimal string. Default: a random 32-bit seed. */
  readonly seed?: number | bigint | string;
  /** Layers of the text encoder to skip on top of the model's own, 0–2. Default 0. CLIP models only. */
  readonly clipSkip?: number;
  /** Another VAE than the model's own. */
  readonly vae?: ModelReference;
  /** Syntax of weights in the prompts. Default: none, parentheses are text. */
  readonly promptWeighting?: PromptWeighting;
  /** FLUX.1 (not in the cloud): guidance by `negativePrompt`, 1–20, above 1 with a second pass a step; absent: off. */
  readonly trueCFGScale?: number;
  /** FLUX.1 (not in the cloud): tokens that the prompt is padded to, 1–512; it changes the picture. Default 512, schnell 256. */
  readonly maxSequenceLength?: number;
  /** SDXL only: a second model for the last steps. */
  readonly refiner?: {
    readonly model: ModelReference;
    /** The base runs this many steps, 2–`steps`. Not with `startStepPercentage`. Default: 90 %. */
    readonly startStep?: number;
    /** 1–99. Not with `startStep`. */
    readonly startStepPercentage?: number;
  };
  /** Pictures that guide the composition. At most 100. */
  readonly controlNet?: readonly ControlNetInput[];
  /** LoRA files; their effects add up. At most 100. */
  readonly lora?: readonly WeightedModelInput[];
  /** Textual inversions. At most 100. */
  readonly embeddings?: readonly WeightedModelInput[];
  /** Pictures to make, 1–20. Default 1. */
  readonly numberResults?: number;
  /** How the picture comes back. Default `URL` (a blob URL that this page owns). */
  readonly outputType?: OutputType;
  /** In any capitals. Default `JPG`. */
  readonly outputFormat?: OutputFormat | Lowercase<OutputFormat>;
  /** Quality of JPG and WEBP, 20–99. Default 95. */
  readonly outputQuality?: number;
  /** Adds `cost` to each result; it is always 0 here. Default false. */
  readonly includeCost?: boolean;
}

/** A picture to keep. */
export interface ImageUploadRequest {
  readonly taskType?: 'imageUpload';
  readonly taskUUID?: string;
  /** PNG, JPG or WEBP; also BMP and GIF (its first picture) where the browser reads them. */
  readonly image: ImageReference;
}

/** A picture that becomes a ControlNet's guide: its edges, depth, a pose, … */
export interface ControlNetPreprocessRequest {
  /** Either name means the same. Default `controlNetPreprocess`. */
  readonly taskType?: 'controlNetPreprocess' | 'imageControlNetPreProcess';
  readonly taskUUID?: string;
  readonly inputImage: ImageReference;
  /** In any capitals; the finer names of the cloud's SDK (`depth_midas`, …) stand for these. Default `canny`. */
  readonly preProcessorType?: PreProcessorType | (string & {});
  /** Pixels, at most: larger pictures are made smaller, smaller ones stay. One alone keeps the shape. Default: the picture's. */
  readonly width?: number;
  readonly height?: number;
  /** Canny: weaker changes are no edges; 0–255, below `highThresholdCanny`. Default 100. */
  readonly lowThresholdCanny?: number;
  /** Canny: stronger changes are edges; 0–255. Default 200. */
  readonly highThresholdCanny?: number;
  /** OpenPose: hands and face too. Default false. */
  readonly includeHandsAndFaceOpenPose?: boolean;
  /** How the guide comes back. Default `URL` (a blob URL that this page owns). */
  readonly outputType?: OutputType;
  /** In any capitals. Default `JPG`; `PNG` keeps edges sharp. */
  readonly outputFormat?: OutputFormat | Lowercase<OutputFormat>;
  /** Quality of JPG and WEBP, 20–99. Default 95. */
  readonly outputQuality?: number;
  /** Adds `cost` to the result; it is always 0 here. Default false. */
  readonly includeCost?: boolean;
}

/** Parameters with a meaning in a web page that have no effect yet: a request with one is refused, never half obeyed. */
export interface NotYetSupported {
  /** The picture to start from. */
  readonly seedImage?: ImageReference;
  /** White is changed, black is kept. Needs `seedImage`. */
  readonly maskImage?: ImageReference;
  /** Pixels around the mask, 32–128. */
  readonly maskMargin?: number;
  /** How far from the seed image, 0–1. The cloud's default is 0.8. */
  readonly strength?: number;
  /** Pixels to add on each side, multiples of 64 (`blur` 0–32). All 0 is accepted. Needs `seedImage`. */
  readonly outpaint?: {
    readonly top?: number;
    readonly right?: number;
    readonly bottom?: number;
    readonly left?: number;
    readonly blur?: number;
  };
  /** Pictures to draw on. */
  readonly referenceImages?: readonly ImageReference[];
  /** Pictures as prompts; weight 0–1. */
  readonly ipAdapters?: readonly {
    readonly model: ModelReference;
    readonly guideImage: ImageReference;
    readonly weight?: number;
  }[];
  /** `none` is accepted. */
  readonly acceleration?: 'none' | 'low' | 'medium' | 'high';
  /** Reuse of earlier steps' results; accepted while both caches are off. */
  readonly acceleratorOptions?: {
    /** Default false. */
    readonly teaCache?: boolean;
    /** 0–1. */
    readonly teaCacheDistance?: number;
    /** Default false. */
    readonly deepCache?: boolean;
    /** At least 1. */
    readonly deepCacheInterval?: number;
    /** At least 0. */
    readonly deepCacheBranchId?: number;
    /** 0–`steps`. Not with `cacheStartStepPercentage`. */
    readonly cacheStartStep?: number;
    /** 0–99. */
    readonly cacheStartStepPercentage?: number;
    /** Above `cacheStartStep`, at most `steps`. Not with `cacheEndStepPercentage`. */
    readonly cacheEndStep?: number;
    /** Above `cacheStartStepPercentage`, at most 100. */
    readonly cacheEndStepPercentage?: number;
    /** 1–5. */
    readonly cacheMaxConsecutiveSteps?: number;
  };
  /** Pictures with a transparent background; `layerDiffuse: false` is accepted. */
  readonly advancedFeatures?: { readonly layerDiffuse?: boolean };
}

/** Parameters about the cloud's own services. Values that ask for nothing are accepted, all others refused. */
export interface CloudOnly {
  /** `sync` is accepted. */
  readonly deliveryMethod?: 'sync' | 'async';
  /** `checkContent: false` and `mode: 'none'` are accepted; there is no classifier here. */
  readonly safety?: { readonly checkContent?: boolean; readonly mode?: 'none' | 'fast' | 'full' };
  /** `false` is accepted. */
  readonly checkNSFW?: boolean;
  /** Refused: pictures do not leave the page. */
  readonly uploadEndpoint?: string;
  /** Refused: results do not leave the page. */
  readonly webhookURL?: string;
  /** Refused; at least 60 seconds in the cloud. */
  readonly ttl?: number;
  /** `1k` is accepted; say `width` and `height`. */
  readonly resolution?: '1k' | '2k' | '4k';
}

/** One entry of `controlNet[]`. Steps count from 1, both ends included. */
export interface ControlNetInput {
  readonly model: ModelReference;
  /** A picture that is already edges, depth, a pose, … */
  readonly guideImage: ImageReference;
  /** 0–1. Default 1. */
  readonly weight?: number;
  /** 1–`steps`. Not with `startStepPercentage`. Default: the first step. */
  readonly startStep?: number;
  /** 0–99. Not with `startStep`. */
  readonly startStepPercentage?: number;
  /** Above `startStep`, at most `steps`. Not with `endStepPercentage`. Default: the last step. */
  readonly endStep?: number;
  /** Above `startStepPercentage`, at most 100. Not with `endStep`. */
  readonly endStepPercentage?: number;
  /** What counts more. Default: `controlnet` in `imageInference()`, `balanced` in raw tasks. */
  readonly controlMode?: ControlMode;
  /** Union ControlNets of FLUX.1 (not in the cloud): what kind of guide it is, by name or number. Default: what our preprocessor drew, else `canny`. */
  readonly unionMode?: UnionMode | number;
}

/** One entry of `lora[]` or `embeddings[]`. */
export interface WeightedModelInput {
  readonly model: ModelReference;
  /** −4 to 4. Default 1; 0 is no effect. */
  readonly weight?: number;
}
