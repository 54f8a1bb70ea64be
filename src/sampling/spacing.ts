/** @file Which training timesteps a run visits (Lin et al. 2024 "Common Diffusion Noise Schedules and Sample Steps are Flawed", table 2). */
import type { SchedulerConfig } from './config.js';
import { linspace, roundHalfEven, tabulate } from './numeric.js';

/** `numpy.arange(top, 0, −stride)` has its rounding; one element too many (61 steps) is cut off. */
export function trailing(top: number, stride: number, steps: number): number[] {
  const delta = top - stride - top;
  return tabulate(steps, (i) => roundHalfEven(top + i * delta) - 1);
}

/**
 * `steps` timesteps, highest first, first and last of the training range included in `linspace`.
 *
 * @param rounded whether the class uses whole timesteps only; `linspace` is fractional otherwise
 */
export function spacedTimesteps(config: SchedulerConfig, steps: number, rounded: boolean): number[] {
  const n = config.num_train_timesteps;
  switch (config.timestep_spacing) {
    case 'linspace':
      return linspace(0, n - 1, steps)
        .reverse()
        .map(rounded ? roundHalfEven : Math.fround);
    case 'leading':
      return tabulate(steps, (i) => (steps - 1 - i) * Math.floor(n / steps) + config.steps_offset);
    case 'trailing':
      return trailing(n, n / steps, steps);
  }
}

/**
 * The same for the solvers that divide the range into `steps + 1` points and drop the last (DPM-Solver, UniPC, DEIS).
 *
 * @param top one more than the highest timestep
 */
export function spacedTimestepsDroppingLast(config: SchedulerConfig, steps: number, top: number): number[] {
  switch (config.timestep_spacing) {
    case 'linspace':
      return linspace(0, top - 1, steps + 1)
        .reverse()
        .slice(0, -1)
        .map(roundHalfEven);
    case 'leading': {
      const stride = Math.floor(top / (steps + 1));
      return tabulate(steps, (i) => (steps - i) * stride + config.steps_offset);
    }
    case 'trailing':
      return trailing(top, config.num_train_timesteps / steps, steps);
  }
}
