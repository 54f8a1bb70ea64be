/** @file The client against a worker that speaks the real protocol: results and errors, in every form. */
import { resolveObjectURL } from 'node:buffer';
import { describe, expect, it, vi } from 'vitest';
import { REQUEST, TASK, refusal, setUp } from './bench.js';
import { fakeWorker, makes, outcome, picture } from './fake-worker.js';

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
    expect(sent).toEqual({
      ...REQUEST,
      seed,
      taskType: 'imageInference',
      taskUUID: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
    });
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
