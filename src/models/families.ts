/** @file What all models of a family share: the colours of their latent channels, for cheap previews. Data only. */

/** Stable Diffusion 1.x, 2.x, XL, and the XL refiner. */
export const MODEL_FAMILIES = ['sd1', 'sd2', 'sdxl', 'sdxl-refiner'] as const;
export type ModelFamily = (typeof MODEL_FAMILIES)[number];

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

/** SDXL and its refiner share an autoencoder: class SDXL in comfy/latent_formats.py, github.com/Comfy-Org/ComfyUI @ 040a324. */
const SDXL = {
  factors: [
    [0.3651, 0.4232, 0.4341],
    [-0.2533, -0.0042, 0.1068],
    [0.1076, 0.1111, -0.0362],
    [-0.3165, -0.2492, -0.2188],
  ],
  bias: [0.1084, -0.0175, -0.0011],
} as const satisfies LatentRgb;

/** Preview colours where a model's card has none of its own. */
export const LATENT_RGB = {
  sd1: SD,
  sd2: SD,
  sdxl: SDXL,
  'sdxl-refiner': SDXL,
} as const satisfies Readonly<Record<ModelFamily, LatentRgb>>;
