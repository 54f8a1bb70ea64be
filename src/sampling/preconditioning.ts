/**
 * @file What a network's output means: prediction type → the four scalings that turn it into an estimate of the clean latent.
 *
 * `D(x; σ) = c_skip·x + c_out·F(c_in·x; c_noise)` (Karras et al. 2022, eq. 7); c_noise is the level's timestep.
 */
import type { Level } from './level.js';

/** The scalings at one level. */
export interface Preconditioning {
  readonly cIn: number;
  readonly cSkip: number;
  readonly cOut: number;
}

export type Precondition = (level: Level) => Preconditioning;

export type PredictionType = 'epsilon' | 'v_prediction' | 'sample' | 'flow_prediction';

/** c_skip and c_out of a diffusion model's output on a latent x = α·x₀ + σ·ε; `norm2` = α² + σ². */
function outputScalings(prediction: PredictionType, { alpha, sigma }: Level): { cSkip: number; cOut: number } {
  const norm2 = alpha * alpha + sigma * sigma;
  switch (prediction) {
    case 'epsilon': // F = ε, so x₀ = (x − σF)/α (Ho et al. 2020, eq. 15)
      return { cSkip: 1 / alpha, cOut: -sigma / alpha };
    case 'v_prediction': // F = αε − σx₀ with α² + σ² = 1 (Salimans & Ho 2022, app. D)
      return { cSkip: alpha / norm2, cOut: -sigma / Math.sqrt(norm2) };
    case 'sample': // F = x₀
      return { cSkip: 0, cOut: 1 };
    case 'flow_prediction': // F = ε − x₀ on the straight path, so x₀ = x − σF (Liu et al. 2023)
      return { cSkip: 1, cOut: -sigma };
  }
}

/**
 * Diffusion models are trained on inputs with α² + σ² = 1, so a latent of a variance exploding solver (α = 1) is scaled
 * down to that. Variance preserving latents are so already, and a flow model's are never scaled.
 */
export function diffusionPreconditioning(prediction: PredictionType): Precondition {
  return (level) => {
    const exploding = prediction !== 'flow_prediction' && level.alpha === 1;
    return { cIn: exploding ? 1 / Math.sqrt(1 + level.sigma ** 2) : 1, ...outputScalings(prediction, level) };
  };
}

/** EDM models (Karras et al. 2022, table 1 "Ours"), σ_data the spread of their data. `v_prediction`: c_out with the other sign. */
export function edmPreconditioning(prediction: PredictionType, sigmaData: number): Precondition {
  return ({ sigma }) => {
    const total = sigma ** 2 + sigmaData ** 2;
    const cOut = (sigma * sigmaData) / Math.sqrt(total);
    return {
      cIn: 1 / Math.sqrt(total),
      cSkip: sigmaData ** 2 / total,
      cOut: prediction === 'v_prediction' ? -cOut : cOut,
    };
  };
}
