/** @file Schedules of flow-matching models (SD3, FLUX, HiDream): x = (1 − σ)·x₀ + σ·ε, timestep 1000·σ. */
import type { SchedulerConfig } from '../config.js';
import { curveOf, CURVES } from '../curves.js';
import { flowShift, stretchToTerminal } from '../flow-shift.js';
import { rectifiedFlow } from '../level.js';
import { at, linspace } from '../numeric.js';
import { chain, float32, type RunShape, type Schedule } from './schedule.js';

/**
 * The grid before the shift. The scheduler's own grid ends at a σ_min that its constructor has already shifted, so there the
 * low end is shifted twice, as diffusers does it.
 */
function unshifted(config: SchedulerConfig, { steps, uniformFlowGrid }: RunShape): number[] {
  if (uniformFlowGrid === true) return float32(linspace(1, 1 / steps, steps));
  const lowest = 1 / config.num_train_timesteps;
  const constant = (sigma: number): number => (config.shift * sigma) / (1 + (config.shift - 1) * sigma);
  return linspace(1, config.use_dynamic_shifting ? lowest : Math.fround(constant(lowest)), steps);
}

export const flowSchedule: Schedule = {
  tables: (config, run) => {
    const shift = flowShift(config, config.shift, run);
    const plain = stretchToTerminal(unshifted(config, run).map(shift), config.shift_terminal);
    const curve = curveOf(config);
    const curved = curve === undefined ? plain : CURVES[curve](at(plain, 0), at(plain, plain.length - 1), run.steps);
    const sigmas = float32(curved);
    return { timesteps: float32(sigmas.map((sigma) => sigma * config.num_train_timesteps)), sigmas: [...sigmas, 0] };
  },
  intervals: (_, tables) => chain(tables, rectifiedFlow),
  initNoiseSigma: () => 1,
};
