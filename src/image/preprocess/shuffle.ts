/**
 * @file The colours and textures of a picture in another arrangement: pixels drawn along a smooth random flow.
 * As ControlNet's `ContentShuffleDetector` (Zhang et al. 2023, "shuffle" guide). Pure; imports pictures and random numbers.
 */
import { createMt19937 } from '../../sampling/mt19937.js';
import type { RgbPicture } from '../pixels.js';
import { resample, type Plane } from './resample.js';

/** Distance in pixels between the flow's random points. */
const GRAIN = 256;

/**
 * Every pixel of the result is read at `(u·(W−1), v·(H−1))`, u and v smooth noise from 0 to 1; bilinear between pixels.
 * @param seed of the flow; the same seed and size give the same flow
 */
export function shuffle(picture: RgbPicture, seed = 0): RgbPicture {
  const { width, height, rgb } = picture;
  const random = uniform(seed);
  const [u, v] = [smoothNoise(width, height, random), smoothNoise(width, height, random)];
  const out = new Uint8Array(rgb.length);
  for (let pixel = 0; pixel < width * height; pixel++) {
    const x = Math.fround((u[pixel] ?? 0) * (width - 1));
    const y = Math.fround((v[pixel] ?? 0) * (height - 1));
    const [left, top] = [Math.floor(x), Math.floor(y)];
    const upper = 3 * (top * width + left);
    const lower = top + 1 < height ? upper + 3 * width : upper;
    const next = left + 1 < width ? 3 : 0;
    for (let channel = 0; channel < 3; channel++) {
      const [a, b] = [upper + channel, lower + channel];
      const high = mix(rgb[a] ?? 0, rgb[a + next] ?? 0, x - left);
      out[3 * pixel + channel] = Math.round(mix(high, mix(rgb[b] ?? 0, rgb[b + next] ?? 0, x - left), y - top));
    }
  }
  return { width, height, rgb: out };
}

const mix = (a: number, b: number, t: number): number => a + (b - a) * t;

/** Random points `GRAIN` pixels apart, cubic between them, stretched to 0…1. */
function smoothNoise(width: number, height: number, random: () => number): Float64Array {
  const points: Plane = {
    width: Math.floor(width / GRAIN) + 2,
    height: Math.floor(height / GRAIN) + 2,
    channels: 1,
    values: new Float64Array((Math.floor(width / GRAIN) + 2) * (Math.floor(height / GRAIN) + 2)).map(random),
  };
  const wide = resample(points, width + 2 * GRAIN, height + 2 * GRAIN, 'cubic');
  const noise = new Float64Array(width * height);
  let [min, max] = [Infinity, -Infinity];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const value = wide.values[(y + GRAIN) * wide.width + x + GRAIN] ?? 0;
      noise[y * width + x] = value;
      [min, max] = [Math.min(min, value), Math.max(max, value)];
    }
  }
  return noise.map((value) => (max > min ? (value - min) / (max - min) : 0));
}

/** Numbers 0…1 with 53 random bits: `genrand_res53` of the reference code, numpy's `RandomState(seed).uniform()`. */
function uniform(seed: number): () => number {
  const next = createMt19937(seed);
  return () => ((next() >>> 5) * 2 ** 26 + (next() >>> 6)) / 2 ** 53;
}
