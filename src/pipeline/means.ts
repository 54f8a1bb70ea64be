/** @file What a task is run with, and what to try when that fails for lack of memory or of range. */
import type { FloatType } from '../base/dtype.js';
import { DarkroomError } from '../base/errors.js';

/** How a task is run; what had to be given up is said in the warnings. */
export interface Means {
  readonly dtype: FloatType;
  readonly frugal: boolean;
  readonly warnings: readonly string[];
}

/** Another way to run a task that failed for lack of memory or of range; throws `error` when there is none. */
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
  throw error;
}
