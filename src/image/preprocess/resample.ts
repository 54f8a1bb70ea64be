/**
 * @file Pictures and maps of numbers at another size: weighted sums along rows, then along columns. Pure; imports only pictures.
 * Each filter reproduces a library that networks were trained behind, since they see the difference.
 */
import { fail } from '../../base/errors.js';
import type { RgbPicture } from '../pixels.js';

/** Numbers on a grid: `width·height·channels` values, row by row, channels of a pixel together. */
export interface Plane {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly values: Float32Array | Float64Array;
}

/**
 * How samples are weighed.
 * - `linear`, `cubic` (a = −0.75): torch's `interpolate(align_corners=False)` and OpenCV's INTER_LINEAR, INTER_CUBIC. The border repeats.
 * - `corners`: bilinear, the outermost samples stay where they are (torch `align_corners=True`).
 * - `area`: the mean of what a new pixel covers, OpenCV's INTER_AREA when it gets smaller.
 */
export type Filter = 'linear' | 'cubic' | 'corners' | 'area';

/** Which old samples make a new one, and their weights. */
export interface Taps {
  readonly first: number;
  readonly weights: readonly number[];
}

/** Cubic convolution kernel (Keys 1981, eq. 15). */
function cubic(x: number, a: number): number {
  const d = Math.abs(x);
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
}

const overlap = (a: number, b: number, i: number): number => Math.max(0, Math.min(b, i + 1) - Math.max(a, i));

/** The taps of new sample `i` when `from` samples become `to`. */
function tapsOf(filter: Filter, from: number, to: number, i: number): Taps {
  const scale = from / to;
  const centre = (i + 0.5) * scale - 0.5;
  switch (filter) {
    case 'linear':
      return clamped(Math.floor(centre), [1 - fraction(centre), fraction(centre)], from);
    case 'corners': {
      const x = to === 1 ? 0 : (i * (from - 1)) / (to - 1);
      return clamped(Math.floor(x), [1 - fraction(x), fraction(x)], from);
    }
    case 'cubic': {
      const t = fraction(centre);
      return clamped(
        Math.floor(centre) - 1,
        [-1, 0, 1, 2].map((offset) => cubic(t - offset, -0.75)),
        from,
      );
    }
    case 'area': {
      if (scale <= 1) return tapsOf('linear', from, to, i);
      const [a, b] = [i * scale, Math.min(from, (i + 1) * scale)];
      const first = Math.floor(a);
      return normalised(
        first,
        Array.from({ length: Math.ceil(b) - first }, (_, k) => overlap(a, b, first + k)),
      );
    }
    default:
      return filter satisfies never;
  }
}

const fraction = (x: number): number => x - Math.floor(x);

/** Taps beyond the border fall on the border's sample. */
function clamped(first: number, weights: readonly number[], size: number): Taps {
  return folded(weights.map((weight, k) => [Math.min(size - 1, Math.max(0, first + k)), weight]));
}

/** Weights of samples, some of them named more than once → one weight for each sample from the first to the last. */
export function folded(weighted: readonly (readonly [at: number, weight: number])[]): Taps {
  const places = weighted.map(([at]) => at);
  const [first, last] = [Math.min(...places), Math.max(...places)];
  const weights = Array<number>(last - first + 1).fill(0);
  for (const [at, weight] of weighted) weights[at - first] = (weights[at - first] ?? 0) + weight;
  return { first, weights };
}

function normalised(first: number, weights: readonly number[]): Taps {
  const sum = weights.reduce((a, b) => a + b, 0);
  return { first, weights: weights.map((weight) => weight / sum) };
}

/** `plane` at `width`×`height`. @throws internalError for sizes below 1 */
export function resample(plane: Plane, width: number, height: number, filter: Filter): Plane {
  checkSize(width, height);
  return alongColumns(alongRows(plane, tapTable(filter, plane.width, width)), tapTable(filter, plane.height, height));
}

function tapTable(filter: Filter, from: number, to: number): readonly Taps[] {
  return Array.from({ length: to }, (_, i) => tapsOf(filter, from, to, i));
}

/** Keeps the precision of `plane`. */
function sameKind(plane: Plane, length: number): Float32Array | Float64Array {
  return plane.values instanceof Float32Array ? new Float32Array(length) : new Float64Array(length);
}

/** Every row made anew, pixel `x` by `table[x]`. */
export function alongRows(plane: Plane, table: readonly Taps[]): Plane {
  const { height, channels: c, values } = plane;
  const width = table.length;
  const out = sameKind(plane, width * height * c);
  for (let row = 0; row < height; row++) {
    for (let x = 0; x < width; x++) {
      const { first, weights } = table[x] ?? NO_TAPS;
      for (let channel = 0; channel < c; channel++) {
        let sum = 0;
        let at = (row * plane.width + first) * c + channel;
        for (let k = 0; k < weights.length; k++, at += c) sum += (weights[k] ?? 0) * (values[at] ?? 0);
        out[(row * width + x) * c + channel] = sum;
      }
    }
  }
  return { ...plane, width, values: out };
}

/** Every column made anew, row `y` by `table[y]`. */
export function alongColumns(plane: Plane, table: readonly Taps[]): Plane {
  const stride = plane.width * plane.channels;
  const out = sameKind(plane, stride * table.length);
  const row = new Float64Array(stride);
  table.forEach(({ first, weights }, y) => {
    row.fill(0);
    weights.forEach((weight, k) => addRow(row, plane.values, (first + k) * stride, weight));
    out.set(row, y * stride);
  });
  return { ...plane, height: table.length, values: out };
}

function addRow(sum: Float64Array, values: Plane['values'], start: number, weight: number): void {
  for (let at = 0; at < sum.length; at++) sum[at] = (sum[at] ?? 0) + weight * (values[start + at] ?? 0);
}

const NO_TAPS: Taps = { first: 0, weights: [] };

/** An 8-bit picture as numbers, and back: rounded, cut to 0…255. */
export function toPlane({ width, height, rgb }: RgbPicture): Plane {
  return { width, height, channels: 3, values: new Float32Array(rgb) };
}

export function toPicture({ width, height, values }: Plane): RgbPicture {
  return { width, height, rgb: new Uint8Array(new Uint8ClampedArray(values)) };
}

function checkSize(width: number, height: number): void {
  if (width >= 1 && height >= 1 && Number.isInteger(width) && Number.isInteger(height)) return;
  throw fail('internalError', `A picture cannot be ${width}×${height} pixels.`);
}
