/** @file Two evaluations a step: Heun, and the midpoint methods of k-diffusion (DPM2). The last step, to σ = 0, is first order. */
import { clamped, sum, type Combine, type Latent, type Sum, type Vector } from '../latent.js';
import type { Level } from '../level.js';
import { ancestralDeviation, transfer } from './first-order.js';
import type { Rule } from './rule.js';

/** `x + (σ' − σ)·d`, d = (y − x̂₀)/σ_y: the slope found at another latent y, used from x. α = 1 throughout. */
function alongSlope<L extends Latent>(x: Vector<L>, from: Level, to: Level, { at, denoised, level }: Slope<L>): Sum<L> {
  const factor = (to.sigma - from.sigma) / level.sigma;
  return sum<L>([1, x], [factor, at], [-factor, denoised]);
}

interface Slope<L extends Latent> {
  readonly at: Vector<L>;
  readonly denoised: Vector<L>;
  readonly level: Level;
}

/**
 * Heun's method (Karras et al. 2022, alg. 1): an Euler step, then again with the mean of the slopes at its two ends.
 *
 * @param clip every estimate x̂₀ is held within ±clip (pixel models)
 */
export function heun(clip: number | undefined): Rule {
  const restrained = <L extends Latent>(denoised: Sum<L>, combine: Combine<L>): Vector<L> =>
    clip === undefined ? denoised : clamped(denoised, clip, combine);
  return {
    stochastic: false,
    visits: ({ from, to }) => (to.sigma === 0 ? [from] : [from, to]),
    step: async (x, { from, to }, { denoise, combine }) => {
      const denoised = restrained(await denoise(x, from), combine);
      const euler = transfer(x, denoised, from, to);
      if (to.sigma === 0) return [combine([1, euler]), []];
      const denoisedNext = restrained(await denoise(euler, to), combine);
      // x + ½(σ' − σ)(d + d'), of which Euler's step already is x + (σ' − σ)·d
      const again = alongSlope(x, from, to, { at: euler, denoised: denoisedNext, level: to });
      return [combine([0.5, euler], [0.5, again]), []];
    },
  };
}

/** σ_down of the ancestral step: what is left of σ' once noise of deviation σ_up is to be added. */
export function sigmaDown(from: Level, to: Level): number {
  return Math.sqrt(Math.max(0, to.sigma ** 2 - ancestralDeviation(from, to) ** 2));
}

/**
 * DPM2 and DPM2 ancestral of k-diffusion (a second-order method of Karras et al. 2022, app. D, here in
 * ln σ): Euler to the midpoint `via` (none in the step to σ = 0), then the midpoint's slope over the whole step, to σ' or, ancestral, to σ_down plus noise.
 */
export function midpoint(isAncestral: boolean): Rule {
  return {
    stochastic: isAncestral,
    visits: ({ from, via }) => [from, ...via],
    step: async (x, interval, { denoise, noise, combine }) => {
      const { from, to } = interval;
      const [via] = interval.via;
      const denoised = await denoise(x, from);
      if (via === undefined) return [combine([1, transfer(x, denoised, from, to)]), []];
      const middle = transfer(x, denoised, from, via);
      const slope = { at: middle, denoised: await denoise(middle, via), level: via };
      if (!isAncestral) return [combine([1, alongSlope(x, from, to, slope)]), []];
      const down = { ...to, sigma: sigmaDown(from, to) };
      const next = alongSlope(x, from, down, slope);
      return [combine([1, next], [ancestralDeviation(from, to), noise()]), []];
    },
  };
}
