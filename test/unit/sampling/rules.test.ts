/**
 * @file Every step rule on problems with a known answer: the edge table (one step, final σ = 0, a repeated level, constant
 * estimate, η 0 and 1) and the observed order of convergence on a linear ODE.
 */
import { describe, expect, it } from 'vitest';
import { combiner, settled } from '../../../src/sampling/latent.js';
import {
  varianceExploding,
  variancePreserving,
  rectifiedFlow,
  type Interval,
  type Level,
} from '../../../src/sampling/level.js';
import { linspace } from '../../../src/sampling/numeric.js';
import { diffusionPreconditioning } from '../../../src/sampling/preconditioning.js';
import { ipndm, pndm } from '../../../src/sampling/rules/adams.js';
import { flowLcm, lcm, tcd } from '../../../src/sampling/rules/consistency.js';
import { dpmMultistep, dpmSinglestep, singlestepOrders, type Form } from '../../../src/sampling/rules/dpm-solver.js';
import { ddim, ddpm, euler, eulerAncestral } from '../../../src/sampling/rules/first-order.js';
import { deis, lms } from '../../../src/sampling/rules/linear-multistep.js';
import type { Env, Memory, Past, Rule } from '../../../src/sampling/rules/rule.js';
import { heun, midpoint } from '../../../src/sampling/rules/second-order.js';
import { unipc } from '../../../src/sampling/rules/unipc.js';
import { distance } from './golden-cases.js';

type Scaling = (sigma: number, timestep: number) => Level;
type Denoiser = (x: Float64Array, level: Level) => Float64Array;

const multi = (order: number, form: Form = 'data', solver: 'midpoint' | 'heun' = 'midpoint', sde = false): Rule =>
  dpmMultistep({ order, form, solver, sde, lowerOrderFinal: false, firstOrderLast: true });
const single = (order: number, sde = false): Rule =>
  dpmSinglestep({ order, form: 'data', solver: order === 3 ? 'heun' : 'midpoint', sde }, true, true);
const uni = (order: number, form: Form = 'data', basis: 'bh1' | 'bh2' = 'bh2', lowerOrderFinal = false): Rule =>
  unipc({ order, form, basis, lowerOrderFinal, uncorrected: [] });
const epsilon = diffusionPreconditioning('epsilon');

type Via = (from: Level, to: Level) => readonly Level[];

/** Midpoints in ln σ as the KDPM2 schedule has them, none to σ = 0. */
const middle: Via = (from, to) => (to.sigma === 0 ? [] : [{ ...from, sigma: Math.sqrt(from.sigma * to.sigma) }]);
/** PLMS wants the level before the next one, PNDM's Runge–Kutta the middle as seen from above and from below. */
const before: Via = (from) => [from];
const middleTwice: Via = (from, to) => [...middle(from, to), ...middle(from, to)];
const nowhere: Via = () => [];

/** Steps between the levels. */
function intervalsOf(levels: readonly Level[], via: Via = nowhere): Interval[] {
  const starts = levels.slice(0, -1);
  return starts.map((from, index) => {
    const to = levels[index + 1] ?? from;
    return { from, to, via: via(from, to), index, levels: starts };
  });
}

interface Trace {
  readonly x: Float64Array;
  readonly visited: readonly Level[];
  readonly draws: number;
}

async function run(
  rule: Rule,
  intervals: readonly Interval[],
  start: Float64Array,
  denoiser: Denoiser,
  memory: Memory<Float64Array> = [],
): Promise<Trace> {
  const visited: Level[] = [];
  let draws = 0;
  const combine = combiner<Float64Array>((n) => new Float64Array(n));
  const env: Env<Float64Array> = {
    combine,
    noise: () => Float64Array.from(start, (_, i) => Math.cos(++draws * (i + 1))),
    denoise: (x, level) => {
      visited.push(level);
      return Promise.resolve([[1, denoiser(settled(x, combine), level)]] as const);
    },
  };
  let x = start;
  let past = memory;
  for (const interval of intervals) [x, past] = await rule.step(x, interval, env, past);
  return { x, visited, draws: draws / start.length };
}

/** Which scalings a rule works in: KDPM2, Heun and iPNDM use slopes in σ and need α = 1. */
const exploding = [varianceExploding];
const all = [varianceExploding, variancePreserving, rectifiedFlow];
interface Subject {
  readonly rule: Rule;
  readonly scalings: readonly Scaling[];
  readonly via?: Via;
  /** The step to σ = 0 returns the estimate itself. */
  readonly landsOnEstimate?: false;
}

const RULES: Readonly<Record<string, Subject>> = {
  euler: { rule: euler(), scalings: all },
  'ddim η=0': { rule: ddim(0, undefined), scalings: all },
  'ddim η=0.5': { rule: ddim(0.5, undefined), scalings: all },
  'ddim η=1': { rule: ddim(1, undefined), scalings: all },
  'ddim clipped': { rule: ddim(1, 9), scalings: all },
  'euler a': { rule: eulerAncestral(), scalings: all },
  ddpm: { rule: ddpm('small', undefined), scalings: all },
  heun: { rule: heun(undefined), scalings: exploding },
  'heun clipped': { rule: heun(9), scalings: exploding },
  kdpm2: { rule: midpoint(false), scalings: exploding, via: middle },
  'kdpm2 a': { rule: midpoint(true), scalings: exploding, via: middle },
  ipndm: { rule: ipndm(), scalings: exploding },
  plms: { rule: pndm(epsilon, false), scalings: [varianceExploding, variancePreserving], via: before },
  'pndm with Runge–Kutta': { rule: pndm(epsilon, true), scalings: exploding, via: middleTwice },
  lms: { rule: lms(), scalings: all },
  'dpm++ 1': { rule: multi(1), scalings: all },
  'dpm++ 2m': { rule: multi(2), scalings: all },
  'dpm++ 2m heun': { rule: multi(2, 'data', 'heun'), scalings: all },
  'dpm++ 3m': { rule: multi(3), scalings: all },
  'dpm++ 2m sde': { rule: multi(2, 'data', 'midpoint', true), scalings: all },
  'dpm++ 3m sde': { rule: multi(3, 'data', 'midpoint', true), scalings: all },
  'dpm++ single 2': { rule: single(2), scalings: all },
  'dpm++ single 3': { rule: single(3), scalings: all },
  'dpm++ single sde': { rule: single(2, true), scalings: all },
  'unipc 2': { rule: uni(2, 'data', 'bh2', true), scalings: all },
  'unipc 3': { rule: uni(3, 'data', 'bh2', true), scalings: all },
  'unipc 3 bh1': { rule: uni(3, 'data', 'bh1', true), scalings: all },
  'flow lcm': { rule: flowLcm(), scalings: all },
  tcd: { rule: tcd(0), scalings: all },
  lcm: { rule: lcm(1000, undefined), scalings: all, landsOnEstimate: false },
};
const cases = Object.entries(RULES).flatMap(([name, subject]) =>
  subject.scalings.map((scaling) => ({ name: `${name}, ${scaling.name}`, scaling, ...subject })),
);

const SIGMAS = [0.9, 0.7, 0.45, 0.3, 0.2, 0.1];
const levelsOf = (scaling: Scaling, sigmas: readonly number[]): Level[] => sigmas.map((s, i) => scaling(s, 900 - i));
const start = Float64Array.of(0.3, -1.7, 2.2);
const estimate = Float64Array.of(0.5, -0.25, 1.5);
const constant: Denoiser = () => estimate.slice();

describe('edge table', () => {
  it.each(cases)('$name: one step to σ = 0 returns the estimate', async ({ rule, scaling, via, landsOnEstimate }) => {
    const { x } = await run(rule, intervalsOf(levelsOf(scaling, [0.8, 0]), via), start, constant);
    // LCM mixes in c_skip·x, here (0.5/(1000·900))² of it.
    expect(distance(x, estimate)).toBeLessThanOrEqual(landsOnEstimate === false ? 1e-11 : 1e-14);
  });

  it.each(cases)('$name: a constant estimate is where every run to σ = 0 ends', async ({ rule, scaling, via }) => {
    const { x, visited } = await run(rule, intervalsOf(levelsOf(scaling, [...SIGMAS, 0]), via), start, constant);
    expect(distance(x, estimate)).toBeLessThanOrEqual(1e-11);
    expect(visited.length).toBeGreaterThanOrEqual(SIGMAS.length);
  });

  it.each(cases)(
    '$name: evaluates where it says it does, and draws only if it says so',
    async ({ rule, scaling, via }) => {
      const intervals = intervalsOf(levelsOf(scaling, [...SIGMAS, 0]), via);
      const { visited, draws } = await run(rule, intervals, start, constant);
      expect(visited).toEqual(intervals.flatMap((interval, i) => rule.visits(interval, i)));
      expect(draws > 0).toBe(rule.stochastic);
    },
  );

  const repeating = [0.9, 0.7, 0.45, 0.45, 0.45, 0.3, 0];
  it.each(cases)('$name: survives a repeated level', async ({ rule, scaling, via }) => {
    const { x } = await run(rule, intervalsOf(levelsOf(scaling, repeating), via), start, constant);
    expect(distance(x, estimate)).toBeLessThanOrEqual(1e-11);
  });

  it.each(cases.filter(({ rule }) => !rule.stochastic))(
    '$name: a step of no length changes nothing',
    async ({ rule, scaling }) => {
      const level = scaling(0.5, 500);
      const idle: Interval = { from: level, to: level, via: [level], index: 0, levels: [level] };
      const { x } = await run(rule, [idle], start, constant);
      expect(distance(x, start)).toBeLessThanOrEqual(1e-15);
    },
  );

  it('η = 1 of DDIM is DDPM’s posterior and Euler ancestral, whatever the scaling', async () => {
    for (const scaling of all) {
      const intervals = intervalsOf(levelsOf(scaling, SIGMAS));
      const runs = [
        ddim(1, undefined),
        ddpm('small', undefined),
        eulerAncestral(),
        multi(1, 'data', 'midpoint', true),
      ].map((rule) => run(rule, intervals, start, constant));
      const [first, ...others] = await Promise.all(runs);
      for (const other of others) expect(distance(other.x, first?.x ?? [])).toBeLessThanOrEqual(1e-14);
    }
  });

  it('η = 0 of DDIM is Euler, DPM-Solver 1 of both forms and TCD with γ = 0, and draws nothing', async () => {
    for (const scaling of all) {
      const intervals = intervalsOf(levelsOf(scaling, SIGMAS));
      const rules = [ddim(0, undefined), euler(), multi(1), multi(1, 'noise'), tcd(0)];
      const [first, ...others] = await Promise.all(rules.map((rule) => run(rule, intervals, start, constant)));
      expect(first?.draws).toBe(0);
      for (const other of others) expect(distance(other.x, first?.x ?? [])).toBeLessThanOrEqual(1e-13);
    }
  });

  it('a clipped estimate is clipped', async () => {
    const [interval] = intervalsOf(levelsOf(varianceExploding, [0.8, 0]));
    for (const rule of [ddim(0, 0.4), ddpm('small', 0.4), heun(0.4)]) {
      const { x } = await run(rule, interval === undefined ? [] : [interval], start, constant);
      expect([...x]).toEqual([0.4, -0.25, 0.4]);
    }
  });
});

/**
 * Data of normal distribution N(0, ρ²): D = ρ²·α·x/(ρ²α² + σ²), and the probability flow keeps x/√(ρ²α² + σ²)
 * (Karras et al. 2022, app. B).
 */
const SPREAD = 0.6;
const size = ({ alpha, sigma }: Level): number => Math.sqrt((SPREAD * alpha) ** 2 + sigma ** 2);
const gaussian: Denoiser = (x, level) => x.map((v) => (SPREAD ** 2 * level.alpha * v) / size(level) ** 2);
const exact = (level: Level, from: Level): Float64Array => start.map((v) => (v * size(level)) / size(from));

interface Order {
  readonly rule: Rule;
  readonly order: number;
  /** How σ runs from high to low: evenly, or evenly in ln σ. Constant coefficients need the even grid. */
  readonly grid: 'even' | 'logarithmic';
  /** Exact values of this many earlier evaluations are given, so that the warm-up does not hide the order. */
  readonly history?: number;
  /** What the rule remembers of them. */
  readonly remembers?: 'estimate' | 'noise';
  readonly scalings?: readonly Scaling[];
  readonly via?: Via;
}

/** The middle of an even grid, for both looks of the Runge–Kutta start. */
const evenMiddle: Via = (from, to) => {
  const level = { ...from, sigma: (from.sigma + to.sigma) / 2 };
  return [level, level];
};

const ORDERS: Readonly<Record<string, Order>> = {
  euler: { rule: euler(), order: 1, grid: 'logarithmic', scalings: all },
  heun: { rule: heun(undefined), order: 2, grid: 'logarithmic' },
  kdpm2: { rule: midpoint(false), order: 2, grid: 'logarithmic', via: middle },
  ipndm: { rule: ipndm(), order: 4, grid: 'even', history: 3, remembers: 'noise' },
  plms: { rule: pndm(epsilon, false), order: 4, grid: 'even', history: 3, remembers: 'noise', via: before },
  'plms warm-up': { rule: pndm(epsilon, false), order: 3, grid: 'even', via: before },
  'pndm with Runge–Kutta': { rule: pndm(epsilon, true), order: 4, grid: 'even', via: evenMiddle },
  lms: { rule: lms(), order: 4, grid: 'logarithmic', history: 3, remembers: 'noise', scalings: all },
  'deis 1': { rule: deis(1, false), order: 1, grid: 'logarithmic', scalings: all },
  'deis 2': { rule: deis(2, false), order: 2, grid: 'logarithmic', history: 1, remembers: 'noise', scalings: all },
  'deis 3': { rule: deis(3, false), order: 3, grid: 'logarithmic', history: 2, remembers: 'noise', scalings: all },
  'dpm++ 2m': { rule: multi(2), order: 2, grid: 'logarithmic', history: 1, scalings: all },
  'dpm++ 2m heun': { rule: multi(2, 'data', 'heun'), order: 2, grid: 'logarithmic', history: 1, scalings: all },
  // The classes' D₂ is half of what the Taylor polynomial needs (so it is in diffusers and k-diffusion): order 2, not 3.
  'dpm++ 3m': { rule: multi(3), order: 2, grid: 'logarithmic', history: 2, scalings: all },
  'dpm 2m': { rule: multi(2, 'noise'), order: 2, grid: 'logarithmic', history: 1, remembers: 'noise', scalings: all },
  'dpm 3m': { rule: multi(3, 'noise'), order: 2, grid: 'logarithmic', history: 2, remembers: 'noise', scalings: all },
  'dpm++ single 2': { rule: single(2), order: 2, grid: 'logarithmic', scalings: all },
  'unipc 1': { rule: uni(1), order: 2, grid: 'logarithmic', scalings: all },
  'unipc 2': { rule: uni(2), order: 3, grid: 'logarithmic', history: 1, scalings: all },
  'unipc 2 bh1': { rule: uni(2, 'data', 'bh1'), order: 3, grid: 'logarithmic', history: 1, scalings: all },
  'unipc 2 of noise': {
    rule: uni(2, 'noise'),
    order: 3,
    grid: 'logarithmic',
    history: 1,
    remembers: 'noise',
    scalings: all,
  },
  'unipc 3': { rule: uni(3), order: 4, grid: 'logarithmic', history: 2, scalings: all },
};
const orderCases = Object.entries(ORDERS).flatMap(([name, c]) =>
  (c.scalings ?? exploding).map((scaling) => ({ name: `${name}, ${scaling.name}`, scaling, ...c })),
);

/** Error at the end of `steps` steps from σ = 0.9 to 0.3, the exact past given where the rule needs one. */
async function errorAfter(c: Order, scaling: Scaling, steps: number): Promise<number> {
  const history = c.history ?? 0;
  const ends = c.grid === 'even' ? ([0.9, 0.3] as const) : ([Math.log(0.9), Math.log(0.3)] as const);
  const stride = (ends[1] - ends[0]) / steps;
  const places = linspace(ends[0] - history * stride, ends[1], steps + history + 1);
  const sigmas = c.grid === 'even' ? places : places.map(Math.exp);
  const levels = sigmas.map((sigma, i) => scaling(sigma, 900 - i));
  const intervals = intervalsOf(levels, c.via);
  const from = levels[history];
  if (from === undefined) throw new Error('no levels');
  const past = levels
    .slice(0, history)
    .reverse()
    .map((level): Past<Float64Array> => {
      const x = exact(level, from);
      const denoised = gaussian(x, level);
      const noise = x.map((v, i) => (v - level.alpha * (denoised[i] ?? NaN)) / level.sigma);
      return { level, x, m: c.remembers === 'noise' ? noise : denoised };
    });
  const { x } = await run(c.rule, intervals.slice(history), start, gaussian, past);
  const last = levels.at(-1);
  return last === undefined ? NaN : distance(x, exact(last, from));
}

describe('order of convergence', () => {
  it.each(orderCases)('$name: order $order', async ({ scaling, ...c }) => {
    const [coarse, fine] = [await errorAfter(c, scaling, 96), await errorAfter(c, scaling, 192)];
    expect(Math.abs(Math.log2(coarse / fine) - c.order)).toBeLessThan(0.25);
  });
});

describe('singlestepOrders', () => {
  it.each([
    // diffusers' get_order_list, read off its branches.
    [6, 2, true, [1, 2, 1, 2, 1, 1]],
    [7, 2, true, [1, 2, 1, 2, 1, 2, 1]],
    [1, 2, true, [1]],
    [2, 2, true, [1, 1]],
    [6, 3, true, [1, 2, 3, 1, 2, 1]],
    [7, 3, true, [1, 2, 3, 1, 2, 3, 1]],
    [8, 3, true, [1, 2, 3, 1, 2, 3, 1, 2]],
    [6, 3, false, [1, 2, 3, 1, 2, 3]],
    [4, 2, false, [1, 2, 1, 2]],
    [5, 1, false, [1, 1, 1, 1, 1]],
  ] as const)('%i steps of order %i (lower at the end: %s)', (steps, order, lower, expected) => {
    expect(singlestepOrders(steps, order, lower)).toEqual(expected);
  });
});
