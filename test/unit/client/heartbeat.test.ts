/** @file A worker that is silent is told from one that had no time to answer: the computer slept, the tab was frozen, the clock was set. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { startHeartbeat } from '../../../src/client/heartbeat.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const HOUR_MS = 3_600_000;
const SILENCE_MS = 600_000;
const FREEZE_MS = 30_000;

/** A heartbeat of a worker that answers or does not. */
function bench({ answers, isAwaited = true }: { readonly answers: boolean; readonly isAwaited?: boolean }) {
  const silences: number[] = [];
  let asked = 0;
  const heartbeat = startHeartbeat({
    isAwaited: () => isAwaited,
    ask: () => {
      asked++;
      return answers ? Promise.resolve() : new Promise(() => undefined);
    },
    silenceMs: SILENCE_MS,
    freezeMs: FREEZE_MS,
    onSilence: (ms) => silences.push(ms),
  });
  return { heartbeat, silences, asked: () => asked };
}

/** Time passes, and no timer runs. */
const sleep = (ms: number): void => void vi.setSystemTime(Date.now() + ms);

describe('the heartbeat', () => {
  it('notices a worker that does not answer for so long', async () => {
    const { silences, asked } = bench({ answers: false });
    await vi.advanceTimersByTimeAsync(SILENCE_MS);
    expect([silences, asked()]).toEqual([[], 1]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(silences[0]).toBeGreaterThan(SILENCE_MS);
  });

  it('notices one that said it is in no call that may block it much sooner', async () => {
    const { heartbeat, silences } = bench({ answers: false });
    heartbeat.busy(false);
    await vi.advanceTimersByTimeAsync(FREEZE_MS);
    expect(silences).toEqual([]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(silences[0]).toBeGreaterThan(FREEZE_MS);
  });

  it('waits for one that said it is in such a call, and counts anew from its end', async () => {
    const { heartbeat, silences } = bench({ answers: false });
    for (let call = 0; call < 3; call++) {
      heartbeat.busy(true);
      await vi.advanceTimersByTimeAsync(SILENCE_MS - 10_000);
      heartbeat.busy(false);
      await vi.advanceTimersByTimeAsync(FREEZE_MS - 10_000);
    }
    expect(silences).toEqual([]);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(silences.length).toBeGreaterThan(0);
  });

  it('lets one live that answers when it is asked', async () => {
    const { silences, asked } = bench({ answers: true });
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect(silences).toEqual([]);
    expect(asked()).toBeGreaterThan(100);
  });

  it.each([
    ['slept for two hours', 2 * HOUR_MS],
    ['was set back', -2 * HOUR_MS],
  ])('takes no computer that %s for a dead worker', async (_, ms) => {
    const { heartbeat, silences } = bench({ answers: true });
    heartbeat.busy(false);
    await vi.advanceTimersByTimeAsync(7_000);
    sleep(ms);
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect(silences).toEqual([]);
  });

  it('gives one the time to answer whose page is looked at once a minute, as browsers do with those in the background', async () => {
    const { heartbeat, silences, asked } = bench({ answers: false });
    heartbeat.busy(false);
    // Timers of such a page run late, and together.
    for (let minute = 0; minute < 5; minute++) {
      sleep(55_000);
      await vi.advanceTimersByTimeAsync(5_000);
    }
    expect(silences).toEqual([]);
    expect(asked()).toBe(1);
  });

  it('notices one that did not survive the sleep', async () => {
    const { silences } = bench({ answers: false });
    await vi.advanceTimersByTimeAsync(7_000);
    sleep(2 * HOUR_MS);
    await vi.advanceTimersByTimeAsync(SILENCE_MS + 10_000);
    expect(silences.length).toBeGreaterThan(0);
  });

  it('does not mind the silence of one that nobody waits for', async () => {
    const { silences, asked } = bench({ answers: false, isAwaited: false });
    await vi.advanceTimersByTimeAsync(HOUR_MS);
    expect([silences, asked()]).toEqual([[], 0]);
  });
});
