/**
 * @file How blocks' weights come to a device that converts them itself, told from what it is asked for: in pieces, into the same arrays, and with a value that
 * float16 cannot hold told at the end of a pass, which nobody waits for before.
 */
import { describe, expect, it } from 'vitest';
import { memorySource } from '../../../src/assets/byte-source.js';
import type { WeightTensor } from '../../../src/assets/weight-tensors.js';
import { viewWeights } from '../../../src/assets/weights.js';
import { webgpuDialect } from '../../../src/onnx/dialects/webgpu.js';
import { writeGraph } from '../../../src/onnx/net.js';
import type { ArrayStore, Converter, DeviceArray } from '../../../src/runtime/device-array.js';
import { createLock } from '../../../src/runtime/lock.js';
import type { Ort } from '../../../src/runtime/ort.js';
import type { SessionContext } from '../../../src/runtime/session.js';
import { createBank } from '../../../src/runtime/weights.js';

const WIDTH = 256;
const COUNT = 4;
const prefixes = Array.from({ length: COUNT }, (_, i) => `blocks.${i}.`);
const graph = writeGraph('block', { dialect: webgpuDialect, dtype: 'float16' }, (net) =>
  net.output('y', net.linear('lin', net.tokens('x', { n: 1, s: 1, c: WIDTH }), { channels: WIDTH, bias: false })),
);

/** A device of which nothing is done but noted: `events` are what it was asked for, `answers` what is to be said of overflows. */
function noting(answers: readonly boolean[]) {
  const events: string[] = [];
  let arrays = 0;
  let checks = 0;
  const pending: ((overflowed: boolean) => void)[] = [];
  class Tensor {
    constructor(
      readonly type: string,
      readonly data: unknown,
      readonly dims: readonly number[],
    ) {}
  }
  const make = (shape: readonly number[], dtype: DeviceArray['dtype']): DeviceArray => {
    const name = `array ${arrays++}`;
    return {
      shape,
      dtype,
      // What a session is fed: nothing reads it here.
      tensor: new Tensor(dtype, name, shape) as unknown as DeviceArray['tensor'],
      read: () => Promise.resolve(new Float32Array()),
      dispose: () => void events.push(`free ${name}`),
    };
  };
  const drain = async (pieces: AsyncIterable<Uint16Array>): Promise<number> => {
    let units = 0;
    for await (const piece of pieces) units += piece.length;
    return units;
  };
  const openConverter = (besideRuns?: boolean): Converter => ({
    takes: () => true,
    async store(pieces, { from, to }, shape) {
      events.push(`make ${from} ${to} of ${await drain(pieces)}${besideRuns === true ? ' beside runs' : ''}`);
      return make(shape, to);
    },
    async refill(array, pieces, { from, to }) {
      events.push(`refill ${from} ${to} of ${await drain(pieces)}${besideRuns === true ? ' beside runs' : ''}`);
      return array;
    },
    overflowed: () => new Promise((resolve) => pending.push(resolve)),
    dispose: () => undefined,
  });
  const never = (): never => {
    throw new Error('not asked for here');
  };
  const store: ArrayStore = {
    zeros: never,
    store: never,
    storePieces: never,
    refill: never,
    refillPieces: never,
    adopt: never,
    openConverter,
    settled: () => Promise.resolve(),
  };
  const session = {
    run: () => {
      events.push('run');
      return Promise.resolve({ y: new Tensor('float16', new Uint16Array(WIDTH), [1, WIDTH]) });
    },
    release: () => Promise.resolve(),
  };
  const context: SessionContext = {
    ort: { Tensor, InferenceSession: { create: () => Promise.resolve(session) } } as unknown as Ort,
    lock: createLock(),
    options: {},
    arrays: store,
    location: 'gpu-buffer',
    orLost: (work) => work(),
    onRun: () => undefined,
  };
  /** The device comes to all that it was asked. */
  const answer = (): void => {
    for (const resolve of pending.splice(0)) resolve(answers[checks++] ?? false);
  };
  return { context, events, answer, pending: () => pending.length };
}

/** bfloat16: all ones, but for one value of one block. */
function fileOf(odd?: { readonly block: number; readonly bits: number }) {
  const tensors = prefixes.map((prefix, i): readonly [string, WeightTensor] => {
    const values = new Uint16Array(WIDTH * WIDTH).fill(0x3f80);
    if (odd?.block === i) values[12_345] = odd.bits;
    const bytes = new Uint8Array(values.buffer);
    const source = memorySource(prefix, bytes);
    return [`${prefix}lin.weight`, { dtype: 'BF16', shape: [WIDTH, WIDTH], start: 0, end: bytes.length, source }];
  });
  return viewWeights('blocks', new Map(tensors), { places: (name) => [{ name }], shape: (_, shape) => shape });
}

const policy = { constant: () => false, streams: false, flush: () => Promise.resolve() };
const x = new Float32Array(WIDTH);

describe('blocks that are brought to a device that converts', () => {
  it('are converted into two sets of arrays again and again, and no run waits for what is to be said of them', async () => {
    const { context, events, answer, pending } = noting([]);
    const blocks = await createBank(context, fileOf(), policy).loadBlocks(graph, { prefixes, resident: 0 });
    for (let i = 0; i < COUNT - 1; i++) await blocks.run(i, { x });
    expect(pending()).toBeGreaterThanOrEqual(COUNT - 1); // nothing was answered, and all ran
    const last = blocks.run(COUNT - 1, { x });
    let done = false;
    void last.then(() => (done = true));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(done).toBe(false); // the pass is not over before it is known
    const answering = setInterval(answer, 1);
    await last;
    await blocks.dispose();
    clearInterval(answering);
    const units = `BF16 float16 of ${WIDTH * WIDTH} beside runs`;
    expect(events.filter((event) => event === `make ${units}`)).toHaveLength(2);
    expect(events.filter((event) => event === `refill ${units}`).length).toBeGreaterThanOrEqual(2);
    expect(events.filter((event) => event === 'run')).toHaveLength(COUNT);
    expect(events.filter((event) => event.startsWith('free'))).toHaveLength(2);
  });

  it('say at the end of a pass which weight float16 cannot hold', async () => {
    const { context, answer } = noting([false, false, true]);
    const file = fileOf({ block: 2, bits: 0x4b00 }); // 8388608
    const blocks = await createBank(context, file, policy).loadBlocks(graph, { prefixes, resident: 0 });
    const answering = setInterval(answer, 1);
    for (let i = 0; i < COUNT - 1; i++) await blocks.run(i, { x });
    await expect(blocks.run(COUNT - 1, { x })).rejects.toMatchObject({
      code: 'invalidModelFile',
      message: expect.stringMatching(/blocks\.2\.lin\.weight.* holds 8388608/) as string,
    });
    await blocks.dispose();
    clearInterval(answering);
  });
});
