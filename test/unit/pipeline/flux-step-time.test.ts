/**
 * @file How long FLUX.1's blocks are said to take, against bounds that hold for any order of events, and against the blocks themselves on a device and a file
 * that take time on a clock of the test's own.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { wasmDialect } from '../../../src/onnx/dialects/wasm.js';
import { writeGraph } from '../../../src/onnx/net.js';
import { expectStep } from '../../../src/pipeline/flux/planned-steps.js';
import { broughtBytes, predictStep, type StepBlocks } from '../../../src/pipeline/flux/step-time.js';
import { createPace, type Pace } from '../../../src/pipeline/pace.js';
import { createBank } from '../../../src/runtime/weights.js';
import { stayingBlocks } from '../../../src/runtime/blocks.js';
import { createCpuArrays } from '../../../src/runtime/device-array.js';
import { createLock } from '../../../src/runtime/lock.js';
import type { Ort } from '../../../src/runtime/ort.js';
import type { SessionContext } from '../../../src/runtime/session.js';
import { fakeWeightFile } from '../runtime/fake-weight-file.js';

/** Blocks that take `run` seconds at 1 FLOP/s, and `bring` at 1 byte/s. */
const kind = (count: number, resident: number, run: number, bring: number): StepBlocks[number] => ({
  count,
  resident,
  flops: run,
  bytes: bring,
});
const ONE = { bytesPerSecond: 1, flopsPerSecond: 1 };
const secondsOf = (...blocks: StepBlocks): number => predictStep(blocks, ONE)?.seconds ?? NaN;

const raise = (): never => {
  throw new Error('no such kind');
};

describe('an evaluation', () => {
  it('is its arithmetic where all weights stay, however slowly they would come', () => {
    const blocks = [kind(19, 19, 3, 1e9), kind(38, 38, 2, 1e9)];
    expect(secondsOf(...blocks)).toBe(19 * 3 + 38 * 2);
    // Two have the shared buffers to themselves.
    expect(secondsOf(kind(5, 3, 1, 1e9))).toBe(5);
    expect(predictStep(blocks, { bytesPerSecond: undefined, flopsPerSecond: 2 })?.seconds).toBe(66.5);
  });

  it('is not told where a rate is missing that it depends on', () => {
    const streamed = [kind(5, 0, 1, 1)];
    expect(predictStep(streamed, { ...ONE, flopsPerSecond: undefined })).toBeUndefined();
    expect(predictStep(streamed, { ...ONE, bytesPerSecond: undefined })).toBeUndefined();
  });

  it.each([
    // Each block's weights come while the one before runs.
    [1, 1, 3],
    // The file is read without a pause.
    [1, 2, 6],
    [2, 1, 6],
    [0, 2, 6],
  ])(
    'of three blocks that are all brought, %d s of running and %d s of bringing each, is %d s',
    (run, bring, seconds) => {
      expect(secondsOf(kind(3, 0, run, bring))).toBe(seconds);
    },
  );

  const grid = [0, 1, 5, 9, 16].flatMap((double) =>
    [0, 2, 11, 23, 35].flatMap((single) =>
      [0.1, 0.7, 1, 1.4, 5].map((bring) => [kind(19, double, 1, 2 * bring), kind(38, single, 1, bring)] as const),
    ),
  );

  it('is never quicker than its arithmetic or its bytes, nor slower than both one after the other', () => {
    for (const blocks of grid) {
      const [computing, bringing] = [57, broughtBytes(blocks)];
      const seconds = secondsOf(...blocks);
      expect(seconds).toBeGreaterThanOrEqual(Math.max(computing, bringing) - 1e-9);
      expect(seconds).toBeLessThanOrEqual(computing + bringing + 1e-9);
    }
  });

  it('takes no longer where the device computes faster or weights come faster', () => {
    for (const blocks of grid) {
      const before = secondsOf(...blocks);
      for (const faster of [
        { ...ONE, bytesPerSecond: 1.3 },
        { ...ONE, flopsPerSecond: 1.3 },
      ])
        expect(predictStep(blocks, faster)?.seconds).toBeLessThanOrEqual(before + 1e-9);
    }
  });
});

describe('blocks that do not stay', () => {
  it('lie between the others: of each run of blocks as many as of all, within one', () => {
    for (const [count, resident] of [
      [19, 12],
      [38, 5],
      [7, 7],
      [4, 0],
      [38, 37],
    ] as const) {
      const stays = stayingBlocks(count, resident);
      expect(stays.filter(Boolean)).toHaveLength(resident);
      for (let from = 0; from < count; from++)
        for (let to = from + 1; to <= count; to++) {
          const others = stays.slice(from, to).filter((stay) => !stay).length;
          expect(Math.abs(others - ((count - resident) * (to - from)) / count)).toBeLessThan(1);
        }
    }
  });
});

describe('the blocks themselves', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());
  const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

  /** A device whose runs take as long as `run` says. */
  function deviceOf(run: () => number): SessionContext {
    class Tensor {
      readonly data: unknown;
      constructor(
        readonly type: string,
        data: unknown,
        readonly dims: readonly number[],
      ) {
        this.data = data;
      }
    }
    const session = {
      run: async () => {
        await sleep(run());
        return { y: new Tensor('float32', new Float32Array(4), [1, 4]) };
      },
      release: () => Promise.resolve(),
    };
    const ort = { Tensor, InferenceSession: { create: () => Promise.resolve(session) } } as unknown as Ort;
    return {
      ort,
      lock: createLock(),
      options: {},
      arrays: createCpuArrays(ort),
      location: 'cpu',
      orLost: (work) => work(),
      onRun: () => undefined,
    };
  }

  const WIDTH = 4;
  const graph = writeGraph('block', { dialect: wasmDialect, dtype: 'float32' }, (net) =>
    net.output('y', net.linear('lin', net.tokens('x', { n: 1, s: 1, c: WIDTH }), { channels: WIDTH, bias: false })),
  );

  /** Kinds of blocks on one device, run in this order; `run` and `bring` in ms. @returns ms of each of `passes` passes */
  async function measure(
    kinds: readonly { count: number; resident: number; run: number; bring: number }[],
    passes: number,
    { pace, order = () => kinds.map((_, at) => at) }: { pace?: Pace; order?: (pass: number) => readonly number[] } = {},
  ): Promise<readonly number[]> {
    let running = 0;
    const context = deviceOf(() => running);
    const pipe = createLock();
    const made = await Promise.all(
      kinds.map(async ({ count, resident, run, bring }) => {
        const prefixes = Array.from({ length: count }, (_, i) => `blocks.${i}.`);
        const shapes = Object.fromEntries(prefixes.map((prefix) => [`${prefix}lin.weight`, [WIDTH, WIDTH]]));
        const { file } = fakeWeightFile(shapes, (_, n) => new Float32Array(n));
        const slow = {
          ...file,
          read: (async (...given) => {
            await sleep(bring);
            return file.read(...given);
          }) as typeof file.read,
        };
        const policy = { constant: () => false, streams: false, flush: () => Promise.resolve() };
        const watch = pace?.watch('image', run);
        const blocks = await createBank(context, slow, policy).loadBlocks(graph, { prefixes, resident, pipe, watch });
        return { blocks, run };
      }),
    );
    const times: number[] = [];
    for (let pass = 0; pass < passes; pass++) {
      const start = Date.now();
      for (const at of order(pass)) {
        const { blocks, run } = made[at] ?? raise();
        for (let i = 0; i < blocks.count; i++) {
          running = run;
          await blocks.run(i, { x: new Float32Array(WIDTH) });
        }
      }
      times.push(Date.now() - start);
    }
    for (const { blocks } of made) await blocks.dispose();
    return times;
  }

  /** On the clock of the test, which goes on whenever everybody waits. */
  async function passing<T>(work: Promise<T>): Promise<T> {
    let done = false;
    const ended = work.finally(() => (done = true));
    while (!done) await vi.advanceTimersByTimeAsync(1);
    return ended;
  }

  it.each([
    ['all of them staying', [7, 7, 10, 50], [4, 4, 20, 50]],
    ['all of them brought, faster than they run', [7, 0, 10, 7], [4, 0, 20, 9]],
    ['all of them brought, slower than they run', [7, 0, 10, 25], [4, 0, 20, 31]],
    ['some of them brought', [7, 3, 10, 14], [8, 4, 12, 17]],
    ['some of one kind brought', [6, 6, 15, 30], [12, 5, 10, 27]],
  ])('take as long as is said, %s', async (_, ...kinds) => {
    const given = kinds.map(([count = 0, resident = 0, run = 0, bring = 0]) => ({ count, resident, run, bring }));
    const times = await passing(measure(given, 8));
    const said = secondsOf(...given.map(({ count, resident, run, bring }) => kind(count, resident, run, bring)));
    // Without the beginning, when nothing has been brought yet.
    const mean = times.slice(4).reduce((sum, ms) => sum + ms, 0) / 4;
    expect(mean).toBeCloseTo(said, 6);
  });

  it.each([
    ['both passes of true guidance', [1, 0, 6, 20], [3, 0, 10, 25], [4, 2, 20, 31]],
    ['a net that stays', [2, 2, 9, 50], [6, 3, 10, 14], [5, 0, 12, 17]],
    ['a net whose blocks are brought', [5, 0, 9, 21], [6, 3, 10, 14], [5, 5, 12, 17]],
  ])('take as long as is said behind those of ControlNets: %s', async (_, ...kinds) => {
    const given = kinds.map(([count = 0, resident = 0, run = 0, bring = 0]) => ({ count, resident, run, bring }));
    const said = given.map(({ count, resident, run, bring }) => kind(count, resident, run, bring));
    const order = [0, 1, 2, 1, 2]; // the net, and the model for both sides of the guidance
    const times = await passing(measure(given, 8, { order: () => order }));
    const mean = times.slice(4).reduce((sum, ms) => sum + ms, 0) / 4;
    expect(mean).toBeCloseTo(secondsOf(...order.flatMap((at) => said[at] ?? [])), 6);
  });

  it('take as long as is said where a net acts in some steps alone', async () => {
    const kinds = [
      { count: 3, resident: 0, run: 9, bring: 30 },
      { count: 8, resident: 2, run: 10, bring: 14 },
    ];
    const [net = raise(), own = raise()] = kinds.map(({ count, resident, run, bring }) =>
      kind(count, resident, run, bring),
    );
    const acts = (step: number): boolean => step >= 5 && step < 15;
    const times = await passing(measure(kinds, 25, { order: (pass) => (acts(pass) ? [0, 1] : [1]) }));
    const steps = times.map((_, step) => ({ evaluations: 1, blocks: acts(step) ? [net, own] : [own] }));
    const mean = times.reduce((sum, ms) => sum + ms, 0) / times.length;
    const said = expectStep(steps, ONE)?.seconds ?? NaN;
    expect(Math.abs(said - mean) / mean).toBeLessThan(0.03); // the first step, and those where it begins and ends, are others
    expect(secondsOf(net, own) / secondsOf(own)).toBeGreaterThan(1.2); // it matters
  });

  it('measure how fast they run and how fast their weights come', async () => {
    const pace = createPace(() => Date.now());
    expect(pace.rates('image')).toEqual({ bytesPerSecond: undefined, flopsPerSecond: undefined });
    await passing(measure([{ count: 6, resident: 2, run: 10, bring: 25 }], 3, { pace }));
    const { bytesPerSecond = NaN, flopsPerSecond = NaN } = pace.rates('image');
    // 4·4 floats in 25 ms; 10 operations, as was said, in 10 ms.
    expect(bytesPerSecond).toBeCloseTo(64 / 0.025, 6);
    expect(flopsPerSecond).toBeCloseTo(10 / 0.01, 6);
    expect(pace.rates('text')).toEqual({ bytesPerSecond, flopsPerSecond });
  });
});

describe('a pace', () => {
  it('counts the time between two ends where a device is given runs ahead', () => {
    const pace = createPace(() => 0);
    const watch = pace.watch('image', 100);
    // Given at 0, 1 and 2 ms; done at 50, 100 and 150.
    [50, 100, 150].forEach((to, i) => watch.ran(i, to));
    expect(pace.rates('image').flopsPerSecond).toBeCloseTo(100 / 0.05, 6);
  });

  it("follows what has changed, and is the network's own as soon as that was measured", () => {
    const pace = createPace(() => 0);
    const [text, image] = [pace.watch('text', 0), pace.watch('image', 0)];
    text.brought(1e6, 1);
    expect(pace.rates('image').bytesPerSecond).toBe(1e9);
    for (let i = 0; i < 100; i++) image.brought(1e6, 10);
    expect(pace.rates('image').bytesPerSecond).toBeCloseTo(1e8, 0);
    for (let i = 0; i < 100; i++) image.brought(1e6, 20);
    expect(pace.rates('image').bytesPerSecond ?? NaN).toBeLessThan(0.51e8);
    expect(pace.rates('text').bytesPerSecond).toBe(1e9);
    expect(pace.rates('image').flopsPerSecond).toBeUndefined();
  });
});
