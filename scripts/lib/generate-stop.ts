/** @file Ctrl+C on the command line: the first one stops the run after what it is at, and what is finished is still written; the second ends the program. */
import { constants } from 'node:os';

export interface Stop {
  readonly signal: AbortSignal;
  /** 128 + the number of the signal that came; `undefined` while there was none. */
  readonly status: () => number | undefined;
  /** From now on signals do again what they did. */
  readonly release: () => void;
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/** @param say tells whoever waits that it was heard */
export function stopOnSignals(process: NodeJS.Process, say: (line: string) => void): Stop {
  const controller = new AbortController();
  let status: number | undefined;
  const release = (): void => {
    for (const name of SIGNALS) process.off(name, stop);
  };
  function stop(name: NodeJS.Signals): void {
    status = 128 + constants.signals[name];
    release();
    say('Stopping; what is finished is kept. Once more ends at once.');
    controller.abort();
  }
  for (const name of SIGNALS) process.on(name, stop);
  return { signal: controller.signal, status: () => status, release };
}
