/** @file Numbers of things in a config that graphs are written with one by one: a hostile file could else ask for millions. */
import { fail } from '../../base/errors.js';
import { wholeNumber } from '../../base/fields.js';

/** Resolutions of a network; published ones have up to 4. */
export const MOST_LEVELS = 8;
/** Layers of one kind in one place; published networks have up to 10. */
export const MOST_LAYERS = 64;

/** An entry reader for lists of layers: 1 to {@link MOST_LAYERS}. @throws invalidModelConfig */
export function layerCount(value: unknown, where: string): number {
  const count = wholeNumber(value, where);
  if (count <= MOST_LAYERS) return count;
  throw fail('invalidModelConfig', `${where} is ${count}; at most ${MOST_LAYERS} were expected.`);
}

/** @throws invalidModelConfig unless there are 1 to {@link MOST_LEVELS} widths */
export function checkLevels(widths: readonly number[], where: string): void {
  if (widths.length >= 1 && widths.length <= MOST_LEVELS) return;
  throw fail('invalidModelConfig', `${where} must be a list of 1 to ${MOST_LEVELS} widths, got ${widths.length}.`);
}
