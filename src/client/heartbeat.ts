/**
 * @file Tells a worker that is busy from one that is gone, or caught in a loop, without a word: asks it now and then whether it lives. One that says
 * that it is in a call that may block it is waited for longer. Imports nothing.
 */

/** How often a silent worker is asked, in milliseconds. */
const PING_MS = 5_000;

export interface Heartbeat {
  /** A sign of life. */
  heard(): void;
  /** The worker says whether it is in a call that may block it; until it does, it is: its script is loaded, or it is of a kind that does not say. */
  busy(is: boolean): void;
  stop(): void;
}

export interface HeartbeatDeps {
  /** Whether anyone waits for the worker; an idle one may be silent. */
  readonly isAwaited: () => boolean;
  /** Settles, either way, when the worker answers. */
  readonly ask: () => Promise<unknown>;
  /** The longest silence of one that is busy. */
  readonly silenceMs: number;
  /** The longest silence of one that is not. */
  readonly freezeMs: number;
  readonly onSilence: (silentMs: number) => void;
}

export function startHeartbeat({ isAwaited, ask, silenceMs, freezeMs, onSilence }: HeartbeatDeps): Heartbeat {
  const roundMs = Math.min(PING_MS, silenceMs / 2, freezeMs / 2);
  let silentMs = 0;
  let checkedAt = Date.now();
  let asking = false;
  let blocked = true;
  const heard = (): void => {
    silentMs = 0;
  };

  function check(): void {
    // After a sleep, or a stay in the background, much time has passed in which the worker could not answer either: one round counts.
    const passedMs = Date.now() - checkedAt;
    checkedAt += passedMs;
    if (!isAwaited()) return heard();
    silentMs += Math.min(Math.max(passedMs, 0), roundMs);
    if (silentMs > (blocked ? silenceMs : Math.min(freezeMs, silenceMs))) return onSilence(silentMs);
    if (asking || silentMs <= PING_MS) return;
    asking = true;
    const answered = (): void => {
      asking = false;
      heard();
    };
    void ask().then(answered, answered);
  }

  const timer = setInterval(check, roundMs);
  return {
    heard,
    busy(is) {
      blocked = is;
      heard();
    },
    stop: () => clearInterval(timer),
  };
}
