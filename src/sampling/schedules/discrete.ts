/** @file Schedules of the solvers that step between training timesteps: x = √ᾱ·x₀ + √(1−ᾱ)·ε (DDIM, DDPM, PNDM, LCM, TCD). */
import { fail } from '../../base/errors.js';
import type { SchedulerConfig } from '../config.js';
import { fromAlphaBar, type Interval, type Level } from '../level.js';
import { noiseSchedule } from '../noise-schedule.js';
import { at, tabulate } from '../numeric.js';
import { spacedTimesteps } from '../spacing.js';
import type { Schedule, Tables } from './schedule.js';

/** The level of a timestep; below 0 that of the clean latent. */
type LevelAt = (timestep: number) => Level;

/** Where a step ends and what it passes, given the starts of it and of the next step (none in the last). */
type Route = (
  t: number,
  next: number | undefined,
  at: LevelAt,
  stride: number,
) => { to: Level; via?: readonly Level[] };

/** ᾱ at t < 0: 1, or that of the first training timestep, which is what Stable Diffusion was trained to end at. */
function levelLookup(config: SchedulerConfig): LevelAt {
  const { alphasCumprod } = noiseSchedule(config, false);
  return (timestep) => {
    if (timestep >= 0) return fromAlphaBar(at(alphasCumprod, timestep), timestep);
    return fromAlphaBar(config.set_alpha_to_one ? 1 : at(alphasCumprod, 0), 0);
  };
}

function along(route: Route, config: SchedulerConfig, { timesteps }: Tables): readonly Interval[] {
  const levelAt = levelLookup(config);
  const stride = Math.floor(config.num_train_timesteps / timesteps.length);
  const levels = timesteps.map(levelAt);
  return levels.map((from, index) => {
    const { to, via = [] } = route(from.timestep, timesteps[index + 1], levelAt, stride);
    return { from, to, via, index, levels };
  });
}

const unitNoise = (): number => 1;

function spaced(config: SchedulerConfig, steps: number): Tables {
  const timesteps = spacedTimesteps(config, steps, true);
  const first = at(timesteps, 0);
  if (first >= config.num_train_timesteps)
    throw fail(
      'invalidSteps',
      `${steps} steps begin at timestep ${first}, but the model has ${config.num_train_timesteps} (steps_offset is ${config.steps_offset}).`,
      { parameter: 'steps', type: 'integer', max: config.num_train_timesteps - 1 },
    );
  return { timesteps, sigmas: [] };
}

/** DDIM steps by one stride, not to the next timestep of the list. */
export const ddimSchedule: Schedule = {
  tables: (config, { steps }) => spaced(config, steps),
  intervals: (config, tables) => along((t, _, level, stride) => ({ to: level(t - stride) }), config, tables),
  initNoiseSigma: unitNoise,
};

/** DDPM steps to the next timestep of the list, and at last to the clean latent itself. */
export const ddpmSchedule: Schedule = {
  tables: (config, { steps }) => spaced(config, steps),
  intervals: (config, tables) =>
    along((_, next, level) => ({ to: next === undefined ? fromAlphaBar(1, 0) : level(next) }), config, tables),
  initNoiseSigma: unitNoise,
};

/** As DDIM; `via` as `pndm` wants it. */
export const pndmSchedule: Schedule = {
  tables: (config, { steps }) => {
    if (!config.skip_prk_steps && steps < 4)
      throw fail('invalidSteps', `PNDM with its Runge–Kutta start was given ${steps} steps and needs at least 4.`, {
        parameter: 'steps',
        type: 'integer',
        min: 4,
        hint: 'Set skip_prk_steps to true in scheduler_config.json, or use more steps.',
      });
    return spaced(config, steps);
  },
  intervals: (config, tables) =>
    along(
      (t, next, level, stride) => {
        const to = level(t - stride);
        if (next === undefined) return { to };
        const half = Math.floor(stride / 2);
        return { to, via: config.skip_prk_steps ? [level(next + stride)] : [level(t - half), level(next + half)] };
      },
      config,
      tables,
    ),
  initNoiseSigma: unitNoise,
};

/**
 * Every k-th of the timesteps that a consistency model was distilled on: `original_inference_steps` of them, or, for runs
 * longer than that, the next finer grid.
 */
function distilledTimesteps(config: SchedulerConfig, steps: number): number[] {
  const total = config.num_train_timesteps;
  const grid = [config.original_inference_steps, 100, total].find((size) => size >= steps) ?? total;
  const stride = Math.floor(total / grid);
  return tabulate(steps, (i) => (grid - Math.floor((i * grid) / steps)) * stride - 1);
}

/** LCM goes to the next timestep of the list; its last step has nowhere to go. */
export const lcmSchedule: Schedule = {
  tables: (config, { steps }) => ({ timesteps: distilledTimesteps(config, steps), sigmas: [] }),
  intervals: (config, tables) => along((t, next, level) => ({ to: level(next ?? t) }), config, tables),
  initNoiseSigma: unitNoise,
};

/** TCD goes to the next timestep t', over s = ⌊(1 − γ)·t'⌋. */
export const tcdSchedule = (gamma: number): Schedule => ({
  ...lcmSchedule,
  intervals: (config, tables) =>
    along(
      (_, next = 0, level) => {
        const landing = Math.floor(Math.fround(Math.fround(1 - gamma) * next));
        return { to: level(next), via: [level(landing)] };
      },
      config,
      tables,
    ),
});
