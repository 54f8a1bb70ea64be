/** @file Workers that die, hang or are disposed of: nothing may wait for ever. */
import { describe, expect, it } from 'vitest';
import { createDarkroom } from '../../../src/client/darkroom.js';
import { REQUEST, TASK, refusal, setUp, untilCalled } from './bench.js';
import { DEVICE, fakeWorker, lasts, makes, outcome, picture } from './fake-worker.js';

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
      models: {
        'a:1@1': 'https://example.org/a/',
        'c:1@1': { source: 'huggingface:owner/repo', distillation: 'turbo' },
      },
    });
    await darkroom.registerModel('b:1@1', [file]);
    await darkroom.registerModel({ air: 'a:1@1', source: 'https://example.org/b/', defaults: { steps: 4 } });
    workers[0]?.fire('error');
    await darkroom.imageInference(REQUEST);
    const expected = [
      { air: 'c:1@1', source: { kind: 'url', url: 'huggingface:owner/repo' }, distillation: 'turbo' },
      {
        air: 'b:1@1',
        source: { kind: 'files', files: [{ path: 'model.safetensors', file: expect.any(Blob) as Blob }] },
      },
      { air: 'a:1@1', source: { kind: 'url', url: 'https://example.org/b/' }, defaults: { steps: 4 } },
    ];
    expect(workers[0]?.calls).toEqual(['start', 'registerModel b:1@1', 'registerModel a:1@1']);
    expect(workers[0]?.registered).toEqual(expected.slice(1));
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

  it('gives up one that is caught in a loop sooner than one that says it may be blocked', async () => {
    const start = performance.now();
    const { darkroom, workers } = setUp(
      () => fakeWorker(lasts(false), { memory: () => new Promise(() => undefined) }),
      { timeouts: { silenceMs: 800, freezeMs: 60 } },
    );
    const first = refusal(darkroom.imageInference(REQUEST));
    await untilCalled(() => workers[0], 'run 1');
    workers[0]?.say(true);
    expect((await first).message).toMatch(/no sign of life/);
    expect(performance.now() - start).toBeGreaterThan(700);
    const begun = performance.now();
    const second = refusal(darkroom.imageInference(REQUEST));
    await untilCalled(() => workers[1], 'run 1');
    workers[1]?.say(true);
    workers[1]?.say(false);
    expect((await second).message).toMatch(/no sign of life/);
    expect(performance.now() - begun).toBeLessThan(700);
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

  it('follows an answer that says so: its pictures and errors are delivered, and what waited goes to a new worker', async () => {
    const [first, second] = [picture(), picture()];
    const wrong = { code: 'outOfMemory', message: 'The GPU ran out of memory.' } as const;
    const { darkroom, workers } = setUp((n) =>
      fakeWorker(async (emit, tasks, cancelled) => {
        if (n > 0) return makes(second)(emit, tasks, cancelled);
        await emit({ kind: 'picture', picture: first });
        return { ok: true, value: { ...outcome(first).value, errors: [wrong], spent: true } };
      }),
    );
    const spent = darkroom.run([TASK, TASK]);
    await untilCalled(() => workers[0], 'start');
    const waiting = darkroom.imageInference(REQUEST);
    expect(await spent).toMatchObject({ data: [{ imageUUID: first.imageUUID }], errors: [wrong] });
    expect(await waiting).toMatchObject([{ imageUUID: second.imageUUID }]);
    expect(workers.map(({ terminated }) => terminated)).toEqual([true, false]);
  });

  it('between its answer and the picture that is still on its way is not waited for', async () => {
    const { darkroom, workers } = setUp(() => fakeWorker(() => Promise.resolve(outcome(picture()))));
    const late = refusal(darkroom.imageInference(REQUEST));
    await untilCalled(() => workers[0], 'run 1');
    await new Promise((resolve) => setTimeout(resolve, 20)); // the answer has come
    workers[0]?.fire('error', 'out of memory');
    expect((await late).code).toBe('workerDied');
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

  it('while the worker starts rejects what waits for it, and the worker is gone when the last of the calls is answered', async () => {
    const { darkroom, workers } = setUp(() => fakeWorker(makes(), { start: () => new Promise(() => undefined) }));
    const waiting = refusal(darkroom.imageInference(REQUEST));
    await untilCalled(() => workers[0], 'start');
    const [first, second] = [darkroom.dispose(), darkroom.dispose()];
    expect((await waiting).code).toBe('disposed');
    await second;
    expect(workers[0]?.terminated).toBe(true);
    await first;
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
