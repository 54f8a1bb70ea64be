/**
 * @file The first-order step, which DDIM, DDPM, Euler, Euler ancestral, flow-matching Euler and the first order of every
 * DPM-Solver have in common, in any scaling of the latents.
 */
import { clamped, sum, type Latent, type Sum, type Vector } from '../latent.js';
import type { Interval, Level } from '../level.js';
import { impliedNoise, once, type Memory, type Rule } from './rule.js';

/**
 * x at `to` on the straight continuation of x at `from`: keep x̂₀ and ε̂, change their proportions.
 * `x' = α'·x̂₀ + σ'·ε̂` (Song et al. 2021a "DDIM", eq. 12 with σ_t = 0), ε̂ = (x − α·x̂₀)/σ put in.
 * With α = 1 it is Euler's step of Karras et al. 2022, alg. 1 line 5; with α = 1 − σ that of rectified flow.
 */
export function transfer<L extends Latent>(x: L, denoised: Vector<L>, from: Level, to: Level): Sum<L> {
  const ratio = to.sigma / from.sigma;
  return sum<L>([ratio, x], [to.alpha - from.alpha * ratio, denoised]);
}

/**
 * Standard deviation of the noise that a step may add while the marginals stay right, for η = 1.
 * `σ'²/σ² · (1 − ᾱ/ᾱ')` (DDIM, eq. 16) written for any scaling: `σ'² · (1 − (ασ'/α'σ)²)`; with α = 1 it is the σ_up
 * of k-diffusion's ancestral step, and it is the variance β̃ of DDPM (Ho et al. 2020, eq. 7).
 */
export function ancestralDeviation(from: Level, to: Level): number {
  const decay = (from.alpha * to.sigma) / (to.alpha * from.sigma);
  return to.sigma * Math.sqrt(Math.max(0, 1 - decay * decay));
}

/**
 * DDIM's general step: part of the noise is replaced by fresh noise of deviation s (eq. 12).
 * `x' = α'·x̂₀ + √(σ'² − s²)·ε̂ + s·z`
 */
function ancestral<L extends Latent>(x: L, denoised: Vector<L>, noise: L, s: number, { from, to }: Interval): Sum<L> {
  const kept: Level = { ...to, sigma: Math.sqrt(Math.max(0, to.sigma ** 2 - s * s)) };
  return sum<L>([1, transfer(x, denoised, from, kept)], [s, noise]);
}

const forget: Memory<never> = [];

/** Euler, flow-matching Euler, EDM Euler: the first-order step and no noise. */
export function euler(): Rule {
  return {
    stochastic: false,
    visits: once,
    step: async (x, { from, to }, { denoise, combine }) => [
      combine([1, transfer(x, await denoise(x, from), from, to)]),
      forget,
    ],
  };
}

/**
 * Euler ancestral (`eta` 1; k-diffusion's `sample_euler_ancestral`). Noise is drawn at every step, also at the last
 * one, where its factor is 0.
 */
export function eulerAncestral(): Rule {
  return {
    stochastic: true,
    visits: once,
    step: async (x, interval, { denoise, noise, combine }) => {
      const denoised = await denoise(x, interval.from);
      const s = ancestralDeviation(interval.from, interval.to);
      return [combine([1, ancestral(x, denoised, noise(), s, interval)]), forget];
    },
  };
}

/**
 * DDIM (Song et al. 2021a, eq. 12). η = 0 draws nothing, η = 1 is DDPM.
 *
 * @param eta 0…1
 * @param clip x̂₀ is held within ±clip (pixel models); ε̂ stays that of the unclipped estimate
 */
export function ddim(eta: number, clip: number | undefined): Rule {
  return {
    stochastic: eta > 0,
    visits: once,
    step: async (x, interval, { denoise, noise, combine }) => {
      const { from, to } = interval;
      const denoised = await denoise(x, from);
      const s = eta * ancestralDeviation(from, to);
      const estimate = clip === undefined ? denoised : clamped(denoised, clip, combine);
      const kept = sum(
        [to.alpha, estimate],
        [Math.sqrt(Math.max(0, to.sigma ** 2 - s * s)), impliedNoise(x, denoised, from)],
      );
      return [eta > 0 ? combine([1, kept], [s, noise()]) : combine([1, kept]), forget];
    },
  };
}

/** Which variance DDPM's noise has: the posterior's β̃ ("small") or the forward step's β ("large"). */
export type DdpmVariance = 'small' | 'large';

/**
 * DDPM (Ho et al. 2020, alg. 2): the mean of the posterior q(x'|x, x̂₀) (eq. 7) plus noise, drawn while t > 0.
 */
export function ddpm(variance: DdpmVariance, clip: number | undefined): Rule {
  return {
    stochastic: true,
    visits: once,
    step: async (x, interval, { denoise, noise, combine }) => {
      const { from, to } = interval;
      const estimate = await denoise(x, from);
      const denoised = clip === undefined ? estimate : clamped(estimate, clip, combine);
      const s = ancestralDeviation(from, to);
      const beta = 1 - (from.alpha / to.alpha) ** 2;
      const mean = { ...to, sigma: Math.sqrt(Math.max(0, to.sigma ** 2 - s * s)) };
      const next = transfer(x, denoised, from, mean);
      if (from.timestep <= 0) return [combine([1, next]), forget];
      return [combine([1, next], [variance === 'large' ? Math.sqrt(beta) : s, noise()]), forget];
    },
  };
}
