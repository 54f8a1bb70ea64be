/** @file How far a number may be from its golden, by what it is, with the reason. float32 against float32. */

export interface Tolerance {
  readonly absolute: number;
  /** Times the largest magnitude of the golden array. */
  readonly relative: number;
}

const exactly: Tolerance = { absolute: 0, relative: 0 };
const within = (absolute: number, relative = 0): Tolerance => ({ absolute, relative });

/** What a case says of itself: 40 × its own measured float32 rounding. */
export interface CaseTolerance {
  readonly latentsFinalMaxAbs: number;
  readonly decodedMaxAbs: number;
  readonly pixelMaxAbs: number;
}

/**
 * Token ids, noise and pixels of a PNG are integers or bits. The first network output sees exact input; later ones see what the
 * sampler made of earlier ones, so they inherit the case's tolerance. Early latents are larger than the final ones (σ up to 4096):
 * theirs is relative.
 */
export function toleranceOf(name: string, own: CaseTolerance, finalMaxAbs: number): Tolerance {
  if (/\.ids_\d\.|^noise\./.test(name)) return exactly;
  if (name === 'scheduler.timesteps') return within(2e-4, 1e-6); // fractional ones differ per CPU in diffusers itself
  if (name === 'scheduler.sigmas') return within(1e-7, 1e-6);
  if (/\.timestep$/.test(name)) return within(2e-4, 1e-6);
  if (/\.(prompt_embeds|pooled)\./.test(name)) return within(2e-5);
  if (/^base\.unet\.00\.out\./.test(name)) return within(5e-5);
  if (/\.(time_ids\.\w+|timestep_cond)$/.test(name)) return within(1e-4);
  if (name === 'latents.final') return within(own.latentsFinalMaxAbs);
  if (name === 'decode.input') return within(10 * own.latentsFinalMaxAbs); // divided by the scaling factor
  if (name === 'decoded') return within(Math.max(own.decodedMaxAbs, 1e-4));
  if (name === 'pixels') return within(own.pixelMaxAbs);
  const share = own.latentsFinalMaxAbs / Math.max(finalMaxAbs, 1e-6);
  return within(Math.max(5e-5, own.latentsFinalMaxAbs), share);
}
