/** @file What is said of FLUX.1's pictures whose weights are brought while they are made. */
import { duration, gigabytes } from '../amounts.js';
import type { Brought } from './planned-steps.js';
import type { StepTime } from './step-time.js';

/**
 * What to know of blocks that are brought at every step, if there are any.
 * @param step what one took or is expected to take, if that is known
 * @param advice what would help
 */
export function slownessWarnings(
  { blocks, brought, bytes }: Brought,
  step: StepTime | undefined,
  advice: string,
): readonly string[] {
  if (brought === 0) return [];
  const pace =
    step === undefined
      ? ', which is slow'
      : `: about ${duration(step.seconds)} a step, ${duration(Math.max(0, step.seconds - step.computing))} of it to wait for weights`;
  return [
    `${brought} of ${blocks} blocks did not fit into memory; they are brought at every step (${gigabytes(bytes)})${pace}.${advice}`,
  ];
}
