/** @file The formats that the platform encodes (JPEG, WEBP): the function type, and its canvas implementation for workers. PNG is our own (png.ts). */
import { fail } from '../base/errors.js';
import type { RgbPicture } from './pixels.js';

/** `quality` is 20…99, as in the request's `outputQuality`. */
export interface LossyFormat {
  readonly mime: 'image/jpeg' | 'image/webp';
  readonly quality: number;
}

/** Encodes a picture with loss. Injected, since the encoder belongs to the platform: a canvas in browsers, a library in Node. */
export type EncodePicture = (picture: RgbPicture, format: LossyFormat) => Promise<Uint8Array<ArrayBuffer>>;

/**
 * {@link EncodePicture} through `OffscreenCanvas.convertToBlob`.
 * @throws `unsupportedParameter` when the browser has no encoder for the format (a canvas would silently give PNG instead).
 */
export const encodeWithCanvas: EncodePicture = async ({ width, height, rgb }, { mime, quality }) => {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d');
  if (context === null) throw fail('internalError', 'OffscreenCanvas has no 2d context.');
  context.putImageData(new ImageData(toRgba(rgb), width, height), 0, 0);
  const blob = await canvas.convertToBlob({ type: mime, quality: quality / 100 });
  if (blob.type !== mime) {
    throw fail('unsupportedParameter', `This browser cannot write ${mime}; it offered ${blob.type}.`, {
      parameter: 'outputFormat',
      hint: 'Use "PNG" or "JPG".',
    });
  }
  return new Uint8Array(await blob.arrayBuffer());
};

/** RGB → opaque RGBA. */
export function toRgba(rgb: Uint8Array): Uint8ClampedArray<ArrayBuffer> {
  const rgba = new Uint8ClampedArray((rgb.length / 3) * 4).fill(255);
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    rgba[to] = rgb[from] ?? 0;
    rgba[to + 1] = rgb[from + 1] ?? 0;
    rgba[to + 2] = rgb[from + 2] ?? 0;
  }
  return rgba;
}
