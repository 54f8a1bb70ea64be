/** @file Decoder output → 8-bit RGB. Pure; may import base and sampling. */
import { fail } from '../base/errors.js';
import { roundHalfEven } from '../sampling/numeric.js';

/** RGB pixels, 8 bits per channel, row by row; `rgb` has `width·height·3` bytes. */
export interface RgbPicture {
  readonly width: number;
  readonly height: number;
  readonly rgb: Uint8Array;
}

/** The same with opacity; `rgba` has `width·height·4` bytes. */
export interface RgbaPicture {
  readonly width: number;
  readonly height: number;
  readonly rgba: Uint8Array | Uint8ClampedArray;
}

/** How the decoder's numbers lie in memory: `chw` = [3, H, W], `hwc` = [H, W, 3]. */
export type PixelLayout = 'chw' | 'hwc';

const { fround } = Math;

/**
 * One picture of the decoder, values −1…1 → `width·height·3` bytes of RGB: clamp(x/2 + 0.5, 0, 1)·255, each operation in
 * float32, rounded half to even. Same numbers as diffusers' `VaeImageProcessor.denormalize` and `numpy_to_pil`
 * (https://github.com/huggingface/diffusers/blob/v0.35.1/src/diffusers/image_processor.py).
 * @param values `3·width·height` float32 numbers in `layout`.
 * @throws `notFinite` when a value is NaN or infinite: the decoder overflowed, and the picture would be black.
 */
export function toPixels(
  values: Float32Array,
  width: number,
  height: number,
  layout: PixelLayout,
): Uint8Array<ArrayBuffer> {
  const area = width * height;
  if (values.length !== 3 * area) {
    throw fail(
      'internalError',
      `Decoder output for ${width}×${height}: expected ${3 * area} values, got ${values.length}.`,
    );
  }
  const [pixelStride, channelStride] = layout === 'hwc' ? [3, 1] : [1, area];
  const out = new Uint8Array(3 * area);
  for (let pixel = 0; pixel < area; pixel++) {
    for (let channel = 0; channel < 3; channel++) {
      const x = values[pixel * pixelStride + channel * channelStride] ?? NaN;
      if (!Number.isFinite(x)) throw notFinite(x, pixel % width, Math.floor(pixel / width));
      const unit = Math.min(1, Math.max(0, fround(x / 2 + 0.5)));
      out[3 * pixel + channel] = roundHalfEven(fround(unit * 255));
    }
  }
  return out;
}

function notFinite(value: number, column: number, row: number): Error {
  return fail('notFinite', `The decoder gave ${value} at column ${column}, row ${row}; expected finite numbers.`, {
    hint: 'The autoencoder (VAE) is damaged or does not belong to the model, or its numbers overflow: get its file again, or give another as vae.',
  });
}
