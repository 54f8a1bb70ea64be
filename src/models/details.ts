/** @file What whoever registers a model may say about it: card fields, which describe, and overrides, which beat the files. Type and parser. */
import { fail } from '../base/errors.js';
import { fields, show, type Fields } from '../base/fields.js';
import { parseCardFields, parseDefaults, type CardFields, type ModelDefaults } from './card.js';
import { unionModeNumber, UNION_MODES, type UnionMode } from '../request/union-modes.js';
import type { RawSchedulerConfig } from './configs/scheduler.js';
import { DISTILLATION_NAMES, DISTILLATIONS, type Distillation } from './distillations.js';
import { MODEL_FAMILIES, type ModelFamily } from './families.js';

/** The cloud's categories (`modelUpload`, `modelSearch`). */
export const MODEL_CATEGORIES = ['checkpoint', 'lora', 'lycoris', 'controlnet', 'vae', 'embeddings'] as const;
export type ModelCategory = (typeof MODEL_CATEGORIES)[number];

/** What a network's output means. */
export const PREDICTIONS = ['epsilon', 'v_prediction', 'sample'] as const;
export type Prediction = (typeof PREDICTIONS)[number];

/** What matrices can be rounded to: codes of 4 or 8 bits that share a scale in blocks, or float16. */
export const WEIGHT_BITS = [4, 8, 16] as const;
export type WeightBits = (typeof WEIGHT_BITS)[number];

/** What replaces whatever the model's files say. */
export interface ModelOverrides {
  readonly family?: ModelFamily;
  /** For single files, which cannot say it: SD 2.1 at 768 pixels, for one, has `v_prediction`. */
  readonly prediction?: Prediction;
  readonly defaults?: ModelDefaults;
  /**
   * FLUX.1: the matrices of the transformer's blocks are rounded to so many bits, once, and kept beside the model. 4 and 8 take about a quarter and half of the
   * memory that float16 takes; 16 spares files of float32 and float8 the conversion at each load, and does nothing to others. Default: as the file has
   * them. What a file has in fewer bits stays as it is.
   */
  readonly weightBits?: WeightBits;
  /**
   * The same for FLUX.1's large text encoder, T5. Said apart since the two bear it differently, and often come from different files: T5 runs once for
   * a prompt, and what is off in its states is off in every step. 8 bits are hardly seen there; 4 are.
   */
  readonly textEncoderBits?: WeightBits;
  /** Union ControlNets of FLUX.1: what kind of guide it is where a request does not say. */
  readonly unionMode?: UnionMode | number;
  /** Keys of `scheduler_config.json`, e.g. `{ timestep_spacing: 'trailing' }`. */
  readonly scheduler?: RawSchedulerConfig;
}

/** What may be said of a model when it is registered; all of it may be left out. */
export interface ModelDetails extends CardFields {
  /** Default: told from the file. */
  readonly category?: ModelCategory;
  /** How the model was made to need few steps: brings its own default steps, CFG and scheduler. */
  readonly distillation?: Distillation;
  readonly overrides?: ModelOverrides;
  /**
   * References of models, or URLs of files, that give a FLUX.1 checkpoint of one file its text encoders, tokenizers and VAE, the first that has each.
   * Default: FLUX.1 schnell's repo on the Hub for models that come over the network, none for picked files.
   */
  readonly companions?: readonly string[];
}

/** {@link ModelDetails}, checked and sorted: what describes, in one place, and what beats the files, in another. */
export interface ModelRecord {
  readonly category?: ModelCategory;
  readonly card: CardFields;
  readonly overrides: ModelOverrides;
  readonly companions?: readonly string[];
}

/**
 * Checks details from outside; unknown keys are left out.
 * @throws invalidModelConfig naming the field, what was got and what was expected
 */
export function parseDetails(json: unknown, where: string): ModelRecord {
  const f = fields(json, where);
  const distillation = f.has('distillation') ? f.oneOf('distillation', DISTILLATION_NAMES) : undefined;
  const overrides = f.has('overrides') ? parseOverrides(fields(f.raw('overrides'), `${where}: "overrides"`)) : {};
  return {
    ...(f.has('category') ? { category: f.oneOf('category', MODEL_CATEGORIES) } : {}),
    ...(f.has('companions') ? { companions: f.list('companions', parseCompanion) } : {}),
    ...recordOf(parseCardFields(f), distillation, overrides),
  };
}

/** A distillation's defaults lie beneath those of the card, its scheduler keys beneath those of the overrides. */
export function recordOf(
  card: CardFields,
  distillation: Distillation | undefined,
  overrides: ModelOverrides = {},
): ModelRecord {
  const few = distillation === undefined ? undefined : DISTILLATIONS[distillation];
  return {
    card: mergeCards({ ...(few === undefined ? {} : { defaults: few.defaults }) }, card),
    overrides: {
      ...overrides,
      ...(few === undefined ? {} : { scheduler: { ...few.scheduler, ...overrides.scheduler } }),
    },
  };
}

/** `over` where it says something, else `under`; defaults one by one. */
export function mergeCards(under: CardFields, over: CardFields): CardFields {
  const defaults = { ...under.defaults, ...over.defaults };
  return { ...under, ...over, ...(Object.keys(defaults).length > 0 ? { defaults } : {}) };
}

/** What is said when registering goes before what is known of the identifier. */
export function mergeRecords(under: ModelRecord, over: ModelRecord): ModelRecord {
  const scheduler = { ...under.overrides.scheduler, ...over.overrides.scheduler };
  const defaults = { ...under.overrides.defaults, ...over.overrides.defaults };
  const category = over.category ?? under.category;
  const companions = over.companions ?? under.companions;
  return {
    ...(category === undefined ? {} : { category }),
    ...(companions === undefined ? {} : { companions }),
    card: mergeCards(under.card, over.card),
    overrides: {
      ...under.overrides,
      ...over.overrides,
      ...(Object.keys(defaults).length > 0 ? { defaults } : {}),
      ...(Object.keys(scheduler).length > 0 ? { scheduler } : {}),
    },
  };
}

function parseCompanion(value: unknown, where: string): string {
  if (typeof value === 'string' && value.trim() !== '') return value;
  throw fail('invalidModelConfig', `${where} must be a model's reference or a URL, got ${show(value)}.`);
}

function parseOverrides(f: Fields): ModelOverrides {
  return {
    ...(f.has('family') ? { family: f.oneOf('family', MODEL_FAMILIES) } : {}),
    ...(f.has('prediction') ? { prediction: f.oneOf('prediction', PREDICTIONS) } : {}),
    ...(f.has('defaults') ? { defaults: parseDefaults(f.raw('defaults'), `${f.where}: "defaults"`) } : {}),
    ...(f.has('scheduler') ? { scheduler: parseScheduler(f) } : {}),
    ...(f.has('weightBits') ? { weightBits: parseBits(f, 'weightBits') } : {}),
    ...(f.has('textEncoderBits') ? { textEncoderBits: parseBits(f, 'textEncoderBits') } : {}),
    ...(f.has('unionMode') ? { unionMode: parseUnionMode(f) } : {}),
  };
}

function parseUnionMode(f: Fields): number {
  const mode = unionModeNumber(f.raw('unionMode'));
  if (mode === undefined) throw f.error('unionMode', `one of ${UNION_MODES.join(', ')}, or a mode's number`);
  return mode;
}

function parseBits(f: Fields, parameter: 'weightBits' | 'textEncoderBits'): WeightBits {
  const raw = f.raw(parameter);
  const bits = WEIGHT_BITS.find((known) => known === raw);
  if (bits !== undefined) return bits;
  throw fail('invalidModelConfig', `${f.where}: "${parameter}" must be 4, 8 or 16, got ${show(raw)}.`, {
    parameter,
    hint: 'Leave it out to keep the weights as the file has them.',
  });
}

/** The sampler checks each key's value when it reads them; here, that they are what a JSON file could hold. */
function parseScheduler(f: Fields): RawSchedulerConfig {
  const where = `${f.where}: "scheduler"`;
  const raw = f.raw('scheduler');
  const config = fields(raw, where);
  if (config.has('_class_name')) config.text('_class_name');
  const entries: readonly (readonly [string, unknown])[] = Object.entries(raw ?? {});
  for (const [key, value] of entries) {
    if (isPlain(value)) continue;
    const message = `${where}: "${key}" must be a number, text, true, false or a list, got ${show(value)}.`;
    throw fail('invalidModelConfig', message, { parameter: key });
  }
  return Object.fromEntries(entries);
}

function isPlain(value: unknown): boolean {
  if (Array.isArray(value)) return value.every((entry) => Number.isFinite(entry));
  return value === null || Number.isFinite(value) || ['string', 'boolean'].includes(typeof value);
}
