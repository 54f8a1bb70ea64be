/** @file One mutex: ONNX Runtime Web hangs or corrupts memory when creates and runs overlap (docs/architecture.md §3). */

import type { Busy } from './busy.js';

/** Runs `work` when all earlier work is done; a failure does not stop those behind it. */
export type Lock = <T>(work: () => Promise<T>) => Promise<T>;

/** @param busy is told of all work */
export function createLock(busy?: Busy): Lock {
  let tail: Promise<unknown> = Promise.resolve();
  return (work) => {
    const result = tail.then(() => (busy === undefined ? work() : busy.wait(work)));
    tail = result.catch(() => undefined);
    return result;
  };
}
