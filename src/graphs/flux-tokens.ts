/** @file FLUX's image tokens: squares of 2×2 latents as one row each, and where each token is. Pure arithmetic on arrays. */
import { fail } from '../base/errors.js';

/** Latents of one picture; height and width are even. */
export interface LatentSize {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

/** Latents of a picture of so many pixels: two for every whole 16 of them. */
export function fluxLatentSize(pixels: { readonly height: number; readonly width: number }, channels = 16): LatentSize {
  return { channels, height: 2 * Math.floor(pixels.height / 16), width: 2 * Math.floor(pixels.width / 16) };
}

/** Image tokens: rows × columns of 2×2 latents. */
export function tokenGrid({ height, width }: LatentSize): { readonly rows: number; readonly columns: number } {
  return { rows: height / 2, columns: width / 2 };
}

/** Latents `[C, h, w]` → tokens `[h/2·w/2, 4C]`: feature c·4 + dy·2 + dx (diffusers `FluxPipeline._pack_latents`). */
export function packLatents(latents: Float32Array, size: LatentSize): Float32Array {
  return rearrange(latents, size, (out, packed, unpacked) => (out[packed] = latents[unpacked] ?? 0));
}

/** The inverse: tokens `[h/2·w/2, 4C]` → latents `[C, h, w]`. */
export function unpackLatents(tokens: Float32Array, size: LatentSize): Float32Array {
  return rearrange(tokens, size, (out, packed, unpacked) => (out[unpacked] = tokens[packed] ?? 0));
}

function rearrange(
  values: Float32Array,
  { channels, height, width }: LatentSize,
  move: (out: Float32Array, packed: number, unpacked: number) => void,
): Float32Array {
  const count = channels * height * width;
  if (values.length !== count || height % 2 !== 0 || width % 2 !== 0)
    throw fail(
      'internalError',
      `${values.length} values are not ${channels}×${height}×${width} latents of even height and width.`,
    );
  const out = new Float32Array(count);
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const token = (y >> 1) * (width / 2) + (x >> 1);
        const feature = 4 * c + 2 * (y & 1) + (x & 1);
        move(out, token * 4 * channels + feature, (c * height + y) * width + x);
      }
    }
  }
  return out;
}

/** Positions of the whole sequence, text first: (0, 0, 0) for text, (0, row, column) for image tokens. */
export function fluxPositions(
  textTokens: number,
  { rows, columns }: { readonly rows: number; readonly columns: number },
): readonly (readonly [number, number, number])[] {
  const text = Array.from({ length: textTokens }, () => [0, 0, 0] as const);
  const image = Array.from({ length: rows * columns }, (_, i) => [0, Math.floor(i / columns), i % columns] as const);
  return [...text, ...image];
}
