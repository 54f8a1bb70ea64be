/**
 * @file Noticing at once that a worker is gone. A killed worker sends nothing, but the browser releases the Web Lock it
 * held. Used by the worker (hold) and by the client (watch). Imports nothing.
 */

/** In the worker: holds the lock for as long as the worker lives. Does nothing where there are no Web Locks. */
export async function holdLifeLock(name: string): Promise<void> {
  if (typeof navigator === 'undefined' || !('locks' in navigator)) return;
  await new Promise<void>((held) => {
    const refused = navigator.locks.request(name, () => {
      held();
      return new Promise<never>(() => undefined);
    });
    refused.catch(() => held()); // in sandboxed frames
  });
}

/**
 * In the page: calls `onDeath` when the holder is gone. Returns how to stop watching.
 * Where nobody holds the lock (no Web Locks, or a worker that does not take part) it watches nothing.
 */
export function watchLifeLock(name: string, onDeath: () => void): () => void {
  const watch = new AbortController();
  const released = waitForRelease(name, watch.signal).catch(() => false); // refused, as in sandboxed frames
  void released.then((gone) => {
    if (gone && !watch.signal.aborted) onDeath();
  });
  return () => watch.abort();
}

async function waitForRelease(name: string, signal: AbortSignal): Promise<boolean> {
  if (typeof navigator === 'undefined' || !('locks' in navigator)) return false;
  const { held = [] } = await navigator.locks.query();
  if (signal.aborted || !held.some((lock) => lock.name === name)) return false;
  return navigator.locks.request(name, { signal }, () => true).catch(() => false); // rejects only when no longer watched
}
