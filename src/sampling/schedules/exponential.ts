/** @file Schedules of the exponential integrators (DPM-Solver, UniPC, DEIS): α² + σ² = 1 or straight flow, whole timesteps. */
import type { SchedulerConfig } from '../config.js';
import { curveOf, CURVES, exponential, karras, sigmaToTimestep } from '../curves.js';
import { flowShift, stretchToTerminal } from '../flow-shift.js';
import { rectifiedFlow, variancePreserving } from '../level.js';
import { noiseSchedule, type NoiseSchedule } from '../noise-schedule.js';
import { at, interpolate, linspace, roundHalfEven } from '../numeric.js';
import { spacedTimestepsDroppingLast, trailing } from '../spacing.js';
import { chain, float32, type RunShape, type Schedule } from './schedule.js';

/** What differs between the classes. */
export interface ExponentialOptions {
  /** Where the schedule ends: as configured; as UniPC reads "sigma_min"; or never below its last level (DEIS). */
  readonly ending: 'configured' | 'unipc' | 'deis';
  /** The flow grid: DPM-Solver's and DEIS's, or UniPC's. */
  readonly flowGrid: 'from-below-one' | 'unipc';
  /** Trailing timesteps whatever the configuration says (the singlestep class has no such key). */
  readonly trailing?: boolean;
}

/** σ and timestep of every step, before rounding. */
interface Grid {
  readonly sigmas: readonly number[];
  readonly timesteps: readonly number[];
}

/** Number of training timesteps whose λ is not below `lambda_min_clipped` (for the cosine schedule). */
function usableTimesteps(config: SchedulerConfig, { logSigmas }: NoiseSchedule): number {
  return logSigmas.reduce((count, logSigma) => (-logSigma < config.lambda_min_clipped ? count : count + 1), 0);
}

/** UniPC keeps off σ = 1, where α = 0. */
const BELOW_ONE = 1e-6;

function flowSigmas(config: SchedulerConfig, run: RunShape, options: ExponentialOptions): number[] {
  const shift = flowShift(config, config.flow_shift, run);
  const even = linspace(1, 1 / config.num_train_timesteps, run.steps + 1);
  if (options.flowGrid === 'from-below-one')
    return even
      .map((a) => shift(1 - a))
      .reverse()
      .slice(0, -1);
  const sigmas = stretchToTerminal(even.slice(0, -1).map(shift), config.shift_terminal);
  return sigmas.map((sigma, i) => (i === 0 && Math.abs(sigma - 1) < BELOW_ONE ? sigma - BELOW_ONE : sigma));
}

/**
 * Flow: a curve redistributes between the ends of the shifted schedule (the shift comes first). The ends are float32, as diffusers' tables hold them:
 * timesteps are cut off, and a curve that ends a hair below σ = 0.999 would begin at 998.
 */
function flowGrid(config: SchedulerConfig, run: RunShape, options: ExponentialOptions, noise: NoiseSchedule): Grid {
  const curve = curveOf(config);
  const plain = flowSigmas(config, run, options);
  const [high, low] = [Math.fround(at(plain, 0)), Math.fround(at(plain, plain.length - 1))];
  const ends = noise.sigmas;
  const sigmas =
    curve === undefined
      ? plain
      : curve === 'karras' && options.flowGrid === 'unipc'
        ? // UniPC's own way: the Karras curve of the diffusion schedule, as σ/(σ + 1).
          karras(at(ends, ends.length - 1), at(ends, 0), run.steps).map((sigma) => sigma / (sigma + 1))
        : CURVES[curve](high, low, run.steps);
  return { sigmas, timesteps: sigmas.map((sigma) => sigma * config.num_train_timesteps) };
}

/** Diffusion: a curve goes over the whole training range, whatever the spacing. */
function diffusionGrid(
  config: SchedulerConfig,
  { steps }: RunShape,
  options: ExponentialOptions,
  { sigmas: table, logSigmas }: NoiseSchedule,
  top: number,
): Grid {
  const curve = curveOf(config);
  const high = config.sigma_max ?? at(table, table.length - 1);
  const low = config.sigma_min ?? at(table, 0);
  if (curve === undefined && !config.use_lu_lambdas) {
    const n = config.num_train_timesteps;
    const timesteps =
      options.trailing === true ? trailing(n, n / steps, steps) : spacedTimestepsDroppingLast(config, steps, top);
    return { timesteps, sigmas: timesteps.map((t) => interpolate(table, t)) };
  }
  // "Lu lambdas": even in λ = −ln σ (Lu et al. 2022a).
  const sigmas = curve === undefined ? exponential(high, low, steps) : CURVES[curve](high, low, steps);
  const rounded = (curve === undefined || curve === 'karras') && config.beta_schedule !== 'squaredcos_cap_v2';
  const timesteps = sigmas.map((sigma) => sigmaToTimestep(sigma, logSigmas));
  return { sigmas, timesteps: rounded ? timesteps.map(roundHalfEven) : timesteps };
}

function lastSigma(config: SchedulerConfig, { ending }: ExponentialOptions, grid: Grid, table: Float32Array): number {
  const reshaped = config.use_flow_sigmas || curveOf(config) !== undefined;
  const lowest = at(grid.sigmas, grid.sigmas.length - 1);
  if (ending === 'deis') return reshaped ? lowest : at(table, 0);
  if (config.final_sigmas_type === 'zero') return 0;
  return ending === 'unipc' && reshaped ? lowest : at(table, 0);
}

export function exponentialSchedule(options: ExponentialOptions): Schedule {
  return {
    tables: (config, run) => {
      const noise = noiseSchedule(config, true);
      const grid = config.use_flow_sigmas
        ? flowGrid(config, run, options, noise)
        : diffusionGrid(config, run, options, noise, usableTimesteps(config, noise));
      return {
        timesteps: grid.timesteps.map(Math.trunc),
        sigmas: float32([...grid.sigmas, lastSigma(config, options, grid, noise.sigmas)]),
      };
    },
    intervals: (config, tables) => chain(tables, config.use_flow_sigmas ? rectifiedFlow : variancePreserving),
    initNoiseSigma: () => 1,
  };
}
