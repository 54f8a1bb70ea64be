/** @file UniPC: a predictor, and a corrector that uses the evaluation of the next step (Zhao et al. 2023, arXiv 2302.04867). */
import { settled, sum, type Latent, type Sum, type Term, type Vector } from '../latent.js';
import { logSnr, sameLevel, type Interval, type Level } from '../level.js';
import { lagrangeBasis } from '../polynomial.js';
import type { Form } from './dpm-solver.js';
import { impliedNoise, once, type Memory, type Rule } from './rule.js';

export interface UniPcSettings {
  readonly order: number;
  readonly form: Form;
  /** The function B(h) of §3.1: `bh1` h, `bh2` eʰ − 1. */
  readonly basis: 'bh1' | 'bh2';
  readonly lowerOrderFinal: boolean;
  /** Steps (of the whole schedule) after which the corrector is left out. */
  readonly uncorrected: readonly number[];
}

/**
 * The weights a_m of §3.1: `Σ_m a_m·r_m^{n−1} = n!·φ_{n+1}(k)·k/B`, n = 1…p, for the places r_m of the differences.
 * Such a moment equation is solved by the Lagrange polynomials of the places.
 */
function differenceWeights(places: readonly number[], k: number, b: number): number[] {
  const moments: number[] = [];
  let phi = Math.expm1(k) / k - 1; // k·φ₂, then k·φ₃, …
  for (let n = 1, factorial = 1; n <= places.length; n++) {
    moments.push((phi * factorial) / b);
    factorial *= n + 1;
    phi = phi / k - 1 / factorial;
  }
  return places.map((_, m) => lagrangeBasis(places, m).reduce((sum, c, n) => sum + c * (moments[n] ?? 0), 0));
}

/** `x' = scale·x + rest`, the rest a sum of model values. */
interface Update<L extends Latent> {
  readonly x: Vector<L>;
  readonly scale: number;
  readonly rest: Sum<L>;
}

const updated = <L extends Latent>({ x, scale, rest }: Update<L>): Sum<L> => sum([scale, x], [1, rest]);

/**
 * x in terms of the x' it led to: x = (x' − rest)/scale. A corrected latent is so never computed, as only the next
 * corrector asks for it, which has x' at hand. An update to σ = 0 cannot be undone, and none follows it.
 */
const originOf = <L extends Latent>(next: L, { x, scale, rest }: Update<L>): Vector<L> =>
  scale === 0 ? x : sum<L>([1 / scale, next], [-1 / scale, rest]);

/**
 * From memory[0] to `to` with the differences to the older evaluations, and for the corrector to the one at `to` (UniP-p, UniC-p).
 * `x' = scale·x − gain·((eᵏ − 1)·m₀ + B·Σ a_m·(m_m − m₀)/r_m)`
 */
function unified<L extends Latent>(
  memory: Memory<L>,
  to: Level,
  atTarget: Vector<L> | undefined,
  { form, basis }: UniPcSettings,
): Update<L> {
  const [start, ...older] = memory;
  if (start === undefined) throw new RangeError('UniPC steps from an evaluation');
  const from = start.level;
  const h = logSnr(to) - logSnr(from);
  const k = form === 'data' ? -h : h;
  const [gain, scale] = form === 'data' ? [to.alpha, to.sigma / from.sigma] : [to.sigma, to.alpha / from.alpha];
  const b = basis === 'bh1' ? k : Math.expm1(k);
  const places = [...older.map(({ level }) => (logSnr(level) - logSnr(from)) / h), ...(atTarget ? [1] : [])];
  const values = [...older.map(({ m }) => m), ...(atTarget ? [atTarget] : [])];
  // One difference alone weighs ½, whatever h is (§3.1).
  const weights = places.length === 1 ? [0.5] : differenceWeights(places, k, b);
  const factors = places.map((r, m) => (-gain * b * (weights[m] ?? 0)) / r);
  const own = -gain * Math.expm1(k) - factors.reduce((sum, f) => sum + f, 0);
  return { x: start.x, scale, rest: sum([own, start.m], ...values.map((m, j): Term<L> => [factors[j] ?? 0, m])) };
}

/** UniPC-p: `order` p, `B(h)` and the prediction form as set. */
export function unipc(settings: UniPcSettings): Rule {
  const { order, form, lowerOrderFinal, uncorrected } = settings;
  const orderOf = (index: number, { levels }: Interval, evaluations: number): number =>
    Math.min(order, evaluations, lowerOrderFinal ? levels.length - index : order);
  return {
    stochastic: false,
    visits: once,
    step: async (predicted, interval, { denoise, combine }, memory) => {
      const { from, to, index } = interval;
      const denoised = await denoise(predicted, from);
      const m = settled(form === 'data' ? denoised : impliedNoise(predicted, denoised, from), combine);
      const correct = memory.length > 0 && !uncorrected.includes(index - 1);
      const used = memory.slice(0, orderOf(index - 1, interval, memory.length));
      const x = correct ? updated(unified(used, from, m, settings)) : predicted;
      // A step of no length (a repeated level) has its corrector and nothing else.
      if (sameLevel(from, to)) return [settled(x, combine), memory];
      const past = [{ level: from, x, m }, ...memory].slice(0, order + 1);
      const update = unified(past.slice(0, orderOf(index, interval, past.length)), to, undefined, settings);
      const next = combine([1, updated(update)]);
      return [next, [{ level: from, x: originOf(next, update), m }, ...memory].slice(0, order + 1)];
    },
  };
}
