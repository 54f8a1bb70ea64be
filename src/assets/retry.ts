/** @file Trying again: what passes with time, how long to wait for it, and a clock that tests can replace. */
import { throwIfAborted } from '../base/errors.js';

/** Waiting and chance; absent: the real ones. */
export interface Clock {
  /** Milliseconds since 1970, as `Date.now`. */
  readonly now?: () => number;
  /** Waits `ms` milliseconds; may return early when `signal` fires. */
  readonly sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** 0 ≤ x < 1, as `Math.random`. */
  readonly random?: () => number;
}

/** A failure that may not happen again: a torn connection, a busy server. */
export class PassingFailure extends Error {
  override readonly name = 'PassingFailure';
  /** @param retryAfterMs when the server said how long to wait */
  constructor(
    message: string,
    readonly retryAfterMs?: number,
  ) {
    super(message);
  }
}

/** The wait before the second try in milliseconds; it doubles, up to the last. */
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;
/** A server that asks for a longer wait than this is not waited for that long. */
const LONGEST_RETRY_AFTER_MS = 120_000;

/**
 * Milliseconds to wait after the `failures`th failure in a row (from 1): 0.5, 1, 2, … up to 30 s, times 0.5 to 1.5 by chance, so that
 * those who failed together do not come back together; no less than the server asked for, up to 2 minutes.
 */
export function waitAfter(failures: number, { random = Math.random }: Clock, retryAfterMs = 0): number {
  const wait = Math.min(FIRST_WAIT_MS * 2 ** (failures - 1), LONGEST_WAIT_MS) * (0.5 + random());
  return Math.max(wait, Math.min(retryAfterMs, LONGEST_RETRY_AFTER_MS));
}

/** `Retry-After` (RFC 9110 §10.2.3), in seconds or as a date → milliseconds from now. */
export function parseRetryAfter(value: string | null, now: number): number | undefined {
  if (value === null) return undefined;
  if (/^\d+$/.test(value.trim())) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** Waits. @throws aborted */
export async function waitFor(ms: number, { sleep = realSleep }: Clock, signal?: AbortSignal): Promise<void> {
  throwIfAborted(signal);
  await sleep(ms, signal);
  throwIfAborted(signal);
}

/** Wakes early when `signal` fires. */
function realSleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    }
    signal?.addEventListener('abort', done);
  });
}
