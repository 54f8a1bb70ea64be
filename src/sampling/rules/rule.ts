/**
 * @file The shape of a step rule: the part of a sampler that differs from one to another, and nothing else.
 *
 * A rule is a pure function from (latent, interval, past evaluations) to the next latent. What it needs from outside,
 * the network and the noise, it asks of `Env`. Progress, abort, NaN checks and scalings are the loop's (`sample.ts`).
 */
import { sum, type Combine, type Latent, type Sum, type Vector } from '../latent.js';
import { sameLevel, type Interval, type Level } from '../level.js';

/** What a rule may ask for. */
export interface Env<L extends Latent> {
  /**
   * x̂₀ = D(x; level): one evaluation of the network. The estimate is a sum that is not computed yet, and so may x be, of
   * which only the scaled input is then computed.
   */
  readonly denoise: (x: Vector<L>, level: Level) => Promise<Sum<L>>;
  /** Fresh unit normal noise of the latent's length. Each call draws on from the picture's generator. */
  readonly noise: () => L;
  /** `a·x + b·y + …` */
  readonly combine: Combine<L>;
}

/** An earlier evaluation, as multistep rules remember it. `m` is the rule's model value: x̂₀ or the noise ε̂. */
export interface Past<L extends Latent> {
  readonly level: Level;
  readonly x: Vector<L>;
  readonly m: Vector<L>;
}

/** The past evaluations of this run, newest first; empty at its first step. */
export type Memory<L extends Latent> = readonly Past<L>[];

/** From the latent at `interval.from` to the latent at `interval.to`, and what to remember for the next step. */
export type Step = <L extends Latent>(
  x: L,
  interval: Interval,
  env: Env<L>,
  memory: Memory<L>,
) => Promise<readonly [next: L, memory: Memory<L>]>;

export interface Rule {
  readonly step: Step;
  /** Whether the rule draws noise. */
  readonly stochastic: boolean;
  /** The levels at which a step evaluates the network, in order. `stepsBefore`: steps of this run that came before it. */
  readonly visits: (interval: Interval, stepsBefore: number) => readonly Level[];
}

/** `visits` of the rules that evaluate once, at the start of each step. */
export const once = (interval: Interval): readonly Level[] => [interval.from];

/** ε̂ = (x − α·x̂₀)/σ: the noise that a denoised estimate implies. */
export function impliedNoise<L extends Latent>(x: L, denoised: Vector<L>, { alpha, sigma }: Level): Sum<L> {
  return sum<L>([1 / sigma, x], [-alpha / sigma, denoised]);
}

/**
 * A rule that divides by the length of its steps, made safe for one of no length (a repeated level): it evaluates, draws
 * what it would draw, and leaves latent and memory as they are.
 */
export function skippingIdleSteps(rule: Rule): Rule {
  return {
    ...rule,
    step: async (x, interval, env, memory) => {
      const { from, to } = interval;
      if (!sameLevel(from, to)) return rule.step(x, interval, env, memory);
      await env.denoise(x, from);
      if (rule.stochastic) env.noise();
      return [x, memory];
    },
  };
}
