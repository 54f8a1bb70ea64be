/** @file Runs that take up a schedule in the middle: image to image, and the hand-off from base to refiner. Whole steps only. */
import { assert } from '../base/errors.js';
import { combiner } from './latent.js';
import type { Level } from './level.js';
import type { Sampler } from './sampler.js';

/**
 * The step at which an image-to-image run begins: the last ⌊steps·strength⌋ steps are run.
 * Flow pipelines round the other way: steps − steps·strength is rounded down, so the part that is run is rounded up.
 *
 * @param strength 0…1: how much of the image is made anew; 0 runs nothing
 */
export function firstStepOf(sampler: Pick<Sampler, 'steps' | 'family'>, strength: number): number {
  assert(strength >= 0 && strength <= 1, `strength ${strength} is from 0 to 1`);
  const { steps, family } = sampler;
  if (family === 'flow') return Math.trunc(Math.max(steps - Math.min(steps * strength, steps), 0));
  return steps - Math.min(Math.trunc(steps * strength), steps);
}

/** A clean latent at a noise level: `α·x₀ + σ·ε`. */
export function addNoise(clean: Float32Array, noise: Float32Array, { alpha, sigma }: Level): Float32Array {
  return combiner<Float32Array>((n) => new Float32Array(n))([alpha, clean], [sigma, noise]);
}

/**
 * The latents with which an image-to-image run begins at step `begin`: the image's own with noise of that step's level.
 * At `begin` = steps nothing is left to run, and they are the image's own.
 */
export function noisedForStep(sampler: Sampler, image: Float32Array, noise: Float32Array, begin: number): Float32Array {
  const level = sampler.intervals[begin]?.from;
  return level === undefined ? Float32Array.from(image) : addNoise(image, noise, level);
}

/** Where the refiner takes over: at a step, at a percentage of them, or by default after 90 %. */
export interface RefinerStart {
  readonly startStep?: number | undefined;
  readonly startStepPercentage?: number | undefined;
}

const DEFAULT_PERCENTAGE = 90;

/**
 * How many steps the base runs before the refiner runs the rest; `steps` when the refiner has none.
 * `startStep` is that number; a percentage is rounded to the nearest step, half up.
 */
export function baseSteps(steps: number, { startStep, startStepPercentage }: RefinerStart): number {
  if (startStep !== undefined) return Math.min(startStep, steps);
  return Math.floor((steps * (startStepPercentage ?? DEFAULT_PERCENTAGE)) / 100 + 0.5);
}
