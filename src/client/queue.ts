/** @file First come, first served, one job at a time. Knows nothing of workers; may import base. */
import { fail } from '../base/errors.js';
import type { DarkroomError } from '../base/errors.js';

export interface Queue {
  /** Whether a job added now would have to wait. */
  readonly busy: boolean;
  /**
   * Runs `job` when its turn comes. Rejects at once when `signal` fires: a waiting job is then never started, while a
   * running one keeps its turn until it has really stopped (it watches the signal itself).
   */
  add<T>(job: () => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** Rejects every waiting job; the running one is left alone. */
  clear(reason: DarkroomError): void;
}

interface Entry {
  /** Never rejects. */
  readonly start: () => Promise<void>;
  readonly reject: (reason: DarkroomError) => void;
}

export function createQueue(): Queue {
  let waiting: readonly Entry[] = [];
  let running = false;

  function next(): void {
    const [entry, ...rest] = waiting;
    if (running || entry === undefined) return;
    running = true;
    waiting = rest;
    void entry.start().finally(() => {
      running = false;
      next();
    });
  }

  return {
    get busy() {
      return running || waiting.length > 0;
    },
    add<T>(job: () => Promise<T>, signal?: AbortSignal): Promise<T> {
      const { promise, resolve, reject } = withResolvers<T>();
      const entry: Entry = { start: () => job().then(resolve, reject), reject };
      const abort = (): void => {
        waiting = waiting.filter((other) => other !== entry);
        reject(fail('aborted', 'The task was aborted.'));
      };
      signal?.addEventListener('abort', abort);
      if (signal?.aborted === true) abort();
      else waiting = [...waiting, entry];
      next();
      return promise.finally(() => signal?.removeEventListener('abort', abort));
    },
    clear(reason) {
      const entries = waiting;
      waiting = [];
      for (const entry of entries) entry.reject(reason);
    },
  };
}

/** `Promise.withResolvers`, which browsers of 2023 lack. */
export function withResolvers<T>(): {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
} {
  let resolve: (value: T) => void = () => undefined;
  let reject: (reason: unknown) => void = () => undefined;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
