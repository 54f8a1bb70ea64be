/** @file Adams–Bashforth: PNDM, which extrapolates the network's outputs (with its two ways to warm up), and iPNDM, which extrapolates the noise. */
import { settled, sum, type Latent, type Sum, type Vector } from '../latent.js';
import type { Interval, Level } from '../level.js';
import type { Precondition } from '../preconditioning.js';
import { transfer } from './first-order.js';
import { impliedNoise, once, type Env, type Memory, type Past, type Rule } from './rule.js';

/** Weights of the last 1, 2, 3 or 4 slopes, newest first (Liu et al. 2022 "PNDM", §3.3; Zhang & Chen 2023 "iPNDM"). */
const ADAMS_BASHFORTH: readonly (readonly number[])[] = [
  [1],
  [3 / 2, -1 / 2],
  [23 / 12, -16 / 12, 5 / 12],
  [55 / 24, -59 / 24, 37 / 24, -9 / 24],
];

/** The slope that the newest evaluations extrapolate to. */
function extrapolate<L extends Latent>(memory: Memory<L>): Sum<L> {
  const weights = ADAMS_BASHFORTH[Math.min(memory.length, 4) - 1] ?? [];
  return sum(...memory.slice(0, 4).map(({ m }, j) => [weights[j] ?? 0, m] as const));
}

const remember = <L extends Latent>(now: Past<L>, memory: Memory<L>): Memory<L> => [now, ...memory].slice(0, 4);

/**
 * iPNDM in σ (Zhang & Chen 2023, arXiv 2204.13902; constant coefficients): `x' = x + (σ' − σ)·ε'` with orders 1, 2, 3, 4, 4, …;
 * the step to σ = 0 returns x̂₀. α = 1 throughout.
 */
export function ipndm(): Rule {
  return {
    stochastic: false,
    visits: once,
    step: async (x, { from, to }, { denoise, combine }, memory) => {
      const denoised = await denoise(x, from);
      if (to.sigma === 0) return [combine([1, denoised]), memory];
      const m = settled(impliedNoise(x, denoised, from), combine);
      const past = remember({ level: from, x, m }, memory);
      return [combine([1, x], [to.sigma - from.sigma, extrapolate(past)]), past];
    },
  };
}

/** The level of the next step's start; none in the last step. */
const nextLevel = ({ index, levels }: Interval): Level | undefined => levels[index + 1];

/**
 * PNDM (Liu et al. 2022): Adams–Bashforth of order 4 on the network's outputs F, moved by DDIM's step (eq. 11).
 * The first slopes come from a Heun-like first step ("PLMS", `rungeKutta` false: one evaluation more than steps) or from
 * three pseudo Runge–Kutta steps of four evaluations.
 *
 * `via` of an interval: PLMS: the level one stride above the next; Runge–Kutta: the middle seen from above and from below.
 *
 * @param precondition tells F of an estimate: F = (x̂₀ − c_skip·x)/c_out
 */
export function pndm(precondition: Precondition, rungeKutta: boolean): Rule {
  /** F at a level. */
  async function look<L extends Latent>(x: L, level: Level, { denoise, combine }: Env<L>): Promise<L> {
    const { cSkip, cOut } = precondition(level);
    return settled(sum([1 / cOut, await denoise(x, level)], [-cSkip / cOut, x]), combine);
  }
  /** φ of eq. 11: from x at `from` to `to`, were the output there `f`. */
  function move<L extends Latent>(x: L, f: Vector<L>, from: Level, to: Level, { combine }: Env<L>): L {
    const { cSkip, cOut } = precondition(from);
    return combine([1, transfer(x, sum([cSkip, x], [cOut, f]), from, to)]);
  }

  /** First step of PLMS: DDIM, then again with the mean of the outputs at both ends. */
  async function improvedEuler<L extends Latent>(x: L, f: L, interval: Interval, next: Level, env: Env<L>): Promise<L> {
    const [above = interval.from] = interval.via;
    const trial = move(x, f, interval.from, interval.to, env);
    const mean = sum([0.5, f], [0.5, await look(trial, next, env)]);
    return move(x, mean, above, next, env);
  }

  /** Pseudo Runge–Kutta: `F' = (F₁ + 2F₂ + 2F₃ + F₄)/6`. */
  async function rungeKuttaStep<L extends Latent>(
    x: L,
    f1: L,
    interval: Interval,
    next: Level,
    env: Env<L>,
  ): Promise<L> {
    const { from } = interval;
    const [upper = from, lower = from] = interval.via;
    const f2 = await look(move(x, f1, from, upper, env), lower, env);
    const f3 = await look(move(x, f2, from, lower, env), lower, env);
    const f4 = await look(move(x, f3, from, next, env), next, env);
    const mean = sum([1 / 6, f1], [1 / 3, f2], [1 / 3, f3], [1 / 6, f4]);
    return move(x, mean, from, next, env);
  }

  return {
    stochastic: false,
    visits: (interval, stepsBefore) => {
      const next = nextLevel(interval);
      const [, lower = interval.from] = interval.via;
      if (next === undefined) return [interval.from];
      if (rungeKutta) return stepsBefore < 3 ? [interval.from, lower, lower, next] : [interval.from];
      return stepsBefore === 0 ? [interval.from, next] : [interval.from];
    },
    step: async (x, interval, env, memory) => {
      const { from, to } = interval;
      const next = nextLevel(interval);
      const f = await look(x, from, env);
      const past = remember({ level: from, x, m: f }, memory);
      if (next !== undefined && rungeKutta && memory.length < 3)
        return [await rungeKuttaStep(x, f, interval, next, env), past];
      if (next !== undefined && !rungeKutta && memory.length === 0)
        return [await improvedEuler(x, f, interval, next, env), past];
      return [move(x, extrapolate(past), from, to, env), past];
    },
  };
}
