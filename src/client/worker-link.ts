/**
 * @file One live worker, from birth to death. Comlink leaves a call pending for ever when nobody answers; here every call
 * also ends when the worker dies, falls silent or is ended. May import base and the files beside it.
 */
import * as Comlink from 'comlink';
import { DarkroomError, fail } from '../base/errors.js';
import { readBusyNotice } from './busy-notice.js';
import { startHeartbeat } from './heartbeat.js';
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

const CLOSE_MS = 1_000;

/** Takes ownership of `port`. `onEnd` is called exactly once, with what ended the worker. */
export function openLink(port: WorkerPort, timeouts: Timeouts, onEnd: (reason: DarkroomError) => void): WorkerLink {
  const worker = Comlink.wrap<PipelineWorker>(port);
  const open = new Set<(reason: DarkroomError) => void>();
  let ended: DarkroomError | undefined;
  const heartbeat = startHeartbeat({
    isAwaited: () => open.size > 0,
    ask: () => worker.memory(),
    silenceMs: timeouts.silenceMs,
    freezeMs: timeouts.freezeMs,
    onSilence: (silentMs) => end(died(`It gave no sign of life for ${Math.round(silentMs / 1000)} s.`)),
  });
  const stopListening = listen(port, {
    onMessage(message) {
      const busy = readBusyNotice(message);
      if (busy === undefined) heartbeat.heard();
      else heartbeat.busy(busy);
    },
    onDeath: (detail) => end(died(detail)),
  });

  /** Rejects what is open. False when the worker had ended before. */
  function retire(reason: DarkroomError): boolean {
    if (ended !== undefined) return false;
    ended = reason;
    heartbeat.stop();
    stopListening();
    for (const reject of open) reject(reason);
    open.clear();
    onEnd(reason);
    return true;
  }

  function stop(): void {
    worker[Comlink.releaseProxy]();
    port.terminate();
  }

  function end(reason: DarkroomError): void {
    if (retire(reason)) stop();
  }

  async function call<R>(send: (remote: Comlink.Remote<PipelineWorker>) => R, timeoutMs?: number): Promise<Awaited<R>> {
    if (ended !== undefined) throw ended;
    if (open.size === 0) heartbeat.heard();
    const { promise, resolve, reject } = withResolvers<Awaited<R>>();
    open.add(reject);
    Promise.resolve(send(worker)).then(resolve, (cause: unknown) => reject(unsendable(cause)));
    const late = (): void => end(died(`No answer within ${(timeoutMs ?? 0) / 1000} s.`));
    const timer = timeoutMs === undefined ? undefined : setTimeout(late, timeoutMs);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      open.delete(reject);
      heartbeat.heard();
    }
  }

  return {
    call,
    heard: () => heartbeat.heard(),
    end,
    async close(reason) {
      if (!retire(reason)) return;
      await farewell(worker);
      stop();
    },
  };
}

/** Waits for the worker to put its things in order, but not for long. */
async function farewell(worker: Comlink.Remote<PipelineWorker>): Promise<void> {
  const patience = new Promise<void>((resolve) => setTimeout(resolve, CLOSE_MS));
  await Promise.race([worker.dispose().catch(() => undefined), patience]);
}

interface Listener {
  /** Hears all messages, comlink's too. */
  readonly onMessage: (message: unknown) => void;
  /** Called when the worker reports that it cannot go on. */
  readonly onDeath: (detail: string) => void;
}

/** Returns how to stop listening. */
function listen(port: WorkerPort, { onMessage, onDeath }: Listener): () => void {
  const onData = (event: MessageEvent<unknown>): void => onMessage(event.data);
  const onError = (event: Event): void => {
    const message = 'message' in event && typeof event.message === 'string' ? event.message : '';
    onDeath(message === '' ? 'Its script could not be loaded, or it crashed.' : message);
  };
  const onMessageError = (): void => onDeath('A message from it could not be read.');
  port.addEventListener('message', onData);
  port.addEventListener('error', onError);
  port.addEventListener('messageerror', onMessageError);
  return () => {
    port.removeEventListener('message', onData);
    port.removeEventListener('error', onError);
    port.removeEventListener('messageerror', onMessageError);
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

/** Worker functions never throw, so a rejected call is a message that structured clone refused, or a bug of ours, typed or not. */
function unsendable(cause: unknown): DarkroomError {
  if (cause instanceof DarkroomError) return cause;
  const message = cause instanceof Error ? cause.message : String(cause);
  const unclonable = cause instanceof Error && cause.name === 'DataCloneError';
  return unclonable || cause instanceof RangeError // too deep
    ? fail('invalidRequest', `The request holds something that cannot be sent to a worker: ${message}`, { cause })
    : fail('internalError', `The pipeline worker threw: ${message}`, { cause });
}
