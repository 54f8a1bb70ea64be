/** @file For the tests of prompt weighting: catching a typed error, and a limit on time. */
import { performance } from 'node:perf_hooks';
import { expect } from 'vitest';
import { DarkroomError } from '../../../src/base/errors.js';

/** The typed error that `run` throws; fails when it throws none. */
export function refusal(run: () => unknown): DarkroomError {
  try {
    run();
  } catch (error) {
    if (error instanceof DarkroomError) return error;
    throw error;
  }
  throw new Error('expected a DarkroomError, nothing was thrown');
}

/** Far above what linear time needs, far below what quadratic time in thousands of parses or worse would. */
export function within(limitMs: number, run: () => unknown): void {
  const start = performance.now();
  run();
  expect(performance.now() - start).toBeLessThan(limitMs);
}
