/** @file Schedules of the k-diffusion solvers (Euler, Heun, LMS, DPM2, iPNDM): x = x₀ + σ·ε, fractional timesteps. */
import type { SchedulerConfig } from '../config.js';
import { curveOf, CURVES, sigmaToTimestep } from '../curves.js';
import { varianceExploding, type Level } from '../level.js';
import { noiseSchedule } from '../noise-schedule.js';
import { at, interpolate, linspaceFloat32, roundHalfEven } from '../numeric.js';
import { sigmaDown } from '../rules/second-order.js';
import { spacedTimesteps } from '../spacing.js';
import { chain, float32, type Schedule, type Tables } from './schedule.js';

/** Where the midpoint rules evaluate within a step. */
export type Midpoints = 'none' | 'towards-next' | 'towards-down';

/** Midpoint in ln σ. Ancestral: half-way to σ_down. No midpoint in the step to σ = 0. */
function middleSigma(from: Level, to: Level, midpoints: Midpoints): number | undefined {
  if (midpoints === 'none' || to.sigma === 0) return undefined;
  return Math.sqrt(from.sigma * (midpoints === 'towards-next' ? to.sigma : sigmaDown(from, to)));
}

const isContinuous = (config: SchedulerConfig): boolean =>
  config.timestep_type === 'continuous' && config.prediction_type === 'v_prediction';

function plainSigmas(config: SchedulerConfig, timesteps: readonly number[], table: Float32Array): readonly number[] {
  if (config.interpolation_type === 'linear') return timesteps.map((t) => interpolate(table, t));
  const [low, high] = [Math.log(at(table, 0)), Math.log(at(table, table.length - 1))];
  return Array.from(linspaceFloat32(high, low, timesteps.length + 1), Math.exp);
}

function baseTables(config: SchedulerConfig, steps: number, midpoints: Midpoints): Tables {
  const { sigmas: table, logSigmas } = noiseSchedule(config, true);
  const plainTimesteps = spacedTimesteps(config, steps, false);
  const plain = plainSigmas(config, plainTimesteps, table);
  const curve = curveOf(config);
  const high = config.sigma_max ?? at(plain, 0);
  const low = config.sigma_min ?? at(plain, plain.length - 1);
  const sigmas = curve === undefined ? plain : CURVES[curve](high, low, steps);
  // DPM2's class rounds the timesteps of the Karras curve, and of no other.
  const whole = midpoints !== 'none' && curve === 'karras';
  const timestepOf = (sigma: number): number => {
    const t = sigmaToTimestep(sigma, logSigmas);
    return whole ? roundHalfEven(t) : t;
  };
  const last = config.final_sigmas_type === 'zero' ? 0 : at(table, 0);
  const timesteps = isContinuous(config)
    ? float32(sigmas.slice(0, steps)).map((sigma) => 0.25 * Math.log(sigma))
    : curve === undefined
      ? plainTimesteps
      : sigmas.map(timestepOf);
  return { timesteps: float32(timesteps), sigmas: float32([...sigmas, last]) };
}

/**
 * @param midpoints where the rule evaluates within a step, if it does
 */
export function exploding(midpoints: Midpoints = 'none'): Schedule {
  return {
    tables: (config, { steps }) => {
      const tables = baseTables(config, steps, midpoints);
      if (midpoints === 'none') return tables;
      const { logSigmas } = noiseSchedule(config, true);
      const middles = chain(tables, varianceExploding).map(({ from, to }) => middleSigma(from, to, midpoints));
      return {
        ...tables,
        middleTimesteps: middles.flatMap((sigma) =>
          sigma === undefined ? [] : [Math.fround(sigmaToTimestep(sigma, logSigmas))],
        ),
      };
    },
    intervals: (_, tables) =>
      chain(tables, varianceExploding, (from, to, i) => {
        const sigma = middleSigma(from, to, midpoints);
        return sigma === undefined ? [] : [varianceExploding(sigma, at(tables.middleTimesteps ?? [], i))];
      }),
    initNoiseSigma: (config, { sigmas }) => {
      const highest = Math.max(...sigmas);
      return config.timestep_spacing === 'leading' ? Math.sqrt(highest ** 2 + 1) : highest;
    },
  };
}
