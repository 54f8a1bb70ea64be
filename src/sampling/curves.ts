/** @file The shapes of a noise schedule between its two ends (Karras, exponential, beta, uniform λ), and back from σ to a timestep. */
import { betaQuantile } from './beta-quantile.js';
import type { SchedulerConfig } from './config.js';
import { at, linspace } from './numeric.js';

export type CurveName = 'karras' | 'exponential' | 'beta';

/** n noise levels from `high` to `low`, both included. */
export type Curve = (high: number, low: number, n: number) => number[];

/** σ^(1/ρ) falls evenly (Karras et al. 2022, eq. 5; ρ = 7). */
export function karras(high: number, low: number, n: number, rho = 7): number[] {
  const [a, b] = [high ** (1 / rho), low ** (1 / rho)];
  return linspace(0, 1, n).map((ramp) => (a + ramp * (b - a)) ** rho);
}

/** ln σ falls evenly. */
export const exponential: Curve = (high, low, n) => linspace(Math.log(high), Math.log(low), n).map(Math.exp);

/** Beta(0.6, 0.6) quantiles: many steps at both ends (Lee et al. 2024 "Beta Sampling is All You Need"). */
export const beta: Curve = (high, low, n) =>
  linspace(0, 1, n).map((ramp) => low + betaQuantile(1 - ramp, 0.6, 0.6) * (high - low));

export const CURVES = { karras, exponential, beta } as const satisfies Record<CurveName, Curve>;

/** The curve that a configuration asks for. */
export function curveOf(config: SchedulerConfig): CurveName | undefined {
  if (config.use_karras_sigmas) return 'karras';
  if (config.use_exponential_sigmas) return 'exponential';
  return config.use_beta_sigmas ? 'beta' : undefined;
}

/**
 * The (fractional) training timestep at which the noise ratio is `sigma`: linear interpolation in ln σ.
 *
 * @param logSigmas ln σ of the training timesteps, rising
 */
export function sigmaToTimestep(sigma: number, logSigmas: Float32Array): number {
  if (logSigmas.length < 2) return 0;
  const logSigma = Math.log(Math.max(sigma, 1e-10));
  const above = logSigmas.findIndex((value) => value > logSigma);
  const found = above === -1 ? logSigmas.length - 1 : above - 1;
  const low = Math.min(Math.max(found, 0), logSigmas.length - 2);
  const [a, b] = [at(logSigmas, low), at(logSigmas, low + 1)];
  const w = Math.min(1, Math.max(0, (a - logSigma) / (a - b)));
  return (1 - w) * low + w * (low + 1);
}
