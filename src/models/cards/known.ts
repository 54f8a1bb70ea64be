/** @file What is written down about a published model. Types only; the data is in the files beside this one. */
import type { ModelDefaults, NativeSize } from '../card.js';
import type { Prediction } from '../details.js';
import type { Distillation } from '../distillations.js';
import type { ModelFamily } from '../families.js';
import type { UnionMode } from '../../request/union-modes.js';

/** The same weights on the Hugging Face Hub. */
export interface HubFiles {
  /** `owner/repo`, a diffusers folder unless `file` says otherwise. */
  readonly repo: string;
  /** Default `main`. */
  readonly revision?: string;
  /** One `.safetensors` file of the repo, which is then the whole model. */
  readonly file?: string;
  /** Whether somebody compared these files with those of the identifier. */
  readonly verified: boolean;
}

interface Known {
  readonly air: string;
  readonly name: string;
}

export interface KnownCheckpoint extends Known {
  readonly kind: 'checkpoint';
  readonly family: ModelFamily;
  readonly licence: string;
  readonly native: NativeSize;
  readonly defaults?: ModelDefaults;
  readonly distillation?: Distillation;
  /** Only where it is not the family's usual one, `epsilon`. */
  readonly prediction?: Prediction;
  /** Absent: no public copy is known. */
  readonly hub?: HubFiles;
}

/** ControlNet conditionings, named as the preprocessors that make them. */
export type Conditioning = 'canny' | 'inpaint' | 'lineart' | 'mlsd' | 'normalbae' | 'union' | UnionMode;

export interface KnownControlNet extends Known {
  readonly kind: 'controlnet';
  readonly family: ModelFamily;
  readonly conditioning: Conditioning;
  /** Of a union net that is published once, under an identifier for each kind of guide. */
  readonly unionMode?: UnionMode;
  readonly licence: string;
  readonly hub: HubFiles;
}

/** A model of a kind that does not run here; known so that the error can say so. */
export interface KnownElsewhere extends Known {
  readonly kind: 'elsewhere';
  /** What it is, for a message: `an inpainting model of FLUX.1`. */
  readonly what: string;
}

export type KnownModel = KnownCheckpoint | KnownControlNet | KnownElsewhere;
