/** @file What a task is run with, and what to try when that fails: for lack of memory or of range, or because the device was lost. */
import type { FloatType } from '../base/dtype.js';
import { DarkroomError } from '../base/errors.js';

/** How a task is run; what had to be given up is said in the warnings. */
export interface Means {
  /** The least precise type that may be computed in. */
  readonly dtype: FloatType;
  /** One network at a time on the device. */
  readonly frugal: boolean;
  /** Pictures are decoded in bands, whatever the device allows. */
  readonly bands: boolean;
  /** How many devices were lost under this task. */
  readonly losses: number;
  readonly warnings: readonly string[];
}

/** For a task that may give up range and speed. */
export const FIRST_MEANS: Means = { dtype: 'float16', frugal: false, bands: false, losses: 0, warnings: [] };
/** For a task that has only one way to be done. */
export const ONLY_MEANS: Means = { dtype: 'float32', frugal: true, bands: true, losses: 0, warnings: [] };

/** A task that loses this many devices and one more is given up: it may be the reason. */
const MOST_LOSSES = 2;

const LOST = 'The GPU device was lost; what was not finished was made again.';

/** Another way to run a task that failed for lack of memory, of range or of its device; throws `error` when there is none. */
export function otherMeans(error: unknown, means: Means): Means {
  const code = error instanceof DarkroomError ? error.code : undefined;
  if (code === 'notFinite' && means.dtype === 'float16') {
    const warning = 'float16 overflowed in this model; it was run again in float32, which is slower.';
    return { ...means, dtype: 'float32', warnings: [...means.warnings, warning] };
  }
  if (code === 'outOfMemory' && !means.frugal) {
    const warning = 'The networks did not fit into memory together; they were loaded in turn, which is slower.';
    return { ...means, frugal: true, warnings: [...means.warnings, warning] };
  }
  if (code === 'outOfMemory' && !means.bands) {
    const warning = 'The picture did not fit into memory in one piece; it was decoded in bands, which is slower.';
    return { ...means, bands: true, warnings: [...means.warnings, warning] };
  }
  if (code === 'deviceLost' && means.losses < MOST_LOSSES) {
    const warnings = means.warnings.includes(LOST) ? means.warnings : [...means.warnings, LOST];
    return { ...means, losses: means.losses + 1, warnings };
  }
  throw error;
}
