/**
 * @file One session for many blocks, on the CPU, against plain loops: with all weights on the device, some of them, and none; changed by a
 * LoRA, stopped in the middle, and with a file that fails.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AppliedChange } from '../../src/assets/weight-change.js';
import type { WeightFile } from '../../src/assets/weights.js';
import { fail } from '../../src/base/errors.js';
import { wasmDialect } from '../../src/onnx/dialects/wasm.js';
import { writeGraph } from '../../src/onnx/net.js';
import type { Blocks } from '../../src/runtime/blocks.js';
import type { DeviceArray } from '../../src/runtime/device-array.js';
import { loadOrtInNode } from '../../src/runtime/ort-node.js';
import { createRuntime, type Runtime } from '../../src/runtime/runtime.js';
import { fakeWeightFile } from '../unit/runtime/fake-weight-file.js';

const COUNT = 5;
const WIDTH = 8;
const ROWS = 3;
const prefixes = Array.from({ length: COUNT }, (_, i) => `blocks.${i}.`);
const shapes = Object.fromEntries(
  prefixes.flatMap((prefix) => [
    [`${prefix}lin.weight`, [WIDTH, WIDTH]],
    [`${prefix}lin.bias`, [WIDTH]],
  ]),
);

/** Numbers in −1…1 that depend on the name. */
function valuesOf(name: string, count: number): Float32Array {
  const phase = [...name].reduce((sum, char) => sum + char.charCodeAt(0), 0);
  return Float32Array.from({ length: count }, (_, i) => Math.sin(0.7 * i + phase));
}

const start = valuesOf('start', ROWS * WIDTH);

/** x → x·Wᵀ + b, block after block. */
function expected(weightOf = (name: string) => valuesOf(name, WIDTH * WIDTH)): Float32Array {
  let x = start;
  for (const prefix of prefixes) {
    const [w, b] = [weightOf(`${prefix}lin.weight`), valuesOf(`${prefix}lin.bias`, WIDTH)];
    x = Float32Array.from({ length: ROWS * WIDTH }, (_, at) => {
      const [row, out] = [Math.floor(at / WIDTH), at % WIDTH];
      let sum = b[out] ?? NaN;
      for (let i = 0; i < WIDTH; i++) sum += (x[row * WIDTH + i] ?? NaN) * (w[out * WIDTH + i] ?? NaN);
      return sum;
    });
  }
  return x;
}

const graph = writeGraph('block', { dialect: wasmDialect, dtype: 'float32' }, (net) =>
  net.output('y', net.linear('lin', net.tokens('x', { n: 1, s: ROWS, c: WIDTH }), { channels: WIDTH })),
);

let runtime: Runtime;
let arrays: readonly [DeviceArray, DeviceArray];
beforeAll(async () => {
  runtime = await createRuntime({ backend: 'wasm', loadOrt: loadOrtInNode });
  const make = (): Promise<DeviceArray> => runtime.zeros([ROWS, WIDTH], 'float32');
  arrays = [await make(), await make()];
});
afterAll(() => runtime.dispose());

/** Back and forth between two arrays. */
async function pass(blocks: Blocks, signal?: AbortSignal): Promise<Float32Array> {
  let x: Float32Array | DeviceArray = start;
  for (let i = 0; i < blocks.count; i++) {
    const next = i % 2 === 0 ? arrays[0] : arrays[1];
    await blocks.runInto(i, { x }, { y: next }, signal);
    x = next;
  }
  return x instanceof Float32Array ? x : x.read();
}

function expectClose(got: Float32Array, wanted: Float32Array): void {
  const worst = Math.max(...wanted.map((value, i) => Math.abs(value - (got[i] ?? NaN))));
  expect(got).toHaveLength(wanted.length);
  expect(worst).toBeLessThan(1e-4 * Math.max(...wanted.map(Math.abs)));
}

const LORA: AppliedChange = {
  id: 'lora',
  tensor: 'blocks.3.lin.weight',
  strength: 0.5,
  scale: 2,
  rescales: false,
  read: () =>
    Promise.resolve({
      delta: {
        kind: 'product',
        factor: {
          left: { rows: WIDTH, columns: 1, values: valuesOf('left', WIDTH) },
          right: { rows: 1, columns: WIDTH, values: valuesOf('right', WIDTH) },
        },
      },
    }),
};

const changedWeight = (name: string): Float32Array => {
  const [left, right] = [valuesOf('left', WIDTH), valuesOf('right', WIDTH)];
  return valuesOf(name, WIDTH * WIDTH).map((w, i) =>
    name === LORA.tensor ? w + (left[Math.floor(i / WIDTH)] ?? NaN) * (right[i % WIDTH] ?? NaN) : w,
  );
};

describe.each([undefined, 3, 1, 0])('blocks of which %s stay on the device', (resident) => {
  const open = (file: WeightFile) => {
    const bank = runtime.openBank(file);
    return { bank, load: () => bank.loadBlocks(graph, { prefixes, resident }) };
  };

  it('run in order, again and again, and read no more than they must', async () => {
    const { file, reads } = fakeWeightFile(shapes, valuesOf);
    const { bank, load } = open(file);
    const blocks = await load();
    const staying = resident ?? COUNT;
    for (let i = 0; i < 3; i++) expectClose(await pass(blocks), expected());
    await blocks.dispose();
    prefixes.forEach((prefix, i) => {
      const times = reads.get(`${prefix}lin.weight`) ?? 0;
      // Two that do not stay have the two sets of buffers to themselves.
      if (i < staying || COUNT - staying <= 2) expect(times).toBe(1);
      // The first of the others is brought once more, for a fourth pass.
      else expect([3, 4]).toContain(times);
    });
    bank.dispose();
  });

  it('are changed by a LoRA, and are those of the file again without it', async () => {
    const { bank, load } = open(fakeWeightFile(shapes, valuesOf).file);
    const blocks = await load();
    const before = await pass(blocks);
    await bank.adapt([LORA]);
    expectClose(await pass(blocks), expected(changedWeight));
    await bank.adapt([]);
    expect(await pass(blocks)).toEqual(before);
    await blocks.dispose();
    bank.dispose();
  });

  it('stop between two blocks, and go on afterwards', async () => {
    const { bank, load } = open(fakeWeightFile(shapes, valuesOf).file);
    const blocks = await load();
    const stop = new AbortController();
    await blocks.runInto(0, { x: start }, { y: arrays[0] }, stop.signal);
    stop.abort();
    await expect(blocks.runInto(1, { x: arrays[0] }, { y: arrays[1] }, stop.signal)).rejects.toMatchObject({
      code: 'aborted',
    });
    expectClose(await pass(blocks), expected());
    await blocks.dispose();
    await expect(blocks.runInto(0, { x: start }, { y: arrays[0] })).rejects.toMatchObject({
      code: expect.stringMatching(/aborted|disposed/) as string,
    });
    bank.dispose();
  });
});

it('tells that weights could not be brought, where they are needed, and tries again', async () => {
  const { file } = fakeWeightFile(shapes, valuesOf);
  let broken = true;
  const failing: WeightFile = {
    ...file,
    read: (name, as, signal) =>
      broken && name.startsWith('blocks.2.')
        ? Promise.reject(fail('downloadFailed', 'gone'))
        : file.read(name, as, signal),
  };
  const bank = runtime.openBank(failing);
  const blocks = await bank.loadBlocks(graph, { prefixes, resident: 0 });
  await blocks.runInto(0, { x: start }, { y: arrays[0] });
  await blocks.runInto(1, { x: arrays[0] }, { y: arrays[1] });
  await expect(blocks.runInto(2, { x: arrays[1] }, { y: arrays[0] })).rejects.toMatchObject({ code: 'downloadFailed' });
  broken = false;
  expectClose(await pass(blocks), expected());
  await blocks.dispose();
  bank.dispose();
});
