/** @file What every noise schedule gives: the tables of one run, as diffusers' `set_timesteps` makes them, and the steps between its levels. */
import type { SchedulerConfig } from '../config.js';
import type { ShiftInput } from '../flow-shift.js';
import type { Interval, Level } from '../level.js';
import { at } from '../numeric.js';

/** The tables of a run, highest noise first. All sigmas are float32 values. */
export interface Tables {
  /** One per step. */
  readonly timesteps: readonly number[];
  /** σ/α (flow: σ) of each step's start and of the end: one more than steps. Empty where ᾱ is used directly. */
  readonly sigmas: readonly number[];
  /** Timesteps of the levels in between, for midpoint rules: one fewer than steps. */
  readonly middleTimesteps?: readonly number[];
}

/** How a run is to be cut. */
export interface RunShape extends ShiftInput {
  readonly steps: number;
  /** Flow models whose pipeline hands in the grid 1, 1 − 1/N, …, 1/N (FLUX) instead of leaving it to the scheduler. */
  readonly uniformFlowGrid?: boolean | undefined;
}

/** A noise schedule, as a class has it. */
export interface Schedule {
  readonly tables: (config: SchedulerConfig, run: RunShape) => Tables;
  readonly intervals: (config: SchedulerConfig, tables: Tables) => readonly Interval[];
  /** What unit noise is multiplied by to start a run. */
  readonly initNoiseSigma: (config: SchedulerConfig, tables: Tables) => number;
}

/** Intervals from each level to the next, where σ alone decides a level. */
export function chain(
  { timesteps, sigmas }: Tables,
  level: (sigma: number, timestep: number) => Level,
  between: (from: Level, to: Level, index: number) => readonly Level[] = () => [],
): readonly Interval[] {
  const levels = timesteps.map((timestep, i) => level(at(sigmas, i), timestep));
  return levels.map((from, index) => {
    const to = level(at(sigmas, index + 1), timesteps[index + 1] ?? 0);
    return { from, to, via: between(from, to, index), index, levels };
  });
}

/** Rounded to float32. */
export const float32 = (values: readonly number[]): number[] => values.map(Math.fround);
