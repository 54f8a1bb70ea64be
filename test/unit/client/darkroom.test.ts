/** @file The client against a worker that speaks the real protocol: results, errors, order, abort, death. Nothing may wait for ever. */
import { resolveObjectURL } from 'node:buffer';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { DarkroomError } from '../../../src/base/errors.js';
import { createDarkroom } from '../../../src/client/darkroom.js';
import type { Darkroom, DarkroomOptions } from '../../../src/client/types.js';
import type { ProgressEvent } from '../../../src/client/wire.js';
import { DEVICE, fakeWorker, lasts, makes, outcome, picture, type FakeWorker } from './fake-worker.js';

const REQUEST = { positivePrompt: 'a red house', model: 'darkroom:1@1' } as const;
const TASK = { ...REQUEST, taskType: 'imageInference', taskUUID: '11111111-1111-4111-8111-111111111111' } as const;

const made: Darkroom[] = [];
afterEach(async () => {
  await Promise.all(made.splice(0).map((darkroom) => darkroom.dispose()));
});

interface Bench {
  readonly darkroom: Darkroom;
  /** Every worker so far. */
  readonly workers: readonly FakeWorker[];
}

/** A Darkroom whose n-th worker (from 0) is made by `make`. */
function setUp(make: (n: number) => FakeWorker, options: DarkroomOptions = {}): Bench {
  const workers: FakeWorker[] = [];
  const worker = (): FakeWorker => {
    const next = make(workers.length);
    workers.push(next);
    return next;
  };
  const darkroom = createDarkroom({ ...options, worker });
  made.push(darkroom);
  return { darkroom, workers };
}

/** What the promise rejects with; fails the test when that is not a `DarkroomError`. */
async function refusal(promise: Promise<unknown>): Promise<DarkroomError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof DarkroomError) return error;
  throw new Error(`expected a DarkroomError, got ${String(error)}`);
}

const untilCalled = (worker: () => FakeWorker | undefined, call: string): Promise<void> =>
  vi.waitFor(() => expect(worker()?.calls).toContain(call), { interval: 2 });

describe('results', () => {
  it('starts no worker before the first call, and one for all calls', async () => {
    const { darkroom, workers } = setUp(() => fakeWorker(makes(picture())));
    expect(workers).toHaveLength(0);
    await darkroom.imageInference(REQUEST);
    await darkroom.imageInference(REQUEST);
    expect(workers.map(({ calls }) => calls)).toEqual([['start', 'run 1', 'run 2']]);
  });

  it('gives pictures in the cloud form, with a URL that this page owns', async () => {
    const one = picture({ seed: 7n, warnings: ['Runs on the CPU.'] });
    const { darkroom } = setUp(() => fakeWorker(makes(one, picture({ image: 1, seed: 8n, includeCost: true }))));
    const [first, second] = await darkroom.imageInference({ ...REQUEST, numberResults: 2 });
    expect(first).toMatchObject({
      taskType: 'imageInference',
      taskUUID: one.taskUUID,
      imageUUID: one.imageUUID,
      seed: 7,
      width: 64,
      height: 128,
      backend: 'wasm',
      warnings: ['Runs on the CPU.'],
      timings: { denoise: 5 },
    });
    expect(first).not.toHaveProperty('cost');
    expect(first).not.toHaveProperty('seedString');
    expect(second).toMatchObject({ seed: 8, cost: 0 });
    const blob = resolveObjectURL(first?.imageURL ?? '');
    expect(blob?.type).toBe('image/png');
    expect(new Uint8Array((await blob?.arrayBuffer()) ?? new ArrayBuffer(0))).toEqual(one.bytes);
    expect(first?.blob.size).toBe(3);
  });

  it('frees a URL on release and all others on dispose', async () => {
    const { darkroom } = setUp(() => fakeWorker(makes(picture(), picture())));
    const [a, b] = await darkroom.requestImages(REQUEST);
    darkroom.release(a?.imageURL ?? '');
    expect(resolveObjectURL(a?.imageURL ?? '')).toBeUndefined();
    expect(resolveObjectURL(b?.imageURL ?? '')).toBeDefined();
    await darkroom.dispose();
    expect(resolveObjectURL(b?.imageURL ?? '')).toBeUndefined();
  });

  it('gives base64 and data URIs', async () => {
    const bytes = Uint8Array.from({ length: 30_001 }, (_, i) => i % 251);
    const base64 = Buffer.from(bytes).toString('base64');
    const { darkroom } = setUp(() =>
      fakeWorker(
        makes(
          picture({ bytes, outputType: 'base64Data' }),
          picture({ bytes, outputType: 'dataURI', mime: 'image/jpeg' }),
        ),
      ),
    );
    const [plain, uri] = await darkroom.imageInference(REQUEST);
    expect(plain?.imageBase64Data).toBe(base64);
    expect(uri?.imageDataURI).toBe(`data:image/jpeg;base64,${base64}`);
    expect(plain).not.toHaveProperty('imageURL');
  });

  it('keeps every digit of a seed that a number cannot hold', async () => {
    const { darkroom } = setUp(() => fakeWorker(makes(picture({ seed: 9202427981074766178n }))));
    const [result] = await darkroom.imageInference({ ...REQUEST, seed: 9202427981074766178n });
    expect(result).toMatchObject({ seed: 9202427981074766000, seedString: '9202427981074766178' });
  });

  it('waits for a picture that arrives after the answer', async () => {
    const late = picture();
    const { darkroom } = setUp(() =>
      fakeWorker((emit) => {
        setTimeout(() => void emit({ kind: 'picture', picture: late }), 30);
        return Promise.resolve(outcome(late));
      }),
    );
    expect(await darkroom.imageInference(REQUEST)).toHaveLength(1);
  });

  it('sends one request as it is, with a new taskUUID and without absent fields', async () => {
    const { darkroom, workers } = setUp(() => fakeWorker(makes(picture())));
    const seed = 2n ** 60n;
    const untyped: object = { negativePrompt: undefined };
    await darkroom.imageInference(Object.assign({ ...REQUEST, seed }, untyped));
    const [sent] = workers[0]?.tasks ?? [];
    expect(sent).toEqual({ ...REQUEST, seed, taskUUID: expect.stringMatching(/^[0-9a-f-]{36}$/) as string });
    await darkroom.imageInference({ ...REQUEST, taskUUID: TASK.taskUUID });
    expect(workers[0]?.tasks[1]).toMatchObject({ taskUUID: TASK.taskUUID });
  });

  it('passes progress, previews and pictures on, and survives listeners that throw', async () => {
    const uncaught = vi.fn();
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException').on('uncaughtException', uncaught);
    const { taskUUID } = TASK;
    const step = { kind: 'progress', taskUUID, stage: 'denoise', image: 0, images: 1, step: 1, of: 2 } as const;
    const rgba = new Uint8ClampedArray(4);
    const preview = { kind: 'preview', taskUUID, image: 0, step: 1, of: 2, width: 1, height: 1, rgba } as const;
    const final = picture();
    const { darkroom } = setUp(() =>
      fakeWorker(async (emit) => {
        await emit(step);
        await emit(preview);
        return makes(final)(emit, [], Promise.resolve());
      }),
    );
    const seen: unknown[] = [];
    const note = (event: unknown): void => void seen.push(event);
    const onProgress = (event: unknown): never => {
      note(event);
      throw new Error('in a listener');
    };
    await darkroom.imageInference(REQUEST, { onProgress, onPreview: note, onPicture: note });
    await vi.waitFor(() => expect(uncaught).toHaveBeenCalledOnce());
    process.removeAllListeners('uncaughtException');
    for (const listener of listeners) process.on('uncaughtException', listener);
    expect(seen).toEqual([step, preview, expect.objectContaining({ imageUUID: final.imageUUID })]);
  });
});

describe('errors', () => {
  const problems = [
    { code: 'invalidWidth', message: 'Invalid width.', parameter: 'width', min: 128, max: 2048 },
    { code: 'invalidSteps', message: 'Invalid steps.', parameter: 'steps' },
  ] as const;

  it('rejects with a real DarkroomError that holds every problem', async () => {
    const { darkroom } = setUp(() => fakeWorker(() => Promise.resolve({ ok: false, errors: problems })));
    const error = await refusal(darkroom.imageInference(REQUEST));
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: 'DarkroomError', code: 'invalidWidth', errors: problems, error: { min: 128 } });
    expect(error.message).toBe('Invalid width. (and 1 more)');
  });

  it('rejects when one of several pictures failed, and frees those that nobody saw', async () => {
    const urls: string[] = [];
    const create = vi.spyOn(URL, 'createObjectURL');
    const ok = picture();
    const { darkroom } = setUp(() =>
      fakeWorker(async (emit) => {
        await emit({ kind: 'picture', picture: ok });
        return { ok: true, value: { ...outcome(ok).value, errors: [{ code: 'notFinite', message: 'NaN.' }] } };
      }),
    );
    expect((await refusal(darkroom.imageInference(REQUEST))).code).toBe('notFinite');
    for (const { value } of create.mock.results) urls.push(String(value));
    create.mockRestore();
    expect(urls).toHaveLength(1);
    expect(resolveObjectURL(urls[0] ?? '')).toBeUndefined();
  });

  it('run() answers in the wire form: data, data beside errors, or errors alone', async () => {
    const error = { code: 'modelNotFound', message: 'No such model.', taskUUID: 'x' } as const;
    const ok = picture();
    const { darkroom } = setUp(() =>
      fakeWorker(async (emit, tasks) => {
        const which = Array.isArray(tasks) ? tasks.length : 0;
        if (which === 3) return { ok: false, errors: problems };
        if (which < 3) await emit({ kind: 'picture', picture: ok });
        const { pictures } = outcome(ok).value;
        return { ok: true, value: { pictures: which < 3 ? pictures : [], errors: which === 1 ? [] : [error] } };
      }),
    );
    expect(await darkroom.run([TASK])).toEqual({ data: [expect.objectContaining({ imageUUID: ok.imageUUID })] });
    expect(await darkroom.run([TASK, TASK])).toEqual({ data: [expect.anything()], errors: [error] });
    expect(await darkroom.run([TASK, TASK, TASK])).toEqual({ errors: problems });
    expect(await darkroom.run([TASK, TASK, TASK, TASK])).toEqual({ errors: [error] });
  });

  it('says so when a request cannot be sent, and goes on', async () => {
    const { darkroom, workers } = setUp(() => fakeWorker(makes(picture())));
    const error = await refusal(darkroom.imageInference(Object.assign({ ...REQUEST }, { onDone: () => 1 })));
    expect(error.code).toBe('invalidRequest');
    expect(await darkroom.imageInference(REQUEST)).toHaveLength(1);
    expect(workers).toHaveLength(1);
  });

  it('reports a picture that was promised but never arrives', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const { darkroom } = setUp(() => fakeWorker(() => Promise.resolve(outcome(picture()))));
      const refused = refusal(darkroom.imageInference(REQUEST));
      for (let i = 0; i < 50; i++) await new Promise(setImmediate);
      await vi.advanceTimersByTimeAsync(10_001);
      expect((await refused).code).toBe('internalError');
    } finally {
      vi.useRealTimers();
    }
  });
});

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

describe('death of the worker', () => {
  it.each([
    ['error', 'out of memory', /out of memory/],
    ['messageerror', undefined, /could not be read/],
  ] as const)('%s: rejects what runs and what waits; the next call starts a new one', async (type, message, text) => {
    const { darkroom, workers } = setUp((n) => fakeWorker(n === 0 ? lasts(false) : makes(picture())));
    const both = [refusal(darkroom.imageInference(REQUEST)), refusal(darkroom.run([TASK]))];
    await untilCalled(() => workers[0], 'run 1');
    workers[0]?.fire(type, message);
    for (const error of await Promise.all(both)) {
      expect(error.code).toBe('workerDied');
      expect(error.message).toMatch(text);
      expect(error.hint).toMatch(/next call/);
    }
    expect(workers[0]?.terminated).toBe(true);
    expect(await darkroom.imageInference(REQUEST)).toHaveLength(1);
    expect(workers).toHaveLength(2);
  });

  it('registers the models again in the new worker', async () => {
    const file = new File(['{}'], 'model.safetensors');
    const { darkroom, workers } = setUp(() => fakeWorker(makes(picture())), {
      models: { 'a:1@1': 'https://example.org/a/' },
    });
    await darkroom.registerModel('b:1@1', [file]);
    workers[0]?.fire('error');
    await darkroom.imageInference(REQUEST);
    const expected = {
      'a:1@1': { kind: 'url', url: 'https://example.org/a/' },
      'b:1@1': { kind: 'files', files: [{ path: 'model.safetensors', file: expect.any(Blob) as Blob }] },
    };
    expect(workers[0]?.calls).toEqual(['start', 'registerModel b:1@1']);
    expect(workers[1]?.started[0]?.models).toEqual(expected);
  });

  it('gives up a worker that never answers', async () => {
    const { darkroom, workers } = setUp(() => fakeWorker(makes(), { start: () => new Promise(() => undefined) }), {
      timeouts: { startMs: 30 },
    });
    const errors = await Promise.all([refusal(darkroom.imageInference(REQUEST)), refusal(darkroom.device())]);
    expect(errors.map(({ code }) => code)).toEqual(['workerDied', 'workerDied']);
    expect(workers.map(({ terminated }) => terminated)).toEqual([true]);
  });

  it('gives up a worker that falls silent', async () => {
    const { darkroom, workers } = setUp(
      () => fakeWorker(lasts(false), { memory: () => new Promise(() => undefined) }),
      { timeouts: { silenceMs: 60 } },
    );
    expect((await refusal(darkroom.imageInference(REQUEST))).message).toMatch(/no sign of life/);
    expect(workers[0]?.terminated).toBe(true);
  });

  it('leaves a worker alone whose events show that it works', async () => {
    const { darkroom } = setUp(
      () =>
        fakeWorker(async (emit, tasks, cancelled) => {
          for (let i = 0; i < 12; i++) {
            await new Promise((resolve) => setTimeout(resolve, 20));
            await emit({ kind: 'progress', taskUUID: TASK.taskUUID, stage: 'denoise', image: 0, images: 1 });
          }
          return makes(picture())(emit, tasks, cancelled);
        }),
      { timeouts: { silenceMs: 120 } },
    );
    expect(await darkroom.imageInference(REQUEST)).toHaveLength(1);
  });

  it('reports why no worker could be made', async () => {
    const darkroom = createDarkroom({
      worker: () => {
        throw new Error('blocked by policy');
      },
    });
    expect((await refusal(darkroom.imageInference(REQUEST))).message).toMatch(/blocked by policy/);
    await darkroom.dispose();
  });

  it('passes on why the worker cannot start, and tries again on the next call', async () => {
    const refused = { code: 'deviceUnavailable', message: 'No WebGPU.' } as const;
    const { darkroom, workers } = setUp((n) =>
      fakeWorker(makes(picture()), n === 0 ? { start: () => Promise.resolve({ ok: false, errors: [refused] }) } : {}),
    );
    expect((await refusal(darkroom.imageInference(REQUEST))).errors).toEqual([refused]);
    expect(workers[0]?.terminated).toBe(true);
    expect(await darkroom.imageInference(REQUEST)).toHaveLength(1);
  });
});

describe('dispose', () => {
  it('rejects everything, under way or later, with `disposed`, and ends the worker once', async () => {
    const { darkroom, workers } = setUp(() => fakeWorker(lasts(false)));
    const open = [refusal(darkroom.imageInference(REQUEST)), refusal(darkroom.run([TASK]))];
    await untilCalled(() => workers[0], 'run 1');
    await Promise.all([darkroom.dispose(), darkroom.dispose()]);
    const later = [
      refusal(darkroom.imageInference(REQUEST)),
      refusal(darkroom.run([TASK])),
      refusal(darkroom.registerModel('x', 'https://example.org/')),
      refusal(darkroom.device()),
      refusal(darkroom.memory()),
    ];
    const codes = (await Promise.all([...open, ...later])).map(({ code }) => code);
    expect(codes).toEqual(Array.from({ length: 7 }, () => 'disposed'));
    expect(workers).toHaveLength(1);
    expect(workers[0]?.terminated).toBe(true);
    expect(workers[0]?.calls.filter((call) => call === 'dispose')).toHaveLength(1);
  });

  it('does not wait for a worker that does not answer', async () => {
    const { darkroom, workers } = setUp(() => fakeWorker(makes(), { dispose: () => new Promise(() => undefined) }));
    await darkroom.device();
    await darkroom.dispose();
    expect(workers[0]?.terminated).toBe(true);
  });

  it('needs no worker', async () => {
    const { darkroom, workers } = setUp(() => fakeWorker(makes()));
    await darkroom.dispose();
    expect(workers).toHaveLength(0);
  });
});

describe('device and memory', () => {
  it('says which device runs, and counts its buffers', async () => {
    const { darkroom, workers } = setUp(() => fakeWorker(makes()), { backend: 'wasm', strictGpu: true });
    expect(await darkroom.device()).toEqual(DEVICE);
    expect(await darkroom.memory()).toEqual({ gpuBytes: 12, gpuBuffers: 3 });
    expect(workers[0]?.started[0]).toMatchObject({ backend: 'wasm', strictGpu: true });
  });
});
