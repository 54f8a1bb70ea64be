/** @file Networks that do not fit together are loaded in turn: the same picture, a warning, and nothing lost. */
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { folderTree } from '../../scripts/lib/folder-tree.js';
import { decodePng } from '../../src/image/png.js';
import { createEngine, type Engine } from '../../src/pipeline/engine.js';
import type { ProgressEvent, WirePicture } from '../../src/pipeline/events.js';
import { loadOrtInNode } from '../../src/runtime/ort-node.js';
import type { LoadOrt, Ort } from '../../src/runtime/ort.js';

const MODEL = join(import.meta.dirname, '../golden/models/sdxl-tiny');
const REFINER = join(import.meta.dirname, '../golden/models/sdxl-refiner-tiny');
const engines: Engine[] = [];
afterAll(async () => {
  for (const engine of engines) await engine.dispose();
});

/** Sessions: the most at once, and how many were made. */
interface Seen {
  most: number;
  made?: number;
}

/** ONNX Runtime with room for `limit` sessions; one more fails as a device without memory does. */
function roomFor(limit: number, seen: Seen): LoadOrt {
  return async (build) => {
    const ort = await loadOrtInNode(build);
    let alive = 0;
    const create = async (...args: Parameters<typeof ort.InferenceSession.create>) => {
      if (alive >= limit) throw new Error('failed to allocate a buffer: out of memory');
      const session = await ort.InferenceSession.create(...args);
      seen.most = Math.max(seen.most, ++alive);
      seen.made = (seen.made ?? 0) + 1;
      const release = session.release.bind(session);
      session.release = async () => {
        alive--;
        return release();
      };
      return session;
    };
    // Only this one form of `create` is called.
    return { ...ort, InferenceSession: { create } } as unknown as Ort;
  };
}

async function make(loadOrt: LoadOrt, memoryBudgetBytes?: number, more: object = {}) {
  const engine = createEngine({
    runtime: { backend: 'wasm', loadOrt },
    openTree: (name) => folderTree(name === 'base' ? MODEL : REFINER),
    encodePicture: () => Promise.reject(new Error('PNG is asked for')),
    newUUID: () => crypto.randomUUID(),
    randomSeed: () => 1n,
    now: () => performance.now(),
    defaultModel: 'base',
    memoryBudgetBytes,
  });
  engines.push(engine);
  const pictures: WirePicture[] = [];
  const events: ProgressEvent[] = [];
  const { errors } = await engine.run(
    {
      model: 'base',
      refiner: { model: 'refiner', startStep: 2 },
      positivePrompt: 'a red fox',
      width: 128,
      height: 128,
      steps: 3,
      CFGScale: 5,
      seed: 3,
      numberResults: 2,
      outputFormat: 'PNG',
      ...more,
    },
    {
      onEvent(event) {
        if (event.kind === 'picture') pictures.push(event.picture);
        if (event.kind === 'progress') events.push(event);
      },
    },
  );
  return { errors, pictures, events };
}

describe('a device with too little memory', () => {
  it('makes the same pictures with the networks in turn, and says so', async () => {
    const roomy = { most: 0 };
    const tight = { most: 0 };
    const expected = await make(roomFor(99, roomy));
    const { errors, pictures } = await make(roomFor(2, tight));
    expect(errors).toEqual([]);
    expect(roomy.most).toBeGreaterThan(2);
    expect(tight.most).toBeLessThanOrEqual(2);
    expect(pictures.map((p) => p.seed)).toEqual([3n, 4n]);
    for (const [i, picture] of pictures.entries()) {
      expect(picture.warnings.join()).toContain('loaded in turn');
      const [got, wanted] = [
        await decodePng(picture.bytes),
        await decodePng(expected.pictures[i]?.bytes ?? new Uint8Array()),
      ];
      expect(got.data).toEqual(wanted.data);
    }
  });

  it('ends with a typed error where not even that helps, and frees what it held', async () => {
    const { errors, pictures } = await make(roomFor(0, { most: 0 }));
    expect(pictures).toEqual([]);
    expect(errors).toMatchObject([{ code: 'outOfMemory', hint: expect.stringContaining('smaller') as string }]);
  });

  it('plans for a budget before anything is loaded: nothing fails on the way, and the picture is the same', async () => {
    const [all, few] = [{ most: 0 }, { most: 0 }];
    const expected = await make(roomFor(99, all), 64e6);
    // Less than the networks together, so that they take turns; the decoder fits beside none of them.
    const { errors, pictures } = await make(roomFor(99, few), 4e6);
    expect(errors).toEqual([]);
    expect(expected.pictures.flatMap(({ warnings }) => warnings)).toEqual([]);
    expect(pictures).toHaveLength(2);
    for (const [i, picture] of pictures.entries()) {
      expect(picture.warnings.join()).toContain('loaded in turn');
      const [got, wanted] = [
        await decodePng(picture.bytes),
        await decodePng(expected.pictures[i]?.bytes ?? new Uint8Array()),
      ];
      expect(largestDifference(got.data, wanted.data)).toBeLessThanOrEqual(1); // bands round as float32 does, then to 8 bits
    }
  });
});

describe('several pictures by networks in turn', () => {
  it('bring each network once for all of them: base, then refiner, then decoder', async () => {
    const [one, three, roomy]: readonly Seen[] = [{ most: 0 }, { most: 0 }, { most: 0 }];
    if (one === undefined || three === undefined || roomy === undefined) throw new Error('unreachable');
    await make(roomFor(99, one), 4e6, { numberResults: 1 });
    const { errors, pictures, events } = await make(roomFor(99, three), 4e6, { numberResults: 3 });
    expect(errors).toEqual([]);
    // Each part of the decoder once, each UNet and each text encoder.
    expect(three.made).toBe(one.made);
    const steps = events.flatMap(({ stage, step, image }) =>
      stage === 'denoise' && step !== undefined ? [`${image}: ${step}`] : [],
    );
    expect(steps).toEqual(['0: 1', '0: 2', '1: 1', '1: 2', '2: 1', '2: 2', '0: 3', '1: 3', '2: 3']);
    const decoded = events.flatMap(({ stage, step, image }) =>
      stage === 'encode' && step === undefined ? [image] : [],
    );
    expect(decoded).toEqual([0, 1, 2]);
    // Each picture's own times, whatever order they were spent in.
    for (const { timings } of pictures) {
      expect(timings.denoise).toBeGreaterThan(0);
      expect(timings.decode).toBeGreaterThan(0);
    }
    const expected = await make(roomFor(99, roomy), 64e6, { numberResults: 3, scheduler: 'Euler a' });
    const ancestral = await make(roomFor(99, { most: 0 }), 4e6, { numberResults: 3, scheduler: 'Euler a' });
    for (const [i, picture] of ancestral.pictures.entries()) {
      const wanted = await decodePng(expected.pictures[i]?.bytes ?? new Uint8Array());
      expect(largestDifference((await decodePng(picture.bytes)).data, wanted.data)).toBeLessThanOrEqual(1);
    }
  });
});

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  return Array.from(a).reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] ?? NaN))), 0);
}
