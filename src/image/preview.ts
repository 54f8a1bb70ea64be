/** @file Latents → a tiny picture, one pixel per latent cell, by a linear map that belongs to the model. Pure; may import base and models. */
import { fail } from '../base/errors.js';
import type { LatentRgb } from '../models/families.js';

/**
 * A preview of scaled latents: what the decoder would make of them, averaged over each 8×8 block, roughly.
 * @param latents `[C, height, width]` float32, C = rows of `factors`; height and width in latent cells.
 * @returns `width·height·4` bytes of opaque RGBA; values outside −1…1 are clamped, NaN becomes 0.
 * @throws `internalError` when the shapes do not fit.
 */
export function latentsToRgba(
  latents: Float32Array,
  width: number,
  height: number,
  { factors, bias }: LatentRgb,
): Uint8ClampedArray<ArrayBuffer> {
  const area = width * height;
  if (latents.length !== factors.length * area) {
    throw fail(
      'internalError',
      `Preview: expected ${factors.length}×${height}×${width} latents, got ${latents.length}.`,
    );
  }
  const rgba = new Uint8ClampedArray(4 * area).fill(255);
  for (let cell = 0; cell < area; cell++) {
    for (let colour = 0; colour < 3; colour++) {
      let value = bias[colour] ?? 0;
      factors.forEach((row, channel) => {
        value += (latents[channel * area + cell] ?? 0) * (row[colour] ?? 0);
      });
      rgba[4 * cell + colour] = (value / 2 + 0.5) * 255; // Uint8ClampedArray clamps and rounds
    }
  }
  return rgba;
}
