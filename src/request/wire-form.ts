/** @file A checked `imageInference` task → the raw task that says the same, as JSON can carry it: for files, links and other machines. */
import type { ImageInferenceRequest } from './request.js';
import type { ImageInferenceTask } from './task.js';

/** A raw task with everything in it that a wire task must have. */
export type WireTask = ImageInferenceRequest & { readonly taskType: 'imageInference'; readonly taskUUID: string };

/**
 * The wire form of a checked task, defaults spelled out: `parseTasks([toWireTask(task)])` gives the same task, without
 * its warnings, if the task has a width and a height. Plain JSON (but for pictures that were given as files, which stay files): a seed
 * above 2^53 − 1 becomes a decimal string.
 */
export function toWireTask(task: ImageInferenceTask): WireTask {
  const { seed, ...rest } = task;
  const wire: Omit<typeof rest, 'warnings'> & { warnings?: readonly string[] } = rest;
  delete wire.warnings;
  if (seed === undefined) return wire;
  return { ...wire, seed: seed <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(seed) : String(seed) };
}
