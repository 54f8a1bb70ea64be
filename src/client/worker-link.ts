/**
 * @file One live worker, from birth to death. Comlink leaves a call pending for ever when nobody answers; here every call
 * also ends when the worker dies, falls silent or is ended. May import base and the files beside it.
 */
import * as Comlink from 'comlink';
import { DarkroomError, fail } from '../base/errors.js';
import { withResolvers } from './queue.js';
import type { Timeouts, WorkerPort } from './types.js';
import type { PipelineWorker, Settled } from './wire.js';

export interface WorkerLink {
  /**
   * Calls the worker. Rejects with the reason when the worker ends first, after `timeoutMs` without an answer (which also
   * ends the worker), and with `invalidRequest` when an argument cannot be sent.
   */
  call<R>(send: (worker: Comlink.Remote<PipelineWorker>) => R, timeoutMs?: number): Promise<Awaited<R>>;
  /** A sign of life that is not an answer: an event. */
  heard(): void;
  /** Ends the worker; every open call rejects with `reason`. The first reason counts. */
  end(reason: DarkroomError): void;
  /** Gives the worker a second to put its things in order, then ends it. Open calls reject at once. */
  close(reason: DarkroomError): Promise<void>;
}

/** How often a silent worker is asked whether it lives, in milliseconds. */
const PING_MS = 5_000;
const CLOSE_MS = 1_000;

/** Takes ownership of `port`. `onEnd` is called exactly once, with what ended the worker. */
export function openLink(port: WorkerPort, timeouts: Timeouts, onEnd: (reason: DarkroomError) => void): WorkerLink {
  const worker = Comlink.wrap<PipelineWorker>(port);
  const open = new Set<(reason: DarkroomError) => void>();
  let ended: DarkroomError | undefined;
  let heardAt = Date.now();
  const stopPings = keepAsking();

  port.addEventListener('error', onError);
  port.addEventListener('messageerror', onMessageError);

  function onError(event: Event): void {
    const detail = 'message' in event && typeof event.message === 'string' && event.message !== '' ? event.message : '';
    end(died(detail === '' ? 'Its script could not be loaded, or it crashed.' : detail));
  }
  function onMessageError(): void {
    end(died('A message from it could not be read.'));
  }

  function keepAsking(): () => void {
    let asked = false;
    const timer = setInterval(
      () => {
        if (open.size === 0) return heard();
        const silentMs = Date.now() - heardAt;
        if (silentMs > timeouts.silenceMs) end(died(`It gave no sign of life for ${Math.round(silentMs / 1000)} s.`));
        else if (!asked && silentMs > PING_MS) {
          asked = true;
          void worker
            .memory()
            .then(heard, heard)
            .finally(() => (asked = false));
        }
      },
      Math.min(PING_MS, timeouts.silenceMs / 2),
    );
    return () => clearInterval(timer);
  }

  function heard(): void {
    heardAt = Date.now();
  }

  function fallSilent(reason: DarkroomError): boolean {
    if (ended !== undefined) return false;
    ended = reason;
    stopPings();
    port.removeEventListener('error', onError);
    port.removeEventListener('messageerror', onMessageError);
    for (const reject of open) reject(reason);
    open.clear();
    onEnd(reason);
    return true;
  }

  function end(reason: DarkroomError): void {
    if (fallSilent(reason)) stop();
  }

  function stop(): void {
    worker[Comlink.releaseProxy]();
    port.terminate();
  }

  async function call<R>(send: (remote: Comlink.Remote<PipelineWorker>) => R, timeoutMs?: number): Promise<Awaited<R>> {
    if (ended !== undefined) throw ended;
    if (open.size === 0) heard();
    const { promise, resolve, reject } = withResolvers<Awaited<R>>();
    open.add(reject);
    Promise.resolve(send(worker)).then(resolve, (cause: unknown) => reject(unsendable(cause)));
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => end(died(`No answer within ${timeoutMs / 1000} s.`)), timeoutMs);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      open.delete(reject);
      heard();
    }
  }

  return {
    call,
    heard,
    end,
    async close(reason) {
      if (!fallSilent(reason)) return;
      const patience = new Promise<void>((resolve) => setTimeout(resolve, CLOSE_MS));
      await Promise.race([worker.dispose().catch(() => undefined), patience]);
      stop();
    },
  };
}

/** The worker's answer, or its errors as a real `DarkroomError`. */
export function unwrap<T>(settled: Settled<T>): T {
  if (settled.ok) return settled.value;
  throw new DarkroomError(settled.errors);
}

export function died(detail: string, cause?: unknown): DarkroomError {
  return fail('workerDied', `The pipeline worker ended. ${detail}`, {
    hint: 'Often the device ran out of memory: try a smaller size. The next call starts a new worker.',
    ...(cause === undefined ? {} : { cause }),
  });
}

/** Worker functions never throw, so a rejected call is a message that structured clone refused, or a bug of ours. */
function unsendable(cause: unknown): DarkroomError {
  const message = cause instanceof Error ? cause.message : String(cause);
  return cause instanceof Error && cause.name === 'DataCloneError'
    ? fail('invalidRequest', `The request holds something that cannot be sent to a worker: ${message}`, { cause })
    : fail('internalError', `The pipeline worker threw: ${message}`, { cause });
}
