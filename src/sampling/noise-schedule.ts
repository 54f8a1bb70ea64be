/** @file The noise schedule a diffusion model was trained on: betas → ᾱ → the noise ratio σ/α of each of its timesteps. Bit for bit torch's float32. */
import { fail } from '../base/errors.js';
import type { SchedulerConfig } from './config.js';
import { at, linspaceFloat32 } from './numeric.js';

/** Ratios σ/α of the training timesteps, lowest noise first, and ᾱ. Each of `num_train_timesteps` float32 values. */
export interface NoiseSchedule {
  readonly alphasCumprod: Float32Array;
  readonly sigmas: Float32Array;
  readonly logSigmas: Float32Array;
}

/** ᾱ of the cosine schedule (Nichol & Dhariwal 2021, eq. 17 with s = 0.008), up to a constant factor. */
const cosine = (t: number): number => Math.cos((((t + 0.008) / 1.008) * Math.PI) / 2) ** 2;

function trainingBetas(config: SchedulerConfig): Float32Array {
  const n = config.num_train_timesteps;
  const { beta_start: start, beta_end: end } = config;
  if (config.trained_betas !== null) {
    if (config.trained_betas.length !== n)
      throw fail(
        'invalidModelConfig',
        `scheduler_config.json: trained_betas has ${config.trained_betas.length} values, num_train_timesteps is ${n}.`,
      );
    return Float32Array.from(config.trained_betas);
  }
  switch (config.beta_schedule) {
    case 'linear': // Ho et al. 2020, §4
      return linspaceFloat32(start, end, n);
    case 'scaled_linear': // Rombach et al. 2022: linear in √β
      return linspaceFloat32(Math.sqrt(start), Math.sqrt(end), n).map((root) => root * root);
    case 'squaredcos_cap_v2':
      return Float32Array.from({ length: n }, (_, i) => Math.min(1 - cosine((i + 1) / n) / cosine(i / n), 0.999));
  }
}

/** ᾱ_t = Π (1 − β): accumulated in float64, each product rounded to float32. */
function cumulativeProduct(alphas: Float32Array): Float32Array {
  let product = 1;
  return alphas.map((alpha) => (product *= alpha));
}

/** √ᾱ moved so that it ends at 0 and still begins where it did (Lin et al. 2024, alg. 1). */
function rescaleToZeroSnr(betas: Float32Array): Float32Array {
  const roots = cumulativeProduct(betas.map((beta) => 1 - beta)).map(Math.sqrt);
  const [first, last] = [at(roots, 0), at(roots, roots.length - 1)];
  const stretch = Math.fround(first / Math.fround(first - last));
  const bars = roots.map((root) => Math.fround(root - last) * stretch).map((root) => root * root);
  return bars.map((bar, i) => 1 - Math.fround(i === 0 ? bar : bar / at(bars, i - 1)));
}

/** A class that works with σ/α cannot have ᾱ = 0: the smallest float16 stands for it (diffusers). */
const TINY_ALPHA_BAR = 2 ** -24;

/**
 * @param keepFinite replace a terminal ᾱ of 0 by 2⁻²⁴, so that σ/α stays finite (4096)
 */
export function noiseSchedule(config: SchedulerConfig, keepFinite: boolean): NoiseSchedule {
  const betas = trainingBetas(config);
  const rescaled = config.rescale_betas_zero_snr ? rescaleToZeroSnr(betas) : betas;
  const alphasCumprod = cumulativeProduct(rescaled.map((beta) => 1 - beta));
  if (config.rescale_betas_zero_snr && keepFinite) alphasCumprod[alphasCumprod.length - 1] = TINY_ALPHA_BAR;
  const sigmas = alphasCumprod.map((bar) => Math.sqrt(Math.fround(Math.fround(1 - bar) / bar)));
  return { alphasCumprod, sigmas, logSigmas: sigmas.map(Math.log) };
}
