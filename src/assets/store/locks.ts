/** @file Named locks: those of the browser, which all tabs of a site share, or of this process where there are none. */
import { throwIfAborted } from '../../base/errors.js';

export interface HoldOptions {
  /** Together with other shared holders; default alone. */
  readonly shared?: boolean;
  /** Ends the waiting, not the holding. */
  readonly signal?: AbortSignal | undefined;
}

export interface Locks {
  /** Waits for the lock and holds it while `work` runs. @throws aborted while waiting, and what `work` throws */
  hold<T>(name: string, work: () => Promise<T>, options?: HoldOptions): Promise<T>;
  /** Runs `work` alone if nobody holds the lock now; `undefined` where somebody does. */
  tryHold<T>(name: string, work: () => Promise<T>): Promise<{ readonly value: T } | undefined>;
  /** Whether somebody holds one of them now. To try them would tell the same, but whoever tries for good at that moment would fail. */
  anyHeld(names: readonly string[]): Promise<boolean>;
}

/** The browser's own (https://w3c.github.io/web-locks/): a closed or crashed tab gives its locks back. */
export function webLocks(manager: LockManager, prefix = 'darkroom-store/'): Locks {
  return {
    async hold(name, work, { shared = false, signal } = {}) {
      throwIfAborted(signal);
      let held = false;
      const mode = shared ? 'shared' : 'exclusive';
      try {
        return await manager.request(prefix + name, { mode, ...(signal ? { signal } : {}) }, () => {
          held = true;
          return work();
        });
      } catch (error) {
        if (!held) throwIfAborted(signal);
        throw error;
      }
    },
    tryHold: (name, work) =>
      manager.request(prefix + name, { ifAvailable: true }, async (lock) =>
        lock === null ? undefined : { value: await work() },
      ),
    async anyHeld(names) {
      const { held = [] } = await manager.query();
      const all = new Set(held.map(({ name }) => name));
      return names.some((name) => all.has(prefix + name));
    },
  };
}

interface Waiter {
  readonly shared: boolean;
  readonly start: () => void;
}

interface Queue {
  /** How many hold it together; Infinity: one, alone. */
  holders: number;
  waiting: readonly Waiter[];
}

/** Locks within one process, given in the order in which they were asked for. */
export function createLocks(): Locks {
  const queues = new Map<string, Queue>();

  const queueOf = (name: string): Queue => {
    const queue = queues.get(name) ?? { holders: 0, waiting: [] };
    queues.set(name, queue);
    return queue;
  };
  /** Lets in whoever may hold it now. */
  const settle = (name: string, queue: Queue): void => {
    for (;;) {
      const [next, ...later] = queue.waiting;
      const free = next?.shared === true ? queue.holders < Infinity : queue.holders === 0;
      if (next === undefined || !free) break;
      queue.waiting = later;
      queue.holders = next.shared ? queue.holders + 1 : Infinity;
      next.start();
    }
    if (queue.holders === 0 && queue.waiting.length === 0) queues.delete(name);
  };
  const run = async <T>(name: string, queue: Queue, shared: boolean, work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } finally {
      queue.holders = shared ? queue.holders - 1 : 0;
      settle(name, queue);
    }
  };

  return {
    async hold(name, work, { shared = false, signal } = {}) {
      throwIfAborted(signal);
      const queue = queueOf(name);
      const mine = await new Promise<boolean>((resolve) => {
        const leave = (): void => {
          queue.waiting = queue.waiting.filter((other) => other !== waiter);
          settle(name, queue);
          resolve(false);
        };
        const start = (): void => {
          signal?.removeEventListener('abort', leave);
          resolve(true);
        };
        const waiter: Waiter = { shared, start };
        signal?.addEventListener('abort', leave);
        queue.waiting = [...queue.waiting, waiter];
        settle(name, queue);
      });
      if (!mine) throwIfAborted(signal);
      return run(name, queue, shared, work);
    },
    async tryHold(name, work) {
      const queue = queueOf(name);
      if (queue.holders > 0 || queue.waiting.length > 0) return undefined;
      queue.holders = Infinity;
      return { value: await run(name, queue, false, work) };
    },
    anyHeld: (names) => Promise.resolve(names.some((name) => (queues.get(name)?.holders ?? 0) > 0)),
  };
}

/**
 * Keeps a shared lock until the returned function is called, which resolves when the lock is free again; while it is kept, nobody gets the
 * lock alone.
 */
export function takeLease(locks: Locks, name: string, signal?: AbortSignal): Promise<() => Promise<void>> {
  return new Promise((resolve, reject) => {
    const keep = (): Promise<void> =>
      new Promise((release) => {
        resolve(() => {
          release();
          return kept;
        });
      });
    const kept = locks.hold(name, keep, { shared: true, signal });
    kept.catch(reject);
  });
}
