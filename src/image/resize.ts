/**
 * @file Pictures in another size, to the bit as Pillow 13's `Image.resize` does it for 8-bit channels: two passes, across and down, with weights in
 * fixed point (https://github.com/python-pillow/Pillow/blob/13.0.0/src/libImaging/Resample.c). Pure; imports only pictures.
 */
import { fail } from '../base/errors.js';
import type { RgbPicture } from './pixels.js';

/** `lanczos`: what diffusers resizes with. `bilinear` and `box` (averages of areas, when shrinking) are softer. */
export type ResizeFilter = 'lanczos' | 'bicubic' | 'bilinear' | 'box';

interface Kernel {
  /** How far it reaches, in pixels of the larger of the two sizes. */
  readonly support: number;
  readonly weigh: (x: number) => number;
}

const KERNELS: Readonly<Record<ResizeFilter, Kernel>> = {
  lanczos: { support: 3, weigh: (x) => (-3 <= x && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
  bicubic: { support: 2, weigh: (x) => cubic(Math.abs(x)) },
  bilinear: { support: 1, weigh: (x) => Math.max(0, 1 - Math.abs(x)) },
  box: { support: 0.5, weigh: (x) => (-0.5 < x && x <= 0.5 ? 1 : 0) },
};

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/** R. Keys, "Cubic Convolution Interpolation for Digital Image Processing" (1981), with a = −1/2 (eq. 15 there). */
function cubic(x: number): number {
  const a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/** Bits behind the point: 32, less 8 of the channel, less 2 for sums that overshoot. */
const PRECISION_BITS = 32 - 8 - 2;

/** For each place of the result: the first place of the source that counts, and the weights from there on. */
interface Weights {
  readonly starts: Int32Array;
  readonly counts: Int32Array;
  /** `most` for each place, in units of 2^−22. */
  readonly values: Int32Array;
  readonly most: number;
}

/**
 * The picture in `width`×`height`. The same size gives the same picture, untouched.
 * @param filter of Pillow's filters; its `reducing_gap` is not used.
 * @throws `internalError` for sizes below 1 or with fractions.
 * @example
 * resize(picture, 512, 512, 'lanczos');
 */
export function resize(picture: RgbPicture, width: number, height: number, filter: ResizeFilter): RgbPicture {
  if (![width, height].every((side) => Number.isInteger(side) && side >= 1)) {
    throw fail('internalError', `A picture cannot be resized to ${width}×${height}: expected sides of at least 1.`);
  }
  const kernel = KERNELS[filter];
  const across = (from: RgbPicture): RgbPicture => (width === from.width ? from : resizeAcross(from, width, kernel));
  const down = (from: RgbPicture): RgbPicture => (height === from.height ? from : resizeDown(from, height, kernel));
  return isDownFirst(picture, width, height) ? across(down(picture)) : down(across(picture));
}

/**
 * Which pass comes first tells in the last bits, since there are 8 between them: where the height loses more than twice what the width does, it is
 * the one that makes the picture smaller (https://github.com/python-pillow/Pillow/pull/9549, in Pillow since 13.0).
 */
function isDownFirst(from: RgbPicture, width: number, height: number): boolean {
  const lost = from.height - height;
  return lost > 0 && lost > 2 * (from.width - width);
}

function resizeAcross({ width, height, rgb }: RgbPicture, newWidth: number, kernel: Kernel): RgbPicture {
  const { starts, counts, values, most } = weightsOf(width, newWidth, kernel);
  const out = new Uint8Array(3 * newWidth * height);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < newWidth; x++) {
      const [first, count] = [3 * (y * width + (starts[x] ?? 0)), counts[x] ?? 0];
      for (let channel = 0; channel < 3; channel++, to++) {
        let sum = 1 << (PRECISION_BITS - 1);
        for (let i = 0; i < count; i++) sum += (rgb[first + 3 * i + channel] ?? 0) * (values[x * most + i] ?? 0);
        out[to] = clamp(sum >> PRECISION_BITS);
      }
    }
  }
  return { width: newWidth, height, rgb: out };
}

function resizeDown({ width, height, rgb }: RgbPicture, newHeight: number, kernel: Kernel): RgbPicture {
  const { starts, counts, values, most } = weightsOf(height, newHeight, kernel);
  const stride = 3 * width;
  const out = new Uint8Array(stride * newHeight);
  for (let y = 0, to = 0; y < newHeight; y++) {
    const [first, count] = [stride * (starts[y] ?? 0), counts[y] ?? 0];
    for (let column = 0; column < stride; column++, to++) {
      let sum = 1 << (PRECISION_BITS - 1);
      for (let i = 0; i < count; i++) sum += (rgb[first + stride * i + column] ?? 0) * (values[y * most + i] ?? 0);
      out[to] = clamp(sum >> PRECISION_BITS);
    }
  }
  return { width, height: newHeight, rgb: out };
}

function clamp(value: number): number {
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/** The kernel around the middle of each new pixel, widened when shrinking so that every old pixel counts; sums to 1 but for rounding. */
function weightsOf(from: number, to: number, { support, weigh }: Kernel): Weights {
  const scale = from / to;
  const spread = Math.max(1, scale);
  const reach = support * spread;
  const most = Math.ceil(reach) * 2 + 1;
  const starts = new Int32Array(to);
  const counts = new Int32Array(to);
  const values = new Int32Array(to * most);
  for (let place = 0; place < to; place++) {
    const centre = (place + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(from, Math.trunc(centre + reach + 0.5));
    const raw = Array.from({ length: end - start }, (_, i) => weigh((i + start - centre + 0.5) * (1 / spread)));
    const sum = raw.reduce((total, weight) => total + weight, 0);
    starts[place] = start;
    counts[place] = raw.length;
    raw.forEach((weight, i) => {
      const share = (sum === 0 ? weight : weight / sum) * 2 ** PRECISION_BITS;
      values[place * most + i] = Math.trunc(share < 0 ? share - 0.5 : share + 0.5);
    });
  }
  return { starts, counts, values, most };
}
