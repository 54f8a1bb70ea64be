/** @file Few-step models: jump to the clean latent, add noise again. LCM, TCD and flow-matching LCM. All stochastic. */
import { clamped, sum } from '../latent.js';
import type { Interval } from '../level.js';
import { once, type Rule } from './rule.js';
import { transfer } from './first-order.js';

const isLast = ({ index, levels }: Interval): boolean => index === levels.length - 1;

/** c_skip and c_out of a consistency function: the identity at t = 0 (Song et al. 2023 "Consistency Models", app. C; σ_data = ½). */
function boundary(t: number): { cSkip: number; cOut: number } {
  const total = t * t + 0.25;
  return { cSkip: 0.25 / total, cOut: t / Math.sqrt(total) };
}

/**
 * Latent consistency (Luo et al. 2023 "LCM", alg. 3): `x' = α'·f + σ'·z`, f = c_skip·x + c_out·x̂₀; the last step returns f.
 *
 * @param timestepScaling what the timestep is multiplied by in the boundary condition
 */
export function lcm(timestepScaling: number, clip: number | undefined): Rule {
  return {
    stochastic: true,
    visits: once,
    step: async (x, interval, { denoise, noise, combine }) => {
      const { from, to } = interval;
      const estimate = await denoise(x, from);
      const denoised = clip === undefined ? estimate : clamped(estimate, clip, combine);
      const { cSkip, cOut } = boundary(from.timestep * timestepScaling);
      const f = sum([cOut, denoised], [cSkip, x]);
      return [isLast(interval) ? combine([1, f]) : combine([to.alpha, f], [to.sigma, noise()]), []];
    },
  };
}

/**
 * Trajectory consistency (Zheng et al. 2024 "TCD", strategic stochastic sampling): DDIM's step down to
 * s = ⌊(1 − γ)·t'⌋ (`via`), then noise up to t'. `γ` = 0 draws nothing; the last step adds no noise.
 */
export function tcd(gamma: number): Rule {
  return {
    stochastic: gamma > 0,
    visits: once,
    step: async (x, interval, { denoise, noise, combine }) => {
      const { from, to } = interval;
      const [landing = to] = interval.via;
      const landed = transfer(x, await denoise(x, from), from, landing);
      if (gamma === 0 || isLast(interval)) return [combine([1, landed]), []];
      const ratio = to.alpha / landing.alpha;
      return [combine([ratio, landed], [Math.sqrt(1 - ratio * ratio), noise()]), []];
    },
  };
}

/** Flow-matching LCM (HiDream-I1 Dev): `x' = (1 − σ')·x̂₀ + σ'·z`; noise is drawn at the last step too. */
export function flowLcm(): Rule {
  return {
    stochastic: true,
    visits: once,
    step: async (x, { from, to }, { denoise, noise, combine }) => {
      const denoised = await denoise(x, from);
      return [combine([to.alpha, denoised], [to.sigma, noise()]), []];
    },
  };
}
