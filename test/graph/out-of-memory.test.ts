/**
 * @file Memory that runs out in the middle of a picture: everything is freed, a more sparing way is taken, and the picture is the same; where there is none, the
 * error says so, and the next request works. What real devices say is injected where they say it; the words are those that were seen.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fail } from '../../src/base/errors.js';
import { decodePng } from '../../src/image/png.js';
import {
  CONTROLLED,
  ONE,
  TASK,
  createFaulty,
  never,
  run,
  writeMicroModels,
  type FaultAt,
  type Made,
  type MicroModels,
} from './faulty-engine.js';
import type { Call, Fault, FaultRecord } from './faulty-ort.js';

let models: MicroModels;
beforeAll(async () => {
  models = await writeMicroModels();
});
afterAll(() => models.remove());

/** How ONNX Runtime and the engine of JavaScript put it; as the reason of a loss, how a driver does. */
const FORMS: Readonly<Record<'session' | 'run' | 'array', readonly (() => Error)[]>> = {
  session: [
    () => new Error("Can't create a session. failed to allocate a buffer of size 270123."),
    () => new Error("Can't create a session. ERROR_CODE: 1, ERROR_MESSAGE: Unknown error occurred in memory copy."),
  ],
  run: [
    () => new Error('failed to call OrtRun(). ERROR_CODE: 6, ERROR_MESSAGE: std::bad_alloc'),
    () => new Error('failed to call OrtRun(). ERROR_CODE: 1, ERROR_MESSAGE: SafeIntOnOverflow() Integer overflow'),
    () =>
      new Error('failed to call OrtRun(). ERROR_CODE: 1, ERROR_MESSAGE: Failed to create GPU buffer: size=4294967296'),
    () => fail('deviceLost', 'vkQueueSubmit failed with VK_ERROR_OUT_OF_DEVICE_MEMORY'),
  ],
  array: [() => new RangeError('Array buffer allocation failed')],
};

/** Memory runs out at calls that `isFull` names. */
const full =
  (isFull: (call: Call) => boolean): FaultAt =>
  (call): Fault | undefined => {
    if (!isFull(call)) return undefined;
    const forms = FORMS[call.kind];
    return { throws: (forms[call.number % forms.length] ?? (() => new Error()))() };
  };
const isArray = ({ kind }: Call): boolean => kind === 'array';

type Tried = Made & { readonly record: FaultRecord };

/** One task by an engine of its own, which leaves nothing behind. */
async function make(task: object, faultAt: FaultAt, budget?: number): Promise<Tried> {
  const faulty = createFaulty(models, faultAt, budget);
  const made = await run(faulty, task);
  await faulty.engine.dispose();
  expect([faulty.record.alive, faulty.record.left]).toEqual([0, 0]);
  return { ...made, record: faulty.record };
}

const wholes = new Map<object, Promise<Tried>>();
/** What comes of a task where nothing fails. */
function wholeOf(task: object): Promise<Tried> {
  const whole = wholes.get(task) ?? make(task, never);
  wholes.set(task, whole);
  return whole;
}

async function largestDifference(...made: readonly [Made, Made]): Promise<number> {
  const [left, right] = await Promise.all(made.map(({ files: [file = new Uint8Array()] }) => decodePng(file)));
  expect(left?.data.length).toBe(128 * 128 * 3);
  return Array.from(left?.data ?? []).reduce(
    (most, value, i) => Math.max(most, Math.abs(value - (right?.data[i] ?? NaN))),
    0,
  );
}

describe('memory that runs out once', () => {
  it('at a session, a run or an array under a LoRA and a ControlNet: the same bytes, with the networks in turn', async () => {
    const whole = await wholeOf(CONTROLLED);
    expect([whole.codes, whole.warnings]).toEqual([[], ['']]);
    const calls = Array.from(
      { length: whole.record.calls },
      (_, i) => (call: Call) => !isArray(call) && call.number === i + 1,
    );
    const arrays = [0.4, 0.97].map((share) => {
      const at = Math.ceil(share * whole.record.arrays);
      return (call: Call): boolean => isArray(call) && call.number === at;
    });
    expect(calls.length).toBeGreaterThan(10);
    for (const [i, isFull] of [...calls.filter((_, n) => n % 4 === 1), ...arrays].entries()) {
      const { codes, hashes, warnings, record, seeds } = await make(CONTROLLED, full(isFull));
      expect([i, codes, record.devices, seeds]).toEqual([i, [], 2, [41n]]);
      expect(hashes, `case ${i}`).toEqual(whole.hashes);
      expect(warnings[0]).toMatch(/^The networks did not fit .* loaded in turn[^\n]*$/);
    }
  });

  it('beside finished pictures leaves these as they are', async () => {
    const whole = await wholeOf(TASK);
    const { calls } = whole.record;
    for (const at of [calls - 2, calls]) {
      const made = await make(
        TASK,
        full((call) => !isArray(call) && call.number === at),
      );
      expect([made.codes, made.hashes, made.seeds]).toEqual([[], whole.hashes, [41n, 42n]]);
      expect(made.warnings.map((text) => text.includes('in turn'))).toEqual([false, true]);
      expect(made.steps - whole.steps).toBeLessThanOrEqual(TASK.steps);
    }
  });

  it('in FLUX.1, in its text encoders, blocks, ControlNet, arrays or decoder, changes no byte either', async () => {
    const { fluxTask } = models;
    const whole = await wholeOf(fluxTask);
    expect(whole.codes).toEqual([]);
    for (const [kind, share] of [
      ['call', 0.1],
      ['call', 0.55],
      ['call', 0.98],
      ['array', 0.35],
      ['array', 0.75],
    ] as const) {
      const at = Math.ceil(share * (kind === 'array' ? whole.record.arrays : whole.record.calls));
      const made = await make(
        fluxTask,
        full((call) => isArray(call) === (kind === 'array') && call.number === at),
      );
      expect([kind, share, made.codes, made.record.devices]).toEqual([kind, share, [], 2]);
      expect(made.hashes).toEqual(whole.hashes);
      expect(made.warnings[0]).toContain('in turn');
    }
  });

  it('where an earlier task had left its buffers needs no more than an empty device', async () => {
    const faulty = createFaulty(
      models,
      full(({ kind, number }) => kind !== 'array' && number === fullAt),
    );
    let fullAt = Infinity;
    const first = await run(faulty, ONE);
    fullAt = faulty.record.calls + 3;
    const second = await run(faulty, { ...ONE, seed: 41 });
    await faulty.engine.dispose();
    expect([second.codes, second.hashes, faulty.record.devices, faulty.record.alive]).toEqual([[], first.hashes, 2, 0]);
    expect(second.warnings).toEqual([expect.stringMatching(/^Memory ran out beside .* empty device\.$/)]);
  });
});

describe('memory that runs out again', () => {
  it('leaves the least way of all: in turn, in bands, no block kept; the picture is that of float32', async () => {
    for (const task of [ONE, models.fluxTask]) {
      const whole = await wholeOf(task);
      const made = await make(
        task,
        full(({ kind, device }) => kind === 'run' && device <= 2),
      );
      expect([made.codes, made.record.devices]).toEqual([[], 3]);
      expect(made.warnings[0]).toMatch(/loaded in turn.*\n.*decoded in bands/);
      expect(await largestDifference(made, whole)).toBeLessThanOrEqual(1);
    }
  });

  it('and again is a typed error; everything is freed at once, pictures that were finished are there, and the next request works', async () => {
    let roomFor = Infinity;
    const faulty = createFaulty(
      models,
      full(({ kind }) => kind === 'run' && --roomFor < 0),
    );
    const whole = await run(faulty, { ...TASK, seed: 41 });
    roomFor = Math.floor(0.8 * faulty.record.calls) - 3; // into the second picture
    const failed = await run(faulty, { ...TASK, seed: 41 });
    expect(failed.codes).toEqual(['outOfMemory']);
    expect(failed.errors[0]).toMatchObject({
      taskUUID: TASK.taskUUID,
      hint: expect.stringContaining('smaller') as string,
    });
    expect(failed.hashes).toEqual(whole.hashes.slice(0, 1));
    expect([faulty.record.alive, faulty.record.left]).toEqual([0, 0]); // before it is disposed of
    roomFor = Infinity;
    const next = await run(faulty, { ...ONE, seed: 41 });
    expect([next.codes, next.hashes]).toEqual([[], whole.hashes.slice(0, 1)]);
    await faulty.engine.dispose();
    expect(faulty.record.alive).toBe(0);
  });

  it('and a device that is lost besides: what is given up stays given up', async () => {
    const whole = await wholeOf(ONE);
    const isFull = full(({ kind, device, number }) => kind === 'session' && device === 1 && number > 2);
    const made = await make(ONE, (call) =>
      call.device === 2 && call.kind === 'run' ? { loses: 'during' } : isFull(call),
    );
    expect([made.codes, made.hashes, made.record.devices, made.record.losses]).toEqual([[], whole.hashes, 3, 1]);
    expect(made.warnings[0]).toMatch(/in turn.*\n.*lost/);
  });
});

describe('an abort at the moment that', () => {
  it.each<readonly [string, string, () => Fault]>([
    ['memory runs out', 'outOfMemory', () => ({ throws: new Error('std::bad_alloc') })],
    ['the device is lost', 'deviceLost', () => ({ loses: 'before' })],
  ])('%s is an abort, on the first try and on the last, and leaves an engine that works', async (_, code, fault) => {
    let stop = new AbortController();
    let tries = 1;
    let broken = true;
    const faulty = createFaulty(models, ({ kind }) => {
      if (!broken || kind !== 'run') return undefined;
      if (--tries === 0) stop.abort();
      return fault();
    });
    const { record } = faulty;
    for (const left of [1, 3]) {
      [stop, tries] = [new AbortController(), left];
      const devices = record.devices;
      const stopped = await run(faulty, ONE, { signal: stop.signal });
      expect([stopped.codes, record.devices - devices, record.alive]).toEqual([['aborted'], left, 0]);
    }
    expect((await run(faulty, ONE)).codes).toEqual([code]);
    broken = false;
    expect((await run(faulty, { ...ONE, seed: 41 })).hashes).toEqual((await wholeOf(ONE)).hashes);
    await faulty.engine.dispose();
  });
});

describe('ONNX Runtime that ends in the middle of something', () => {
  it('is not tried again, and the outcome says that there is no other in this thread', async () => {
    const traps: FaultAt = ({ kind }) =>
      kind === 'run' ? { throws: new WebAssembly.RuntimeError('unreachable') } : undefined;
    const faulty = createFaulty(models, traps);
    const made = await run(faulty, ONE);
    expect([made.codes, made.spent, faulty.record.devices]).toEqual([['runtimeFailed'], true, 1]);
    await faulty.engine.dispose();
    expect((await wholeOf(ONE)).spent).toBe(false);
  });
});

describe('a budget', () => {
  it('just below what a way needs leads to the next; where none is enough, to the least', async () => {
    const { engine } = createFaulty(models, never);
    const warningsAt = async (budget: number): Promise<string> => (await make(ONE, never, budget)).warnings.join();
    const { bytes } = await engine.willItFit(ONE);
    const { bytes: least } = await engine.willItFit(ONE, { memoryBudgetBytes: 1 });
    expect(least.peakTaken).toBeLessThan(bytes.peak);
    expect(await warningsAt(bytes.peak)).toBe('');
    expect(await warningsAt(bytes.peak - 1)).not.toBe('');
    expect(await warningsAt(least.peakTaken - 1)).toContain('in turn');
    const plenty = await engine.willItFit(ONE, { memoryBudgetBytes: Infinity });
    expect([plenty.fits, plenty.bytes.peakTaken]).toEqual([true, bytes.peak]);
    await engine.dispose();
  });

  it.each([NaN, -1, 0, '8e9', null])('of %s bytes is refused', async (bytes) => {
    const given = bytes as number; // from code without types
    const wrong = { code: 'invalidRequest', message: expect.stringContaining('memoryBudgetBytes') as string };
    expect(() => createFaulty(models, never, given)).toThrow(expect.objectContaining(wrong) as Error);
    const { engine } = createFaulty(models, never);
    await expect(engine.willItFit(ONE, { memoryBudgetBytes: given })).rejects.toMatchObject(wrong);
    await engine.dispose();
  });
});
