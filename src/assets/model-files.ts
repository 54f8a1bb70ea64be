/**
 * @file A model's files, whatever layout they came in: what a diffusers folder or a single-file checkpoint is turned into, and all that
 * the pipeline knows of either. Interfaces only.
 */
import type { ModelCard } from '../models/card.js';
import type { OnBytes } from './source.js';
import type { TokenizerFiles } from './tokenizer-files.js';
import type { WeightFile } from './weights.js';

/** Opens one component's weights: reads headers, no tensors. */
export type OpenWeights = (signal?: AbortSignal, onBytes?: OnBytes) => Promise<WeightFile>;

/** A network and its configuration as JSON; the parsers are in `models/configs/`. */
export interface ComponentFiles {
  readonly config: unknown;
  readonly open: OpenWeights;
}

/** A text encoder with its tokenizer. Slot 2 is SDXL's second one (with projection); the refiner has only that. */
export interface EncoderFiles extends ComponentFiles {
  readonly slot: 1 | 2;
  readonly tokenizer: TokenizerFiles;
}

/** What a checkpoint is for. `sd` is 1.x and 2.x. */
export type Architecture = 'sd' | 'sdxl' | 'sdxl-refiner';

export interface ModelFiles {
  /** For messages: the folder's name or URL. */
  readonly name: string;
  readonly architecture: Architecture;
  /** `card.json`, which is ours and optional, or the card that the registry has. */
  readonly card: ModelCard | undefined;
  readonly unet: ComponentFiles;
  readonly vae: ComponentFiles;
  /** In slot order. */
  readonly encoders: readonly EncoderFiles[];
  /** `scheduler_config.json`. */
  readonly scheduler: unknown;
  /** SDXL: an absent negative prompt is zeros instead of the encoded empty text. */
  readonly forceZerosForEmptyPrompt: boolean;
  /** Refiner: the last time id is an aesthetic score. */
  readonly requiresAestheticsScore: boolean;
}

/**
 * A FLUX.1 model's files. The transformer's weights have the names of diffusers' FluxTransformer2DModel, whatever file they are in; there is no
 * second CLIP encoder, and the first gives only its pooled output.
 */
export interface FluxFiles {
  readonly architecture: 'flux';
  readonly name: string;
  readonly card: ModelCard | undefined;
  readonly transformer: ComponentFiles;
  readonly clip: EncoderFiles;
  readonly t5: ComponentFiles & { readonly tokenizer: TokenizerFiles };
  readonly vae: ComponentFiles;
  /** `scheduler_config.json`. */
  readonly scheduler: unknown;
  /** What whoever asked should be told, one sentence each: which parts are another model's. */
  readonly warnings?: readonly string[];
}

/** What can be opened; told apart by `architecture`. */
export type AnyModelFiles = ModelFiles | FluxFiles;
