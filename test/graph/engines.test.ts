/** @file Engines that end, and tasks that are stopped: at every stage what waits settles at once with the right error, and others do not hear of it. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { folderTree } from '../../scripts/lib/folder-tree.js';
import { GOLDEN } from '../../scripts/lib/soak-node.js';
import { urlTree } from '../../src/assets/url-tree.js';
import { fail } from '../../src/base/errors.js';
import { createEngine } from '../../src/pipeline/engine.js';
import type { WireEvent } from '../../src/pipeline/events.js';
import { createLibrary } from '../../src/pipeline/library.js';
import { parseTasks } from '../../src/request/tasks.js';
import { createRuntime } from '../../src/runtime/runtime.js';
import { loadOrtInNode } from '../../src/runtime/ort-node.js';
import { ONE, createFaulty, never, run, writeMicroModels, type Made, type MicroModels } from './faulty-engine.js';

let models: MicroModels;
let alone: Made;
beforeAll(async () => {
  models = await writeMicroModels();
  const faulty = createFaulty(models, never);
  alone = await run(faulty, ONE);
  await faulty.engine.dispose();
});
afterAll(() => models.remove());

/** The first time that a stage is heard of, or that a step is done. */
type Place = 'load' | 'text' | 'decode' | 'encode' | number;
const isAt = (place: Place, event: WireEvent): boolean =>
  event.kind === 'progress' &&
  (typeof place === 'number' ? event.step === place : event.stage === place && event.step === undefined);

/** A task during which `happen` is called once. */
const runUntil = (faulty: ReturnType<typeof createFaulty>, place: Place, happen: () => void, signal?: AbortSignal) => {
  let happened = false;
  return run(faulty, ONE, {
    ...(signal && { signal }),
    onEvent(event) {
      if (happened || !isAt(place, event)) return;
      happened = true;
      happen();
    },
  });
};

describe('an engine that is disposed of', () => {
  it.each<Place>(['load', 'text', 1, 'decode'])(
    'in mid-task (%s) ends it with a typed error and frees all; another makes its picture',
    async (place) => {
      const [ending, other] = [createFaulty(models, never), createFaulty(models, never)];
      const ends: Promise<void>[] = [];
      const [ended, made] = await Promise.all([
        runUntil(ending, place, () => void ends.push(ending.engine.dispose())),
        run(other, ONE),
      ]);
      expect([ended.codes, ended.errors[0]?.taskUUID, ended.hashes]).toEqual([['disposed'], ONE.taskUUID, []]);
      await Promise.all(ends);
      expect([ends.length, ending.record.alive, ending.engine.memory().gpuBytes]).toEqual([1, 0, 0]);
      expect([made.codes, made.hashes]).toEqual([[], alone.hashes]);
      await other.engine.dispose();
      expect(other.record.alive).toBe(0);
    },
  );

  it('twice is disposed of once, and whatever it is asked then is refused with a typed error', async () => {
    const faulty = createFaulty(models, never);
    const starting = faulty.engine.start();
    const [first, second] = [faulty.engine.dispose(), faulty.engine.dispose()];
    expect(second).toBe(first);
    await expect(starting).rejects.toMatchObject({ code: 'disposed' });
    await first;
    const upload = { taskType: 'imageUpload', taskUUID: ONE.taskUUID, image: 'data:image/png;base64,AAAA' };
    for (const task of [ONE, upload]) expect((await run(faulty, task)).codes).toEqual(['disposed']);
    await expect(faulty.engine.willItFit(ONE)).rejects.toMatchObject({ code: 'disposed' });
    await expect(faulty.engine.start()).rejects.toMatchObject({ code: 'disposed' });
    expect(faulty.record).toMatchObject({ alive: 0, calls: 0 });
  });

  it('while a lost device is replaced opens no other', async () => {
    const ends: Promise<void>[] = [];
    const faulty = createFaulty(models, ({ kind, number }) => {
      if (kind === 'array' || number !== 4) return undefined;
      ends.push(faulty.engine.dispose());
      return { loses: 'before' };
    });
    expect((await run(faulty, ONE)).codes).toEqual(['disposed']);
    await Promise.all(ends);
    expect(faulty.record).toMatchObject({ devices: 1, losses: 1, alive: 0 });
  });
});

describe('the models on a device', () => {
  it('are closed all of them, also where one cannot be', async () => {
    const runtime = await createRuntime({ backend: 'wasm', loadOrt: loadOrtInNode });
    const closed: string[] = [];
    const library = createLibrary((name) => ({
      ...folderTree(join(GOLDEN, 'models', name)),
      close: () => void closed.push(name),
    }));
    const refiner = { model: 'sdxl-refiner-tiny', startStep: 2 };
    const [parsed] = parseTasks([{ ...ONE, model: 'sdxl-tiny', refiner, vae: 'vae-sd15-b' }]).tasks;
    if (parsed?.task.taskType !== 'imageInference') throw new Error('unreachable');
    const lost = { ...runtime, flush: () => Promise.reject(fail('deviceLost', 'It crashed.')) };
    await library.open(lost, parsed.task, undefined);
    await expect(library.clear()).rejects.toMatchObject({ code: 'deviceLost' });
    expect(closed).toEqual(['sdxl-tiny', 'sdxl-refiner-tiny', 'vae-sd15-b']);
    await expect(library.clear()).resolves.toBeUndefined();
    expect(closed).toHaveLength(3);
  });
});

describe('a task that is stopped', () => {
  it('at any stage is an abort, once; its engine makes the same picture afterwards', async () => {
    const faulty = createFaulty(models, never);
    for (const place of ['load', 'text', 1, 'decode'] as const) {
      const stop = new AbortController();
      const stopped = await runUntil(faulty, place, () => stop.abort(), stop.signal);
      expect([place, stopped.codes, stopped.hashes]).toEqual([place, ['aborted'], []]);
    }
    // What is only to be written is a picture.
    const stop = new AbortController();
    const late = await runUntil(faulty, 'encode', () => stop.abort(), stop.signal);
    expect([late.codes, late.hashes.length]).toEqual([[], 1]);
    const after = await run(faulty, { ...ONE, seed: 41 });
    expect([after.codes, after.hashes, faulty.record.devices]).toEqual([[], alone.hashes, 1]);
    await faulty.engine.dispose();
    expect(faulty.record.alive).toBe(0);
  });

  it.each(['aborted', 'disposed'] as const)('while a server does not answer is not kept waiting (%s)', async (code) => {
    const stop = new AbortController();
    const ends: Promise<void>[] = [];
    const silent: typeof fetch = (_, init) =>
      new Promise((_resolve, reject) => {
        init?.signal?.addEventListener('abort', () => reject(new DOMException('Aborted.', 'AbortError')));
        if (code === 'aborted') stop.abort();
        else ends.push(engine.dispose());
      });
    const engine = createEngine({
      runtime: { backend: 'wasm', loadOrt: loadOrtInNode },
      openTree: () => urlTree('https://models.example/micro/', { fetch: silent }),
      encodePicture: () => Promise.reject(new Error('PNG is asked for')),
      newUUID: () => crypto.randomUUID(),
      randomSeed: () => 1n,
      now: () => performance.now(),
      defaultModel: 'micro',
    });
    const { codes } = await run({ engine }, ONE, { signal: stop.signal });
    expect(codes).toEqual([code]);
    await Promise.all(ends);
    await engine.dispose();
  });
});
