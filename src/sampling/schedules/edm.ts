/** @file Schedules of EDM-preconditioned models (Playground v2.5, CosXL): x = x₀ + σ·ε, timestep ¼ ln σ (Karras et al. 2022, table 1). */
import { exponential, karras } from '../curves.js';
import { varianceExploding } from '../level.js';
import { chain, float32, type Schedule } from './schedule.js';

export const edmSchedule: Schedule = {
  tables: (config, { steps }) => {
    const { sigma_min: low, sigma_max: high } = config;
    const [bottom, top] = [low ?? 0.002, high ?? 80];
    const curve = config.sigma_schedule === 'karras' ? karras(top, bottom, steps, config.rho) : exponential(top, bottom, steps);
    const sigmas = float32(curve);
    const last = config.final_sigmas_type === 'zero' ? 0 : bottom;
    return { timesteps: float32(sigmas.map((sigma) => 0.25 * Math.log(sigma))), sigmas: float32([...sigmas, last]) };
  },
  intervals: (_, tables) => chain(tables, varianceExploding),
  initNoiseSigma: ({ sigma_max: high }) => Math.sqrt((high ?? 80) ** 2 + 1),
};
