/**
 * @file FLUX.1 through the engine on the CPU: what the goldens of one case do not show. Weights brought while blocks run, several pictures, what is
 * refused or has no effect, stopping in the middle, and lost devices.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { folderTree } from '../../scripts/lib/folder-tree.js';
import { createNodeEngine } from '../../scripts/lib/node-engine.js';
import type { WireError } from '../../src/base/errors.js';
import { decodePng } from '../../src/image/png.js';
import { createEngine, type Engine, type RunOptions } from '../../src/pipeline/engine.js';
import type { WireEvent, WirePicture } from '../../src/pipeline/events.js';
import type { Plan } from '../../src/pipeline/plan.js';
import { loadOrtInNode } from '../../src/runtime/ort-node.js';
import type { LoadOrt, Ort } from '../../src/runtime/ort.js';
import { nodeFolder } from '../golden-runner/node.js';
import { losingOrt, type LossRecord } from './losing-ort.js';

const GOLDEN = join(import.meta.dirname, '../golden');
const models = {
  flux: join(GOLDEN, 'models/flux-dev-tiny'),
  vae: join(GOLDEN, 'models/vae-sd15-b'),
  sd: join(GOLDEN, 'models/sd15-tiny'),
  words: join(GOLDEN, 'models/zx-toy-file'),
  lora: join(GOLDEN, 'models/flux-lora-kohya-all'),
};

/** The golden's request. */
const GIVEN = {
  taskType: 'imageInference',
  taskUUID: '6ba7b810-9dad-41d1-80b4-00c04fd430c8',
  model: 'flux',
  positivePrompt: 'a red fox asleep under a pine tree in fresh snow',
  width: 128,
  height: 128,
  steps: 4,
  CFGScale: 3.5,
  seed: 1234,
  outputFormat: 'PNG',
};

interface Made {
  readonly pictures: readonly WirePicture[];
  readonly errors: readonly WireError[];
  readonly events: readonly WireEvent[];
  readonly plans: readonly Plan[];
}

async function make(engine: Engine, request: object, options: RunOptions = {}): Promise<Made> {
  const events: WireEvent[] = [];
  const plans: Plan[] = [];
  const { errors } = await engine.run([{ ...GIVEN, ...request }], {
    ...options,
    onPlan: (plan) => void plans.push(plan),
    onEvent(event) {
      events.push(event);
      options.onEvent?.(event);
    },
  });
  const pictures = events.flatMap((event) => (event.kind === 'picture' ? [event.picture] : []));
  return { pictures, errors, events, plans };
}

const pixelsOf = async (picture: WirePicture | undefined): Promise<readonly number[]> =>
  picture === undefined ? [] : [...(await decodePng(picture.bytes)).data];

/** Peak signal-to-noise ratio in decibels. */
function likeness(pixels: readonly number[], others: ArrayLike<number>): number {
  const squares = pixels.reduce((sum, value, i) => sum + (value - (others[i] ?? NaN)) ** 2, 0);
  return 10 * Math.log10((255 ** 2 * pixels.length) / squares);
}

let engine: Engine;
beforeAll(() => {
  engine = createNodeEngine({ models });
});
afterAll(() => engine.dispose());

describe('FLUX.1 through the engine', () => {
  it("makes diffusers' picture where no weights stay on the device, to the bit as where all do", async () => {
    const tight = createNodeEngine({ models, memoryBudgetBytes: 1e6 });
    const request = { numberResults: 2 };
    const streamed = await make(tight, request);
    await tight.dispose();
    expect(streamed.errors).toEqual([]);
    const golden = (await decodePng(await nodeFolder(GOLDEN).read('cases/flux-dev-default/image-0.png'))).data;
    const pixels = await pixelsOf(streamed.pictures[0]);
    expect(pixels).toHaveLength(golden.length);
    expect(Math.max(...pixels.map((value, i) => Math.abs(value - (golden[i] ?? NaN))))).toBeLessThanOrEqual(1);
    expect(streamed.pictures[1]?.warnings.at(-1)).toMatch(
      /^3 of 5 blocks did not fit into memory; they are brought at every step \(0\.597 MB\): about .* s a step, .* s of it to wait for weights\. .*weightBits/,
    );
    const resident = await make(engine, request);
    expect(await pixelsOf(resident.pictures[0])).toEqual(pixels);
    expect(await pixelsOf(resident.pictures[1])).toEqual(await pixelsOf(streamed.pictures[1]));
    expect(resident.pictures[0]).toMatchObject({ seed: 1234n, backend: 'wasm', warnings: [] });
  });

  it('rounds weights when asked: near the picture of the floats, nearer with 8 bits than with 4', async () => {
    const rounded = (bits: 4 | 8): Engine =>
      createNodeEngine({ models, details: { flux: { overrides: { weightBits: bits } } } });
    const golden = (await decodePng(await nodeFolder(GOLDEN).read('cases/flux-dev-default/image-0.png'))).data;
    const decibels: number[] = [];
    for (const bits of [4, 8] as const) {
      const own = rounded(bits);
      const { pictures, errors } = await make(own, {});
      await own.dispose();
      expect(errors).toEqual([]);
      decibels.push(likeness(await pixelsOf(pictures[0]), golden));
    }
    // Each bit more halves the error: 6 dB, and 4 bits 24 dB.
    const [four = NaN, eight = NaN] = decibels;
    expect(four).toBeGreaterThan(20);
    expect(eight - four).toBeGreaterThan(18);
    expect(eight - four).toBeLessThan(30);
    const misplaced = createNodeEngine({ models, details: { sd: { overrides: { weightBits: 4 } } } });
    const { errors } = await make(misplaced, { model: 'sd' });
    await misplaced.dispose();
    expect(errors).toMatchObject([{ code: 'invalidModelConfig', parameter: 'weightBits' }]);
  });

  it('takes a LoRA on rounded weights, and gives the former picture without it', async () => {
    const lora = [{ model: 'lora', weight: 1 }];
    const own = createNodeEngine({ models, details: { flux: { overrides: { weightBits: 8 } } } });
    const pictures: (readonly number[])[] = [];
    for (const request of [{}, { lora }, {}]) {
      const made = await make(own, request);
      expect(made.errors).toEqual([]);
      pictures.push(await pixelsOf(made.pictures[0]));
    }
    await own.dispose();
    const [before = [], changed = [], after = []] = pictures;
    expect(after).toEqual(before);
    const floats = await pixelsOf((await make(engine, { lora })).pictures[0]);
    expect(likeness(changed, floats)).toBeGreaterThan(45);
    expect(likeness(changed, before)).toBeLessThan(40);
  });

  it('tells steps and shows previews', async () => {
    const { events } = await make(engine, { steps: 2 });
    const steps = events.flatMap((event) =>
      event.kind === 'progress' && event.step !== undefined ? [event.step] : [],
    );
    expect(steps).toEqual([1, 2]);
    const previews = events.flatMap((event) => (event.kind === 'preview' ? [event] : []));
    expect(previews.map(({ step, of, width, height }) => [step, of, width, height])).toEqual([
      [1, 2, 16, 16],
      [2, 2, 16, 16],
    ]);
  });

  it('tells how long a step takes, before the first one too, on a clock that only runs move', async () => {
    let ms = 0;
    const ticking: LoadOrt = async (build) => {
      const ort = await loadOrtInNode(build);
      const create = async (...given: Parameters<typeof ort.InferenceSession.create>) => {
        const session = await ort.InferenceSession.create(...given);
        const run = session.run.bind(session);
        session.run = (feeds: Parameters<typeof run>[0]) => {
          ms += 10;
          return run(feeds);
        };
        return session;
      };
      return { ...ort, InferenceSession: { create } } as unknown as Ort;
    };
    const own = createEngine({
      runtime: { backend: 'wasm', loadOrt: ticking },
      openTree: () => folderTree(models.flux),
      encodePicture: () => Promise.reject(new Error('PNG is asked for')),
      newUUID: () => crypto.randomUUID(),
      randomSeed: () => 1n,
      now: () => ms,
      defaultModel: 'flux',
    });
    const fits = await own.willItFit([GIVEN]);
    expect(fits.step).toEqual({ blocks: 5, streamedBlocks: 0, streamedBytes: 0 });
    const { events, errors } = await make(own, {});
    expect(errors).toEqual([]);
    const told = events.flatMap((event) =>
      event.kind === 'progress' && event.secondsPerStep !== undefined
        ? [{ step: event.step, seconds: event.secondsPerStep, left: event.secondsLeft }]
        : [],
    );
    const [before, first, ...measured] = told;
    // By what T5's blocks took; then by the transformer's own, of which there are five. Neither counts what is not in blocks.
    expect(before).toMatchObject({ step: undefined, left: 4 * (before?.seconds ?? NaN) });
    expect(before?.seconds).toBeGreaterThan(0);
    expect(first?.step).toBe(1);
    expect(first?.seconds).toBeGreaterThan(0.03);
    expect(first?.seconds).toBeLessThan(0.08);
    // Five blocks, and three runs before, between and behind them.
    expect(measured.map(({ step, seconds }) => [step, Number(seconds.toFixed(9))])).toEqual([
      [2, 0.08],
      [3, 0.08],
      [4, 0.08],
    ]);
    const { step, reason } = await own.willItFit([GIVEN]);
    expect(step?.seconds).toBeCloseTo(0.05, 2);
    expect(reason).toMatch(/The weights of all blocks stay on the device; a step takes about 0\.0\d+ s\.$/);
    await own.dispose();
  });

  it('gives each picture its own seed and noise, also that of a stochastic scheduler', async () => {
    const request = { steps: 2, scheduler: 'DPM++ 2M SDE' };
    const both = await make(engine, { ...request, numberResults: 2 });
    expect(both.pictures.map(({ seed }) => seed)).toEqual([1234n, 1235n]);
    const second = await make(engine, { ...request, seed: 1235 });
    const pixels = await pixelsOf(both.pictures[1]);
    expect(pixels).toEqual(await pixelsOf(second.pictures[0]));
    expect(pixels).not.toEqual(await pixelsOf(both.pictures[0]));
  });

  it('says what has no effect, and makes the same picture', async () => {
    const request = { steps: 1 };
    const plain = await make(engine, request);
    const { pictures, errors } = await make(engine, { ...request, negativePrompt: 'blurry', clipSkip: 1 });
    expect(errors).toEqual([]);
    expect(pictures[0]?.warnings).toEqual([
      expect.stringContaining('negativePrompt has no effect') as string,
      expect.stringContaining('clipSkip has no effect') as string,
    ]);
    expect(await pixelsOf(pictures[0])).toEqual(await pixelsOf(plain.pictures[0]));
  });

  it('reads the padding: another length of text is another picture', async () => {
    const [short, long] = [await make(engine, { steps: 1, maxSequenceLength: 64 }), await make(engine, { steps: 1 })];
    expect([short, long].map(({ plans }) => plans[0]?.flux?.textTokens)).toEqual([64, 512]);
    expect(await pixelsOf(short.pictures[0])).not.toEqual(await pixelsOf(long.pictures[0]));
  });

  it.each([
    ['vae', { vae: 'vae' }, 'unsupportedParameter', 'vae'],
    ['embeddings', { embeddings: [{ model: 'words' }] }, 'unsupportedParameter', 'embeddings'],
    ['promptWeighting', { promptWeighting: 'compel' }, 'unsupportedParameter', 'promptWeighting'],
    ['a refiner', { refiner: { model: 'sd', startStep: 2 } }, 'invalidRefiner', 'refiner'],
    ['a scheduler of other families', { scheduler: 'UniPC' }, 'unsupportedScheduler', 'scheduler'],
  ])('refuses %s', async (_, request, code, parameter) => {
    const { pictures, errors } = await make(engine, request);
    expect(pictures).toEqual([]);
    expect(errors).toMatchObject([{ code, parameter }]);
  });

  it('names the schedulers there are', async () => {
    const { errors } = await make(engine, { scheduler: 'Heun' });
    expect(errors[0]?.allowedValues).toHaveLength(26); // the cloud's 25, and Default
  });

  it('stops between two steps, and goes on with the next request', async () => {
    const stop = new AbortController();
    const onEvent = (event: WireEvent): void => {
      if (event.kind === 'progress' && event.step === 1) stop.abort();
    };
    const { pictures, errors } = await make(engine, {}, { signal: stop.signal, onEvent });
    expect(pictures).toEqual([]);
    expect(errors).toMatchObject([{ code: 'aborted' }]);
    expect((await make(engine, { steps: 1 })).errors).toEqual([]);
  });
});

describe('a device that is lost', () => {
  /** One step, on devices that are lost at the calls that `isLoss` names. */
  async function lose(isLoss: (call: number) => boolean, memoryBudgetBytes: number | undefined) {
    const record: LossRecord = { calls: 0, devices: 0, losses: 0, alive: 0 };
    const losing = createEngine({
      runtime: { backend: 'wasm', loadOrt: losingOrt(isLoss, record, 'before') },
      openTree: () => folderTree(models.flux),
      encodePicture: () => Promise.reject(new Error('PNG is asked for')),
      newUUID: () => crypto.randomUUID(),
      randomSeed: () => 1n,
      now: () => performance.now(),
      defaultModel: 'flux',
      memoryBudgetBytes,
    });
    const made = await make(losing, { steps: 1 });
    await losing.dispose();
    expect(record.alive).toBe(0);
    return { ...made, record };
  }

  it.each([undefined, 1e6])(
    'is replaced, and the picture has the same bytes, with %s bytes of memory',
    async (memory) => {
      const whole = await lose(() => false, memory);
      const { calls } = whole.record;
      expect(calls).toBeGreaterThan(20);
      // In T5, while modulations are made, in the blocks, in the decoder.
      for (const share of [0.1, 0.4, 0.7, 0.95]) {
        const { pictures, errors, record } = await lose((call) => call === Math.floor(share * calls), memory);
        expect(errors).toEqual([]);
        expect(record).toMatchObject({ losses: 1, devices: 2 });
        expect(pictures[0]?.bytes).toEqual(whole.pictures[0]?.bytes);
        expect(pictures[0]?.warnings).toContainEqual(expect.stringContaining('GPU device was lost'));
      }
    },
  );
});
