/** @file The tolerances of the sampling tests, each with its reason. */

/** float64 against the goldens' float64 run: rounding of two orders of the same operations. Times max(1, largest value). */
export const FORMULA = 1e-9;

/** float32 against diffusers' float32: both are off from the exact run, diffusers by the stored `float32Error`. */
export const float32Tolerance = (float32Error: number, largest: number): number =>
  Math.max(4 * float32Error, 1e-5 * largest);

/**
 * Latents in the middle of a run, whose float32 error is not stored: what their size allows, or four units in the last
 * place of the latents before (a step from σ = 4096 subtracts two numbers of that size).
 */
export const rowTolerance = (largestBefore: number, largest: number): number =>
  Math.max(1e-5 * largest, 4 * 2 ** -24 * largestBefore);

/** σ tables, relative: torch's square root was off by one unit in the last place on the machine that made the goldens. */
export const SIGMA = 3e-7;

/** The same where the table was rescaled to zero terminal SNR: there those square roots are subtracted from each other. */
export const SIGMA_ZERO_SNR = 1e-5;

/** Fractional timesteps: diffusers interpolates in float32 logarithms, which differ from CPU to CPU. */
export const TIMESTEP = 2e-4;

/** Fractional timesteps on a table rescaled to zero terminal SNR (see `SIGMA_ZERO_SNR`). */
export const TIMESTEP_ZERO_SNR = 1e-3;

/** KDPM2 ancestral's midpoints: √(σ'² − σ_up²) in float32 keeps few digits when σ' ≪ σ (2 or 3 steps). */
export const TIMESTEP_CANCELLED = 2e-2;
