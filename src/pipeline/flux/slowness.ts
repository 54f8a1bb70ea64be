/** @file How long FLUX.1's steps are expected to take, and what is said of pictures whose weights are brought while they are made. */
import { duration, gigabytes } from '../amounts.js';
import type { Pace } from '../pace.js';
import { broughtBytes, broughtCount, predictStep, type StepBlocks, type StepTime } from './step-time.js';

/**
 * A step of `evaluations` evaluations, at the speeds that were measured up to now; nothing where too little was.
 */
export function expectStep(blocks: StepBlocks, pace: Pace, evaluations: number): StepTime | undefined {
  const one = predictStep(blocks, pace.rates('image'));
  return one && { seconds: evaluations * one.seconds, computing: evaluations * one.computing };
}

/**
 * What to know of blocks that are brought at every step, if there are any.
 * @param step what one took or is expected to take, if that is known
 * @param advice what would help
 */
export function slownessWarnings(blocks: StepBlocks, step: StepTime | undefined, advice: string): readonly string[] {
  const brought = blocks.reduce((sum, kind) => sum + broughtCount(kind), 0);
  const all = blocks.reduce((sum, { count }) => sum + count, 0);
  if (brought === 0) return [];
  const pace =
    step === undefined
      ? ', which is slow'
      : `: about ${duration(step.seconds)} a step, ${duration(Math.max(0, step.seconds - step.computing))} of it to wait for weights`;
  return [
    `${brought} of ${all} blocks did not fit into memory; they are brought at every step (${gigabytes(broughtBytes(blocks))})${pace}.${advice}`,
  ];
}
