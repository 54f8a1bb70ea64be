/** @file Pictures on their way into networks and back: working sizes, normalised values in the dialect's layout, maps as gray pictures. */
import type { RgbPicture } from '../../image/pixels.js';
import { fromGray } from '../../image/preprocess/gray.js';
import { resample, toPicture, toPlane } from '../../image/preprocess/resample.js';
import type { Dialect } from '../../onnx/dialects/dialect.js';
import { fromDialect } from '../layout.js';

/**
 * Networks of full resolution see at most this many pixels: HED's first features take 151 MB then, and what ran on a device keeps its
 * buffers. controlnet_aux shows them 512 pixels on the shorter side.
 */
const MAX_PIXELS = 768 * 768;

/** The picture's size in multiples of `multiple`, shrunk to `MAX_PIXELS`. */
export function workingSize(
  { width, height }: RgbPicture,
  multiple: number,
): { readonly width: number; readonly height: number } {
  const shrink = Math.min(1, Math.sqrt(MAX_PIXELS / (width * height)));
  const fit = (size: number): number => Math.max(multiple, Math.round((size * shrink) / multiple) * multiple);
  return { width: fit(width), height: fit(height) };
}

/** At another size: means of areas when it gets smaller, cubic when it gets larger. */
export function resizePicture(picture: RgbPicture, width: number, height: number): RgbPicture {
  if (picture.width === width && picture.height === height) return picture;
  const smaller = width * height < picture.width * picture.height;
  return toPicture(resample(toPlane(picture), width, height, smaller ? 'area' : 'cubic'));
}

/** `(value − mean)/std` of each channel, as the network's input. */
export function toInput(
  dialect: Dialect,
  { rgb }: RgbPicture,
  { mean, std }: { readonly mean: readonly number[]; readonly std: readonly number[] },
): Float32Array {
  const values = Float32Array.from(rgb, (value, i) => (value - (mean[i % 3] ?? 0)) / (std[i % 3] ?? 1));
  return dialect.layout === 'nhwc' ? values : fromDialect('nhwc', values, 3);
}

/** Gray values 0…255, cut off at both ends, fractions dropped (numpy's `astype(uint8)`). */
export function grayPicture(values: ArrayLike<number>, width: number, height: number): RgbPicture {
  const gray = Uint8Array.from(values, (value) => Math.min(255, Math.max(0, Math.floor(value))));
  return fromGray(gray, width, height);
}
