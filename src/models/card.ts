/** @file A model's card: what its weights cannot tell (name, licence, defaults, preview colours). Data type and parser of `card.json`. */
import { fail } from '../base/errors.js';
import { fields, show, type Fields } from '../base/fields.js';
import { LATENT_RGB, type LatentRgb, type ModelFamily } from './families.js';

/** What a request that is silent about them gets. */
export interface ModelDefaults {
  /** Pixels, multiples of 8. */
  readonly width: number;
  readonly height: number;
  readonly steps: number;
  readonly CFGScale: number;
  /** One of the cloud's scheduler names; `Default` is the model's own. */
  readonly scheduler: string;
}

/** One model, described. */
export interface ModelCard {
  /** The identifier it is asked for by, e.g. `darkroom:1@1`. */
  readonly air: string;
  readonly name: string;
  readonly family: ModelFamily;
  /** SPDX identifier or name of the licence of the weights. */
  readonly licence: string;
  /** Width and height, in pixels, that the model was trained on. */
  readonly native: readonly [width: number, height: number];
  readonly defaults: ModelDefaults;
  readonly latentRgb: LatentRgb;
}

const PIXELS = { min: 8, max: 8192 } as const;

/**
 * Reads a `card.json`. Required: `air`, `name`, `family`, `licence`, `native`; the rest has defaults
 * (native size, 20 steps, CFG 7, the model's own scheduler, the family's preview colours).
 * @throws invalidModelConfig naming the field, what was got and what was expected
 */
export function parseCard(json: unknown, where = 'card.json'): ModelCard {
  const f = fields(json, where);
  const family = f.oneOf('family', FAMILIES);
  const native = parseNative(f);
  return {
    air: parseName(f, 'air'),
    name: parseName(f, 'name'),
    family,
    licence: parseName(f, 'licence'),
    native,
    defaults: parseDefaults(f, native),
    latentRgb: f.has('latentRgb') ? parseLatentRgb(fields(f.raw('latentRgb'), `${where}: "latentRgb"`)) : LATENT_RGB[family],
  };
}

const FAMILIES = ['sd1', 'sd2'] as const satisfies readonly ModelFamily[];

function parseName(f: Fields, key: string): string {
  const text = f.text(key);
  if (text.trim() === '') throw f.error(key, 'a string that is not empty');
  return text;
}

function parseNative(f: Fields): readonly [number, number] {
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

function parseDefaults(card: Fields, [nativeWidth, nativeHeight]: readonly [number, number]): ModelDefaults {
  const where = `${card.where}: "defaults"`;
  const f = fields(card.raw('defaults') ?? {}, where);
  const size = (key: string, native: number): number => (f.has(key) ? pixels(f.raw(key), `${where}: "${key}"`) : native);
  return {
    width: size('width', nativeWidth),
    height: size('height', nativeHeight),
    steps: f.integer('steps', 20, { max: 100 }),
    CFGScale: f.number('CFGScale', 7, { min: 0, max: 50 }),
    scheduler: f.text('scheduler', 'Default'),
  };
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
