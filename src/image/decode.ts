/** @file The formats that the platform decodes (JPEG, WEBP, GIF, BMP): the function type, and its canvas implementation for workers. */
import { fail } from '../base/errors.js';
import type { PictureMime } from './image-header.js';
import type { RgbPicture } from './pixels.js';

/** Decodes a picture, upright, without its opacity and colour profile. Injected, since the decoder belongs to the platform. Rejects for damaged files. */
export type DecodePicture = (bytes: Uint8Array<ArrayBuffer>, mime: PictureMime) => Promise<RgbPicture>;

/**
 * {@link DecodePicture} through `createImageBitmap` and `OffscreenCanvas`. A canvas holds colours multiplied by their opacity, so where a
 * picture is not opaque its colours come back rounded, and black where nothing is to be seen.
 */
export const decodeWithCanvas: DecodePicture = async (bytes, mime) => {
  const bitmap = await createImageBitmap(new Blob([bytes], { type: mime }), {
    colorSpaceConversion: 'none',
    premultiplyAlpha: 'none',
    imageOrientation: 'from-image',
  });
  try {
    const { width, height } = bitmap;
    const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
    if (context === null) throw fail('internalError', 'OffscreenCanvas has no 2d context.');
    context.drawImage(bitmap, 0, 0);
    return { width, height, rgb: withoutAlpha(context.getImageData(0, 0, width, height).data) };
  } finally {
    bitmap.close();
  }
};

/** RGBA → RGB: opacity is dropped, not blended, as Pillow's `convert("RGB")` does. */
export function withoutAlpha(rgba: Uint8Array | Uint8ClampedArray): Uint8Array<ArrayBuffer> {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    rgb[to] = rgba[from] ?? 0;
    rgb[to + 1] = rgba[from + 1] ?? 0;
    rgb[to + 2] = rgba[from + 2] ?? 0;
  }
  return rgb;
}
