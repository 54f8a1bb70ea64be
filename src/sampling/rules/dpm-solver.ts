/**
 * @file The DPM-Solver family: exponential integrators in λ = ln(α/σ). DPM-Solver++ on x̂₀ ("data"), DPM-Solver on ε̂
 * ("noise"), their SDE form, multistep and singlestep, orders 1 to 3.
 *
 * Lu et al. 2022a "DPM-Solver" (arXiv 2206.00927), Lu et al. 2022b "DPM-Solver++" (arXiv 2211.01095).
 */
import { settled, type Latent, type Term, type Vector } from '../latent.js';
import { logSnr, type Level } from '../level.js';
import { orderAt } from './linear-multistep.js';
import { impliedNoise, once, skippingIdleSteps, type Env, type Memory, type Past, type Rule } from './rule.js';

/** Whether the solver integrates the data prediction x̂₀ or the noise prediction ε̂. */
export type Form = 'data' | 'noise';

export interface DpmSettings {
  readonly order: number;
  readonly form: Form;
  /** Solve the reverse SDE (data form only): noise is drawn at every step. */
  readonly sde: boolean;
  /** How the second order takes the derivative in: DPM-Solver++(2M) with `midpoint` or the full φ₂ term with `heun`. */
  readonly solver: 'midpoint' | 'heun';
}

/** The coefficients of `x' = scale·x + gain·(e₀·D₀ + e₁·D₁ + e₂·D₂) + s·z`. */
interface Exponential {
  readonly scale: number;
  readonly gain: number;
  readonly e0: number;
  /** e₁ of the midpoint form, half of e₀. */
  readonly e1Midpoint: number;
  readonly e1: number;
  readonly e2: number;
  readonly s: number;
}

/**
 * Integrates `e^{−λ}` times a Taylor polynomial over h = λ' − λ (2022b eq. 8; 2022a eq. 3.4; SDE: 2022b, SDE-DPM-Solver++).
 * Noise is data with α and σ exchanged and λ negated; the SDE decays twice as fast (k = −2h).
 */
function exponential({ form, sde }: DpmSettings, from: Level, to: Level): Exponential {
  const h = logSnr(to) - logSnr(from);
  const k = form === 'noise' ? h : sde ? -2 * h : -h;
  const grown = Math.expm1(k);
  const e1 = 1 - grown / k;
  const ratio = form === 'noise' ? to.alpha / from.alpha : to.sigma / from.sigma;
  return {
    scale: sde ? ratio * Math.exp(-h) : ratio,
    gain: form === 'noise' ? to.sigma : to.alpha,
    e0: -grown,
    e1Midpoint: -grown / 2,
    e1,
    // The SDE's sign of ½ is diffusers' own; the derivation has +½ there as well.
    e2: (sde ? -0.5 : 0.5) - (grown - k) / (k * k),
    s: sde ? to.sigma * Math.sqrt(-Math.expm1(-2 * h)) : 0,
  };
}

/** `scale·x + gain·Σ w_j·m_j + s·z`, weights newest first. */
function advance<L extends Latent>(
  { scale, gain, s }: Exponential,
  x: Vector<L>,
  past: Memory<L>,
  weights: readonly number[],
  { combine, noise }: Env<L>,
  { sde }: DpmSettings,
): L {
  const terms = weights.flatMap((w, j): Term<L>[] => {
    const p = past[j];
    return p === undefined ? [] : [[gain * w, p.m]];
  });
  return combine([scale, x], ...terms, ...(sde ? [[s, noise()] as const] : []));
}

/** The model value at `level`, remembered: as a sum of two arrays while one pass can add them all up, else computed. */
async function evaluate<L extends Latent>(x: L, level: Level, env: Env<L>, settings: DpmSettings): Promise<Past<L>> {
  const denoised = await env.denoise(x, level);
  const m = settings.form === 'data' ? denoised : impliedNoise(x, denoised, level);
  return { level, x, m: settings.order <= 2 ? m : settled(m, env.combine) };
}

/**
 * Weights of m₀ (newest), m₁, m₂ for a multistep step of order 1, 2 or 3: divided differences over the past
 * (2022b alg. 2; third order: D₁ and D₂ of the quadratic through three values). D₂ is the divided difference itself, half
 * of the second derivative, as in diffusers and k-diffusion; with it the third order converges like a second.
 */
function multistepWeights(
  c: Exponential,
  levels: readonly Level[],
  to: Level,
  solver: DpmSettings['solver'],
): number[] {
  const [now, before, earlier] = levels;
  if (now === undefined || before === undefined) return [c.e0];
  const h = logSnr(to) - logSnr(now);
  const r0 = (logSnr(now) - logSnr(before)) / h;
  if (earlier === undefined) {
    const d = (solver === 'midpoint' ? c.e1Midpoint : c.e1) / r0;
    return [c.e0 + d, -d];
  }
  const r1 = (logSnr(before) - logSnr(earlier)) / h;
  const curvature = (c.e1 * r0 + c.e2) / (r0 + r1);
  const d0 = (c.e1 + curvature) / r0;
  const d1 = curvature / r1;
  return [c.e0 + d0, -d0 - d1, d1];
}

export interface MultistepSettings extends DpmSettings {
  /** Lower the order over the last steps of a short run. */
  readonly lowerOrderFinal: boolean;
  /** The last step is always first order (it must be when it ends at σ = 0). */
  readonly firstOrderLast: boolean;
}

/** DPM-Solver++ 2M, 3M and their relatives: past evaluations stand in for extra ones. */
export function dpmMultistep(settings: MultistepSettings): Rule {
  return skippingIdleSteps({
    stochastic: settings.sde,
    visits: once,
    step: async (x, interval, env, memory) => {
      const { from, to } = interval;
      const past = [await evaluate(x, from, env, settings), ...memory].slice(0, settings.order);
      const last = interval.index === interval.levels.length - 1;
      const order =
        last && settings.firstOrderLast ? 1 : orderAt(interval, settings.order, past, settings.lowerOrderFinal);
      const c = exponential(settings, from, to);
      const weights = multistepWeights(
        c,
        past.slice(0, order).map(({ level }) => level),
        to,
        settings.solver,
      );
      return [advance(c, x, past, weights, env, settings), past];
    },
  });
}

/**
 * Weights, newest first, of a singlestep step that began at the oldest level of `levels` and has evaluated at each
 * (2022b alg. 1; 2022a algs. 1 and 2 with r₁, r₂ given by the schedule).
 */
function singlestepWeights(
  c: Exponential,
  levels: readonly Level[],
  to: Level,
  solver: DpmSettings['solver'],
): number[] {
  const start = levels.at(-1);
  const [now, middle] = levels;
  if (start === undefined || now === undefined || middle === undefined) return [c.e0];
  const h = logSnr(to) - logSnr(start);
  const r0 = (logSnr(now) - logSnr(start)) / h;
  if (levels.length === 2) {
    const d = (solver === 'midpoint' ? c.e1Midpoint : c.e1) / r0;
    return [d, c.e0 - d];
  }
  if (solver === 'midpoint') return [c.e1 / r0, 0, c.e0 - c.e1 / r0];
  const r1 = (logSnr(middle) - logSnr(start)) / h;
  // D₁ = (r₀·B − r₁·A)/(r₀ − r₁), D₂ = 2(A − B)/(r₀ − r₁) with A = (m₀ − m₂)/r₀, B = (m₁ − m₂)/r₁.
  const a = (2 * c.e2 - c.e1 * r1) / (r0 - r1) / r0;
  const b = (c.e1 * r0 - 2 * c.e2) / (r0 - r1) / r1;
  return [a, b, c.e0 - a - b];
}

/**
 * The order of each of `steps` steps: 1, 2 (, 3) over and over; with `lowerOrderFinal` (or where groups do not fit) the
 * last group is 1, 1 or 1, 2, 1 or shorter (2022a, "DPM-Solver-fast").
 */
export function singlestepOrders(steps: number, order: number, lowerOrderFinal: boolean): readonly number[] {
  const group = [1, 2, 3].slice(0, order);
  if (order === 1) return Array<number>(steps).fill(1);
  if (!lowerOrderFinal && steps % order === 0)
    return Array<readonly number[]>(steps / order)
      .fill(group)
      .flat();
  const groups = steps % order === 0 ? steps / order - 1 : Math.floor(steps / order);
  const left = steps - groups * order;
  const tail = order === 3 ? [1, 2, 1].slice(0, left) : [1, 1].slice(0, left);
  return [...Array<readonly number[]>(groups).fill(group).flat(), ...tail];
}

/**
 * DPM-Solver++ singlestep ("DPM++", "DPM++ SDE"): a group of `order` steps starts at one latent. Its second step starts
 * there again with what the first has learned, and so does the third.
 *
 * @param endsAtZero the last step goes to σ = 0, so the last group is of lower order and the last step first order
 */
export function dpmSinglestep(settings: DpmSettings, lowerOrderFinal: boolean, endsAtZero: boolean): Rule {
  return skippingIdleSteps({
    stochastic: settings.sde,
    visits: once,
    step: async (x, interval, env, memory) => {
      const { from, to, index, levels } = interval;
      const past = [await evaluate(x, from, env, settings), ...memory].slice(0, settings.order);
      const last = index === levels.length - 1;
      const planned = singlestepOrders(levels.length, settings.order, lowerOrderFinal || endsAtZero)[index] ?? 1;
      const order = Math.min(last && endsAtZero ? 1 : planned, past.length);
      const group = past.slice(0, order);
      const start = group.at(-1) ?? { level: from, x };
      const c = exponential(settings, start.level, to);
      const weights = singlestepWeights(
        c,
        group.map(({ level }) => level),
        to,
        settings.solver,
      );
      return [advance(c, start.x, past, weights, env, settings), past];
    },
  });
}
