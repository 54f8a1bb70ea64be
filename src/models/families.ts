/** @file What all models of a family share: the colours of their latent channels, for cheap previews. Data only. */

/** Stable Diffusion 1.x, 2.x, XL, the XL refiner, and FLUX.1. */
export const MODEL_FAMILIES = ['sd1', 'sd2', 'sdxl', 'sdxl-refiner', 'flux'] as const;
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

/** Class Flux in comfy/latent_formats.py, github.com/Comfy-Org/ComfyUI @ 040a324. */
const FLUX = {
  factors: [
    [-0.0346, 0.0244, 0.0681],
    [0.0034, 0.021, 0.0687],
    [0.0275, -0.0668, -0.0433],
    [-0.0174, 0.016, 0.0617],
    [0.0859, 0.0721, 0.0329],
    [0.0004, 0.0383, 0.0115],
    [0.0405, 0.0861, 0.0915],
    [-0.0236, -0.0185, -0.0259],
    [-0.0245, 0.025, 0.118],
    [0.1008, 0.0755, -0.0421],
    [-0.0515, 0.0201, 0.0011],
    [0.0428, -0.0012, -0.0036],
    [0.0817, 0.0765, 0.0749],
    [-0.1264, -0.0522, -0.1103],
    [-0.028, -0.0881, -0.0499],
    [-0.1262, -0.0982, -0.0778],
  ],
  bias: [-0.0329, -0.0718, -0.0851],
} as const satisfies LatentRgb;

/** Preview colours where a model's card has none of its own. */
export const LATENT_RGB = {
  sd1: SD,
  sd2: SD,
  sdxl: SDXL,
  'sdxl-refiner': SDXL,
  flux: FLUX,
} as const satisfies Readonly<Record<ModelFamily, LatentRgb>>;
