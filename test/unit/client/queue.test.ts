/** @file Calls wait for each other, and can be aborted wherever they are. */
import { describe, expect, it, vi } from 'vitest';
import type { ProgressEvent } from '../../../src/client/wire.js';
import { REQUEST, TASK, refusal, setUp, untilCalled } from './bench.js';
import { DEVICE, fakeWorker, lasts, makes, picture } from './fake-worker.js';

describe('order and abort', () => {
  it('runs one call after the other, and says that a call waits', async () => {
    let running = 0;
    let most = 0;
    const { darkroom, workers } = setUp(() =>
      fakeWorker(async (emit, tasks, cancelled) => {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setTimeout(resolve, 10));
        running--;
        return makes(picture())(emit, tasks, cancelled);
      }),
    );
    const events: ProgressEvent[] = [];
    const onProgress = (event: ProgressEvent): void => void events.push(event);
    await Promise.all([
      darkroom.imageInference({ ...REQUEST, positivePrompt: 'one' }, { onProgress }),
      darkroom.imageInference(
        { ...REQUEST, positivePrompt: 'two', taskUUID: TASK.taskUUID, numberResults: 3 },
        { onProgress },
      ),
      darkroom.run([{ ...TASK, positivePrompt: 'three' }]),
    ]);
    expect(most).toBe(1);
    expect(workers[0]?.tasks.map((task) => JSON.stringify(task).match(/one|two|three/)?.[0])).toEqual([
      'one',
      'two',
      'three',
    ]);
    expect(events).toEqual([{ kind: 'progress', taskUUID: TASK.taskUUID, stage: 'queue', image: 0, images: 3 }]);
  });

  it('does nothing for a signal that has fired already', async () => {
    const { darkroom, workers } = setUp(() => fakeWorker(makes(picture())));
    expect((await refusal(darkroom.imageInference(REQUEST, { signal: AbortSignal.abort() }))).code).toBe('aborted');
    expect(workers).toHaveLength(0);
  });

  it('drops a waiting call at once, without starting it', async () => {
    const { darkroom, workers } = setUp(() => fakeWorker(lasts(true)));
    const first = new AbortController();
    const second = new AbortController();
    const running = refusal(darkroom.imageInference(REQUEST, { signal: first.signal }));
    const waiting = refusal(darkroom.imageInference(REQUEST, { signal: second.signal }));
    await untilCalled(() => workers[0], 'run 1');
    second.abort();
    expect((await waiting).code).toBe('aborted');
    expect(workers[0]?.calls).toEqual(['start', 'run 1']);
    first.abort();
    expect((await running).code).toBe('aborted');
  });

  it('cancels a running call: rejects at once, starts the next one only when the worker has stopped', async () => {
    let stop = (): void => undefined;
    const { darkroom, workers } = setUp(() =>
      fakeWorker(async (emit, tasks, cancelled) => {
        if (workers[0]?.calls.includes('run 2') === true) return makes(picture())(emit, tasks, cancelled);
        await cancelled;
        await new Promise<void>((resolve) => (stop = resolve));
        await emit({ kind: 'picture', picture: picture() });
        return { ok: false, errors: [{ code: 'aborted', message: 'Stopped.' }] };
      }),
    );
    const abort = new AbortController();
    const onPicture = vi.fn();
    const running = refusal(darkroom.imageInference(REQUEST, { signal: abort.signal, onPicture }));
    await untilCalled(() => workers[0], 'run 1');
    const next = darkroom.imageInference(REQUEST);
    abort.abort();
    expect((await running).code).toBe('aborted');
    await untilCalled(() => workers[0], 'cancel 1');
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(workers[0]?.calls).not.toContain('run 2');
    stop();
    expect(await next).toHaveLength(1);
    expect(onPicture).not.toHaveBeenCalled();
    expect(workers).toHaveLength(1);
  });

  it('ends a worker that does not stop, and runs the next call on a new one', async () => {
    const { darkroom, workers } = setUp((n) => fakeWorker(n === 0 ? lasts(false) : makes(picture())), {
      timeouts: { cancelMs: 30 },
    });
    const abort = new AbortController();
    const running = refusal(darkroom.imageInference(REQUEST, { signal: abort.signal }));
    await untilCalled(() => workers[0], 'run 1');
    const next = darkroom.imageInference(REQUEST);
    abort.abort();
    expect((await running).code).toBe('aborted');
    expect(await next).toHaveLength(1);
    expect(workers.map(({ terminated }) => terminated)).toEqual([true, false]);
  });

  it('can be aborted while the worker starts', async () => {
    let answer = (): void => undefined;
    const start = (): Promise<{ ok: true; value: typeof DEVICE }> =>
      new Promise((resolve) => (answer = () => resolve({ ok: true, value: DEVICE })));
    const { darkroom, workers } = setUp(() => fakeWorker(makes(picture()), { start }));
    const abort = new AbortController();
    const refused = refusal(darkroom.imageInference(REQUEST, { signal: abort.signal }));
    await untilCalled(() => workers[0], 'start');
    abort.abort();
    expect((await refused).code).toBe('aborted');
    answer();
    expect(await darkroom.imageInference(REQUEST)).toHaveLength(1);
    expect(workers[0]?.calls).toEqual(['start', 'run 1']);
  });
});
