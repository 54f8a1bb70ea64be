/** @file Tells a worker that is busy from one that is gone without a word: asks it now and then whether it lives. Imports nothing. */

/** How often a silent worker is asked, in milliseconds. */
const PING_MS = 5_000;

export interface Heartbeat {
  /** A sign of life. */
  heard(): void;
  stop(): void;
}

export interface HeartbeatDeps {
  /** Whether anyone waits for the worker; an idle one may be silent. */
  readonly isAwaited: () => boolean;
  /** Settles, either way, when the worker answers. */
  readonly ask: () => Promise<unknown>;
  readonly silenceMs: number;
  readonly onSilence: (silentMs: number) => void;
}

export function startHeartbeat({ isAwaited, ask, silenceMs, onSilence }: HeartbeatDeps): Heartbeat {
  let heardAt = Date.now();
  let asking = false;
  const heard = (): void => {
    heardAt = Date.now();
  };

  function check(): void {
    if (!isAwaited()) return heard();
    const silentMs = Date.now() - heardAt;
    if (silentMs > silenceMs) return onSilence(silentMs);
    if (asking || silentMs <= PING_MS) return;
    asking = true;
    const answered = (): void => {
      asking = false;
      heard();
    };
    void ask().then(answered, answered);
  }

  const timer = setInterval(check, Math.min(PING_MS, silenceMs / 2));
  return { heard, stop: () => clearInterval(timer) };
}
