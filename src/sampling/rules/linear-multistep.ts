/**
 * @file Linear multistep methods on the noise: LMS (k-diffusion) and DEIS. Both integrate, exactly, a polynomial through the
 * last noise estimates; LMS takes it in ρ = σ/α, DEIS in ln ρ.
 */
import { settled, type Latent } from '../latent.js';
import { sameLevel, type Interval, type Level } from '../level.js';
import { exponentialIntegral, integral, lagrangeBasis } from '../polynomial.js';
import { impliedNoise, once, skippingIdleSteps, type Memory, type Past, type Rule } from './rule.js';

const rho = ({ alpha, sigma }: Level): number => sigma / alpha;

/** Weight of each noise estimate in `x'/α' = x/α + Σ w_j·ε_j`: `w_j = ∫ ℓ_j` from ρ to ρ'. Nodes newest first. */
type Weights = (nodes: readonly Level[], to: Level) => readonly number[];

/** k-diffusion's LMS (Katherine Crowson): the polynomial in ρ; Adams–Bashforth for uneven steps. */
const inRho: Weights = (nodes, to) => {
  const start = nodes[0] === undefined ? 0 : rho(nodes[0]);
  const places = nodes.map((level) => rho(level) - start);
  return places.map((_, j) => integral(lagrangeBasis(places, j), rho(to) - start));
};

/** DEIS (Zhang & Chen 2023, arXiv 2204.13902, ρAB in ln ρ): the polynomial in u = ln ρ, so dρ = ρ₀ eᵘ du. */
const inLogRho: Weights = (nodes, to) => {
  const start = nodes[0] === undefined ? 1 : rho(nodes[0]);
  const places = nodes.map((level) => Math.log(rho(level) / start));
  const end = Math.log(rho(to) / start);
  return places.map((_, j) => start * exponentialIntegral(lagrangeBasis(places, j), end));
};

function multistep(weights: Weights, keep: number, nodesOf: NodesOf): Rule {
  return skippingIdleSteps({
    stochastic: false,
    visits: once,
    step: async (x, interval, { denoise, combine }, memory) => {
      const { from, to } = interval;
      const m = settled(impliedNoise(x, await denoise(x, from), from), combine);
      const past = [{ level: from, x, m }, ...memory].slice(0, keep);
      const nodes = nodesOf(interval, past);
      const w = weights(nodes, to);
      const terms = past.slice(0, nodes.length).map((p, j) => [to.alpha * (w[j] ?? 0), p.m] as const);
      return [combine([to.alpha / from.alpha, x], ...terms), past];
    },
  });
}

/** The levels whose noise estimates a step uses, newest first. */
type NodesOf = (interval: Interval, past: Memory<Latent>) => readonly Level[];

/**
 * LMS of order 4. Its order follows the position in the schedule, as in diffusers: a run that begins in the middle (picture
 * to picture) weighs the estimates it has as if it had the earlier ones too.
 */
export function lms(): Rule {
  return multistep(inRho, 4, ({ index, levels }) => {
    const reached = levels.slice(0, index + 1).reverse();
    return reached.filter((level, i) => !reached.slice(0, i).some((later) => sameLevel(later, level))).slice(0, 4);
  });
}

/** Below this many steps the last steps are of lower order, for stability (diffusers). */
const FEW_STEPS = 15;

/**
 * The order of a multistep solver at a step: what is wanted, what the past allows, and 1, 2, … steps before the end.
 *
 * @param easeOut whether the order falls towards the end at all
 */
export function orderAt(
  { index, levels }: Interval,
  wanted: number,
  past: readonly Past<Latent>[],
  easeOut: boolean,
): number {
  const left = levels.length - index;
  return Math.min(wanted, past.length, easeOut && levels.length < FEW_STEPS ? left : wanted);
}

/** DEIS of order 1, 2 or 3. */
export function deis(order: number, lowerOrderFinal: boolean): Rule {
  return multistep(inLogRho, order, (interval, past) =>
    past.slice(0, orderAt(interval, order, past, lowerOrderFinal)).map(({ level }) => level),
  );
}
