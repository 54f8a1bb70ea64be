/** @file Noise levels: how much of the picture (α) and how much noise (σ) a latent holds, and the steps between levels. Pure data. */

/**
 * A noise level: a latent there is `x = α·x₀ + σ·ε` with unit normal ε.
 * All families are this: variance exploding α = 1; variance preserving α² + σ² = 1; flow matching α = 1 − σ.
 */
export interface Level {
  /** What the network is told: 0…1000 for most, `¼ ln σ` for EDM models. */
  readonly timestep: number;
  readonly alpha: number;
  readonly sigma: number;
}

/** One step of a run: from a noise level to a lower one. */
export interface Interval {
  readonly from: Level;
  readonly to: Level;
  /** Further levels that the rule goes through (KDPM2's midpoint, TCD's landing, PNDM's warm-up); mostly none. */
  readonly via: readonly Level[];
  /** Position in the whole schedule, 0-based, whatever step the run began at. */
  readonly index: number;
  /** The `from` levels of the whole schedule, highest noise first. */
  readonly levels: readonly Level[];
}

/** Log signal-to-noise ratio λ = ln(α/σ) (Lu et al. 2022a, §2.2); +∞ at σ = 0. */
export const logSnr = ({ alpha, sigma }: Level): number => Math.log(alpha) - Math.log(sigma);

/** Whether a step between two levels has no length. */
export const sameLevel = (a: Level, b: Level): boolean => a.alpha === b.alpha && a.sigma === b.sigma;

/** Latents scaled so that the picture keeps its size: x = x₀ + σ·ε (Karras et al. 2022, eq. 1). */
export const varianceExploding = (sigma: number, timestep: number): Level => ({ timestep, alpha: 1, sigma });

/** The level of the same signal-to-noise ratio with α² + σ² = 1, from k = σ/α (Lu et al. 2022b, §2.1). */
export function variancePreserving(k: number, timestep: number): Level {
  const alpha = 1 / Math.sqrt(k * k + 1);
  return { timestep, alpha, sigma: k * alpha };
}

/** α² = ᾱ, σ² = 1 − ᾱ (Ho et al. 2020, eq. 4). */
export const fromAlphaBar = (alphaBar: number, timestep: number): Level => ({
  timestep,
  alpha: Math.sqrt(alphaBar),
  sigma: Math.sqrt(1 - alphaBar),
});

/** The straight path x = (1 − σ)·x₀ + σ·ε (Liu et al. 2023, eq. 1). */
export const rectifiedFlow = (sigma: number, timestep: number): Level => ({ timestep, alpha: 1 - sigma, sigma });
