/** @file One mutex: ONNX Runtime Web hangs or corrupts memory when creates and runs overlap (docs/architecture.md §3). */

/** Runs `work` when all earlier work is done; a failure does not stop those behind it. */
export type Lock = <T>(work: () => Promise<T>) => Promise<T>;

export function createLock(): Lock {
  let tail: Promise<unknown> = Promise.resolve();
  return (work) => {
    const result = tail.then(work);
    tail = result.catch(() => undefined);
    return result;
  };
}
