/**
 * @file One mutex: ONNX Runtime Web hangs or corrupts memory when creates and runs overlap (docs/architecture.md §3). Between two of them the
 * thread hears what came in meanwhile.
 */

import type { Busy } from './busy.js';

/** Runs `work` when all earlier work is done; a failure does not stop those behind it. */
export type Lock = <T>(work: () => Promise<T>) => Promise<T>;

/** Who aborts waits for no longer than this and the call that is running. */
const TURN_MS = 20;

/** @param busy is told of all work */
export function createLock(busy?: Busy): Lock {
  let tail: Promise<unknown> = Promise.resolve();
  let turned = performance.now();
  /** A run on the CPU blocks the thread and ends in a microtask: one after the other they keep out messages, timers and signals, an abort too. */
  const listen = async (): Promise<void> => {
    if (performance.now() - turned < TURN_MS) return;
    await nextTask();
    turned = performance.now();
  };
  return (work) => {
    const result = tail.then(listen).then(() => (busy === undefined ? work() : busy.wait(work)));
    tail = result.catch(() => undefined);
    return result;
  };
}

/** A turn of the event loop. Not by a timer: those are slowed down in tabs that are not seen. */
function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}
