/** @file What all models of a family share: the colours of their latent channels, for cheap previews. Data only. */

/** Stable Diffusion 1.x and 2.x. */
export type ModelFamily = 'sd1' | 'sd2';

/**
 * A linear map from one scaled latent vector (as the sampler sees it) to the RGB, in −1…1, of its 8×8 block of pixels:
 * `rgb = latent · factors + bias`.
 */
export interface LatentRgb {
  /** One row [red, green, blue] per latent channel. */
  readonly factors: readonly (readonly [number, number, number])[];
  readonly bias: readonly [number, number, number];
}

/**
 * SD 1 and SD 2 use the same autoencoder, hence the same factors.
 * Method and first factors: https://discuss.huggingface.co/t/decoding-latents-to-rgb-without-upscaling/23204/2;
 * these, fitted later and less pale: class SD15 in comfy/latent_formats.py, github.com/Comfy-Org/ComfyUI.
 */
const SD = {
  factors: [
    [0.3512, 0.2297, 0.3227],
    [0.325, 0.4974, 0.235],
    [-0.2829, 0.1762, 0.2721],
    [-0.212, -0.2616, -0.7177],
  ],
  bias: [0, 0, 0],
} as const satisfies LatentRgb;

/** Preview colours where a model's card has none of its own. */
export const LATENT_RGB = { sd1: SD, sd2: SD } as const satisfies Readonly<Record<ModelFamily, LatentRgb>>;
