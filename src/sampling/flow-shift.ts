/** @file The shift of flow-matching schedules: more of the run at high noise, the more the larger the picture. */
import { fail } from '../base/errors.js';
import type { SchedulerConfig } from './config.js';
import { at } from './numeric.js';

/**
 * μ of a picture of `imageSeqLen` tokens: a straight line through (256, 0.5) and (4096, 1.15) by default
 * (black-forest-labs/flux, `sampling.get_lin_function`).
 */
export function dynamicShift(config: SchedulerConfig, imageSeqLen: number): number {
  const { base_shift: y1, max_shift: y2, base_image_seq_len: x1, max_image_seq_len: x2 } = config;
  const slope = (y2 - y1) / (x2 - x1);
  return imageSeqLen * slope + (y1 - slope * x1);
}

/** σ → s·σ/(1 + (s−1)·σ) (Esser et al. 2024, eq. 23). */
const shifted = (s: number, sigma: number): number => (s * sigma) / (1 + (s - 1) * sigma);

/** What the shift of one run depends on. */
export interface ShiftInput {
  /** Tokens of the picture (FLUX.1-dev: width/16 · height/16). */
  readonly imageSeqLen?: number | undefined;
  /** μ itself, for models that find it in a way of their own. */
  readonly mu?: number | undefined;
}

/**
 * The shift of a configuration, as a function of σ: its own constant, or by the size of the picture (s = e^μ, or μ itself
 * when `time_shift_type` is `linear`).
 *
 * @param constant the configuration's shift when it is not dynamic
 */
export function flowShift(
  config: SchedulerConfig,
  constant: number,
  { imageSeqLen, mu: given }: ShiftInput,
): (sigma: number) => number {
  if (!config.use_dynamic_shifting) return (sigma) => shifted(constant, sigma);
  if (given === undefined && imageSeqLen === undefined) {
    throw fail(
      'invalidModelConfig',
      'scheduler_config.json: use_dynamic_shifting is true, as for FLUX.1; this model has no image tokens to shift by.',
      { parameter: 'use_dynamic_shifting', hint: "Use the model's own scheduler_config.json." },
    );
  }
  const mu = given ?? dynamicShift(config, imageSeqLen ?? 0);
  const s = config.time_shift_type === 'exponential' ? Math.exp(mu) : mu;
  return (sigma) => shifted(s, sigma);
}

/** Stretches a schedule so that its last σ is `terminal` (`shift_terminal`); the first, 1, stays. */
export function stretchToTerminal(sigmas: readonly number[], terminal: number | null): readonly number[] {
  if (terminal === null || terminal === 0) return sigmas;
  const scale = (1 - at(sigmas, sigmas.length - 1)) / (1 - terminal);
  return sigmas.map((sigma) => 1 - (1 - sigma) / scale);
}
