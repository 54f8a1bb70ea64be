/** @file Pictures with less detail: Gaussian blur, and the down-and-up sampling of ControlNet's tile models. Pure; imports pictures and numerics. */
import { roundHalfEven } from '../../sampling/numeric.js';
import type { RgbPicture } from '../pixels.js';
import { alongColumns, alongRows, folded, resample, toPicture, toPlane, type Plane, type Taps } from './resample.js';

/** Standard deviation in pixels of the ControlNet "blur" guide, as the web UI's extension sets it (`blur_gaussian`). */
const BLUR_SIGMA = 9;
/** How many times smaller the picture becomes on its way through `tile`. */
const TILE_FACTOR = 4;

/** Gaussian blur as OpenCV's `GaussianBlur(picture, (0, 0), sigma)` makes it. */
export function blur(picture: RgbPicture, sigma = BLUR_SIGMA): RgbPicture {
  return toPicture(gaussian8(toPlane(picture), sigma));
}

/**
 * The picture through a quarter of its size: means of blocks on the way down (INTER_AREA), cubic on the way up. What is left is what a tile
 * model needs to invent the details again. As `TileSimple` of TTPlanet's tile models does it.
 */
export function tile(picture: RgbPicture, factor = TILE_FACTOR): RgbPicture {
  const { width, height } = picture;
  const small = (size: number): number => Math.max(1, Math.round(size / factor));
  const down = toPicture(resample(toPlane(picture), small(width), small(height), 'area'));
  return toPicture(resample(toPlane(down), width, height, 'cubic'));
}

/**
 * Gaussian blur of numbers: `2·round(4σ)+1` taps, the borders mirrored without repeating the border's pixel (OpenCV's `GaussianBlur` of
 * floats).
 */
export function gaussian(plane: Plane, sigma: number): Plane {
  return separable(plane, gaussianKernel(sigma, 4));
}

/**
 * The same of whole numbers 0…255 with whole numbers as result: `2·round(3σ)+1` taps in steps of 1/256, the sum rounded once. The coarse
 * weights are part of what OpenCV's 8-bit `GaussianBlur` is: its far tails are 0.
 */
export function gaussian8(plane: Plane, sigma: number): Plane {
  const blurred = separable(plane, toSteps(gaussianKernel(sigma, 3), 256));
  return { ...blurred, values: blurred.values.map((sum) => Math.floor(sum / 2 ** 16 + 0.5)) };
}

/** Weights that add up to 1. @param reach how many standard deviations on each side */
function gaussianKernel(sigma: number, reach: number): Float64Array {
  const radius = Math.round(sigma * reach * 2 + 1) >> 1;
  const raw = Array.from({ length: 2 * radius + 1 }, (_, i) => Math.exp(-((i - radius) ** 2) / (2 * sigma * sigma)));
  const sum = raw.reduce((a, b) => a + b, 0);
  return Float64Array.from(raw, (weight) => weight / sum);
}

/** A symmetric kernel in whole numbers that add up to `unit`; what rounding takes from a weight goes to the next one inwards. */
function toSteps(kernel: Float64Array, unit: number): Float64Array {
  const steps = new Float64Array(kernel.length);
  const middle = kernel.length >> 1;
  let [error, left] = [0, unit];
  for (let i = 0; i < middle; i++) {
    const wanted = (kernel[i] ?? 0) * unit + error;
    const weight = roundHalfEven(wanted);
    error = wanted - weight;
    left -= 2 * weight;
    steps[i] = steps[kernel.length - 1 - i] = weight;
  }
  steps[middle] = left;
  return steps;
}

function separable(plane: Plane, kernel: Float64Array): Plane {
  return alongColumns(alongRows(plane, mirroredTaps(kernel, plane.width)), mirroredTaps(kernel, plane.height));
}

/** The kernel around each of `size` samples. */
function mirroredTaps(kernel: Float64Array, size: number): readonly Taps[] {
  const radius = kernel.length >> 1;
  return Array.from({ length: size }, (_, i) =>
    folded(Array.from(kernel, (weight, k) => [mirror(i + k - radius, size), weight] as const)),
  );
}

/** Index `i` folded into 0…size−1 at the borders' pixels (…2 1 0 1 2…). */
function mirror(i: number, size: number): number {
  if (size === 1) return 0;
  const period = 2 * (size - 1);
  const folded = ((i % period) + period) % period;
  return folded < size ? folded : period - folded;
}
