/**
 * @file Says when this thread is in a call that may block it for minutes: a session that is made, a run on the CPU, a copy to a device that has much
 * to do. Whoever waits for the thread can then tell its silence from its death.
 */

/** Told `true` before such a call, and `false` after the last of those that are under way. */
export type OnBusy = (busy: boolean) => void;

export interface Busy {
  /** Runs `work`, which may block in some of its steps. */
  wait<T>(work: () => Promise<T>): Promise<T>;
  /** Calls `work`, which may block. */
  call<T>(work: () => T): T;
}

export function createBusy(onBusy: OnBusy = () => undefined): Busy {
  let open = 0;
  const enter = (): void => {
    if (open++ === 0) onBusy(true);
  };
  const leave = (): void => {
    if (--open === 0) onBusy(false);
  };
  return {
    async wait(work) {
      enter();
      try {
        return await work();
      } finally {
        leave();
      }
    },
    call(work) {
      enter();
      try {
        return work();
      } finally {
        leave();
      }
    },
  };
}
