/** @file The tolerances of the scheduler goldens, each with its reason. The sampling unit tests use them too. */
import type { Interval } from '../../src/sampling/level.js';

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

/**
 * Relative error of KDPM2 ancestral's midpoints √(σ·σ_down): diffusers computes σ_down = √(σ'² − σ_up²) in float32, so σ_down² is off
 * by four units in the last place (as many roundings) times (σ/σ')². Few steps, large ratios.
 */
export const cancelledMidpoint = ({ from, to }: Interval): number =>
  to.sigma === 0 ? 0 : (2 ** -22 * (from.sigma / to.sigma) ** 2) / 4;

/** What a relative error of σ does to the timestep found from it: t ∝ σ² where t is small, and it rises slower later. */
export const timestepError = (timestep: number, relative: number): number => 2 * (timestep + 1) * relative;
