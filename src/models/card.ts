/** @file A model's card: what its weights cannot tell (name, licence, defaults, preview colours). Data type and parser of `card.json`. */
import { fail } from '../base/errors.js';
import { fields, show, type Fields } from '../base/fields.js';
import { resolveSchedulerName, type SchedulerName } from '../request/scheduler-names.js';
import { LATENT_RGB, MODEL_FAMILIES, type LatentRgb, type ModelFamily } from './families.js';

/** What a request that is silent about them gets; what is absent here too is the UNet's own size, 20 steps, CFG 7 and `Default`. */
export interface ModelDefaults {
  /** Pixels, multiples of 8. */
  readonly width?: number;
  readonly height?: number;
  /** 1–100. */
  readonly steps?: number;
  /** 0–50. */
  readonly CFGScale?: number;
  /** One of the cloud's scheduler names; `Default` is the model's own. */
  readonly scheduler?: SchedulerName;
}

/** Width and height, in pixels, that a model was trained on; wherever it is set, it is also in the defaults. */
export type NativeSize = readonly [width: number, height: number];

/** One model, described. */
export interface ModelCard {
  /** The identifier it is asked for by, e.g. `darkroom:1@1`. */
  readonly air: string;
  readonly name: string;
  readonly family: ModelFamily;
  /** SPDX identifier or name of the licence of the weights; absent: not known. */
  readonly licence?: string;
  /** Absent: as the UNet's config says. */
  readonly native?: NativeSize;
  readonly defaults: ModelDefaults;
  readonly latentRgb: LatentRgb;
}

/** The part of a card that somebody knows. */
export type CardFields = Partial<Omit<ModelCard, 'air'>>;

const PIXELS = { min: 8, max: 8192 } as const;

/**
 * Reads a `card.json`. Required: `air`, `name`, `family`, `licence`, `native`; default width and height are the native ones,
 * preview colours the family's.
 * @throws invalidModelConfig naming the field, what was got and what was expected
 */
export function parseCard(json: unknown, where = 'card.json'): ModelCard {
  const f = fields(json, where);
  const air = parseText(f, 'air');
  const name = parseText(f, 'name');
  const family = f.oneOf('family', MODEL_FAMILIES);
  const licence = parseText(f, 'licence');
  const native = parseNative(f);
  const { latentRgb = LATENT_RGB[family], defaults = {} } = parseCardFields(f);
  return { air, name, family, licence, native, defaults, latentRgb };
}

/**
 * Reads those fields of a card that are there; a native size is also the default size.
 * @throws invalidModelConfig naming the field, what was got and what was expected
 */
export function parseCardFields(f: Fields): CardFields {
  const native = f.has('native') ? parseNative(f) : undefined;
  return {
    ...(f.has('name') ? { name: parseText(f, 'name') } : {}),
    ...(f.has('family') ? { family: f.oneOf('family', MODEL_FAMILIES) } : {}),
    ...(f.has('licence') ? { licence: parseText(f, 'licence') } : {}),
    ...(native === undefined ? {} : { native }),
    ...(f.has('defaults') || native !== undefined
      ? { defaults: { ...sizeOf(native), ...parseDefaults(f.raw('defaults') ?? {}, `${f.where}: "defaults"`) } }
      : {}),
    ...(f.has('latentRgb') ? { latentRgb: parseLatentRgb(fields(f.raw('latentRgb'), `${f.where}: "latentRgb"`)) } : {}),
  };
}

/** A native size as defaults. */
function sizeOf(native: NativeSize | undefined): ModelDefaults {
  return native === undefined ? {} : { width: native[0], height: native[1] };
}

/** Reads the defaults that are there. @throws invalidModelConfig naming the field */
export function parseDefaults(json: unknown, where: string): ModelDefaults {
  const f = fields(json, where);
  return {
    ...(f.has('width') ? { width: pixels(f.raw('width'), `${where}: "width"`) } : {}),
    ...(f.has('height') ? { height: pixels(f.raw('height'), `${where}: "height"`) } : {}),
    ...(f.has('steps') ? { steps: f.integer('steps', undefined, { max: 100 }) } : {}),
    ...(f.has('CFGScale') ? { CFGScale: f.number('CFGScale', undefined, { min: 0, max: 50 }) } : {}),
    ...(f.has('scheduler') ? { scheduler: parseScheduler(f) } : {}),
  };
}

function parseScheduler(f: Fields): SchedulerName {
  const name = resolveSchedulerName(f.text('scheduler'));
  if (name === undefined) throw f.error('scheduler', 'one of the scheduler names, e.g. "Default"');
  return name;
}

function parseText(f: Fields, key: string): string {
  const text = f.text(key);
  if (text.trim() === '') throw f.error(key, 'a string that is not empty');
  return text;
}

function parseNative(f: Fields): NativeSize {
  const [width, height, ...more] = f.list('native', pixels);
  if (width === undefined || height === undefined || more.length > 0) throw f.error('native', '[width, height]');
  return [width, height];
}

function pixels(value: unknown, where: string): number {
  if (isPixels(value)) return value;
  throw fail('invalidModelConfig', `${where} must be a multiple of 8 from ${PIXELS.min} to ${PIXELS.max}, got ${show(value)}.`);
}

function isPixels(value: unknown): value is number {
  return typeof value === 'number' && value % 8 === 0 && value >= PIXELS.min && value <= PIXELS.max;
}

function parseLatentRgb(f: Fields): LatentRgb {
  const bias = f.has('bias') ? triple(f.raw('bias'), `${f.where}: "bias"`) : ([0, 0, 0] as const);
  const factors = f.list('factors', triple);
  if (factors.length === 0) throw f.error('factors', 'one [red, green, blue] per latent channel');
  return { factors, bias };
}

function triple(value: unknown, where: string): readonly [number, number, number] {
  if (Array.isArray(value) && value.length === 3) {
    const parts: readonly unknown[] = value;
    const [red, green, blue] = parts;
    if (isFinite(red) && isFinite(green) && isFinite(blue)) return [red, green, blue];
  }
  throw fail('invalidModelConfig', `${where} must be three finite numbers [red, green, blue], got ${show(value)}.`);
}

function isFinite(value: unknown): value is number {
  return Number.isFinite(value);
}
