/** @file The worker that may or may not be there: started on first use, forgotten when it ends, started anew by the next call. */
import type { DarkroomError } from '../base/errors.js';
import { watchLifeLock } from './life-lock.js';
import type { Timeouts, WorkerPort } from './types.js';
import type { DeviceInfo, WorkerOptions } from './wire.js';
import { died, openLink, unwrap, type WorkerLink } from './worker-link.js';

/** A worker that has answered. */
export interface LiveWorker {
  readonly link: WorkerLink;
  readonly device: DeviceInfo;
}

export interface WorkerHost {
  /** Whether a worker runs or is starting. */
  readonly running: boolean;
  /** The running worker, started where there is none. Rejects with what the worker said, `workerDied` or `disposed`. */
  live(): Promise<LiveWorker>;
  /** Ends the worker for good. */
  dispose(reason: DarkroomError): Promise<void>;
}

export interface HostDeps {
  readonly makeWorker: () => WorkerPort;
  /** Read at every start: models registered meanwhile are in it. */
  readonly workerOptions: () => Promise<WorkerOptions>;
  readonly timeouts: Timeouts;
  /** A worker ended, for this reason. */
  readonly onEnd: (reason: DarkroomError) => void;
}

export function createHost({ makeWorker, workerOptions, timeouts, onEnd }: HostDeps): WorkerHost {
  let ready: Promise<LiveWorker> | undefined;
  let link: WorkerLink | undefined;
  let disposed: DarkroomError | undefined;

  async function start(): Promise<LiveWorker> {
    const options = await workerOptions();
    if (disposed !== undefined) throw disposed;
    const lifeLock = `darkroom-${crypto.randomUUID()}`;
    let unwatch = (): void => undefined;
    const opened = openLink(spawn(makeWorker), timeouts, (reason) => {
      unwatch();
      ready = undefined;
      link = undefined;
      onEnd(reason);
    });
    link = opened;
    try {
      const device = unwrap(await opened.call((worker) => worker.start({ ...options, lifeLock }), timeouts.startMs));
      unwatch = watchLifeLock(lifeLock, () => opened.end(died('It was terminated, or the browser ended it.')));
      return { link: opened, device };
    } catch (error) {
      opened.end(died('It could not start.', error));
      throw error;
    }
  }

  function live(): Promise<LiveWorker> {
    if (disposed !== undefined) return Promise.reject(disposed);
    if (ready !== undefined) return ready;
    const starting = start().catch((error: unknown) => {
      if (ready === starting) ready = undefined;
      throw error;
    });
    ready = starting;
    return starting;
  }

  return {
    get running() {
      return ready !== undefined;
    },
    live,
    async dispose(reason) {
      disposed ??= reason;
      await link?.close(disposed);
    },
  };
}

/** `new Worker` throws at once where a policy forbids it. */
function spawn(makeWorker: () => WorkerPort): WorkerPort {
  try {
    return makeWorker();
  } catch (cause) {
    throw died(`It could not be created: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  }
}
