/** @file Schedules of EDM-preconditioned models (Playground v2.5, CosXL): x = x₀ + σ·ε, timestep ¼ ln σ (Karras et al. 2022, table 1). */
import { exponential, karras, type Curve } from '../curves.js';
import { varianceExploding } from '../level.js';
import { linspaceFloat32 } from '../numeric.js';
import { chain, float32, type Schedule } from './schedule.js';

/** The Karras curve in float32 throughout, as diffusers' EDM multistep class has it; the 7th power makes the rounding visible. */
function karrasFloat32(high: number, low: number, n: number, rho: number): number[] {
  const f32 = Math.fround;
  const [a, b] = [high ** (1 / rho), low ** (1 / rho)];
  return Array.from(linspaceFloat32(0, 1, n), (ramp) => f32(a) + f32(ramp * f32(b - a))).map(
    (root) => f32(root) ** rho,
  );
}

/** @param precision in which the class computes the curve */
export function edmSchedule(precision: 'float32' | 'float64'): Schedule {
  return {
    tables: (config, { steps }) => {
      const [low, high] = [config.sigma_min ?? 0.002, config.sigma_max ?? 80];
      const karrasCurve: Curve = (top, bottom, n) =>
        (precision === 'float32' ? karrasFloat32 : karras)(top, bottom, n, config.rho);
      const sigmas = float32((config.sigma_schedule === 'karras' ? karrasCurve : exponential)(high, low, steps));
      const last = config.final_sigmas_type === 'zero' ? 0 : low;
      return { timesteps: float32(sigmas.map((sigma) => 0.25 * Math.log(sigma))), sigmas: float32([...sigmas, last]) };
    },
    intervals: (_, tables) => chain(tables, varianceExploding),
    initNoiseSigma: ({ sigma_max: high }) => Math.sqrt((high ?? 80) ** 2 + 1),
  };
}
