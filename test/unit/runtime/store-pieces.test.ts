/** @file Arrays on a device from values that come in pieces: the same bytes as at once, wherever the pieces end, and nothing left where they fail. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  createCpuArrays,
  createGpuArrays,
  type ArrayStore,
  type DeviceArray,
  type Stored,
  type StoredFloats,
} from '../../../src/runtime/device-array.js';
import { openFloatLoader } from '../../../src/runtime/load-floats.js';
import { createLock } from '../../../src/runtime/lock.js';
import type { Ort } from '../../../src/runtime/ort.js';
import type { Weight } from '../../../src/onnx/types.js';
import { fakeWeightFile } from './fake-weight-file.js';

/** A device that does what the queue's rules say, and refuses what they forbid (https://www.w3.org/TR/webgpu/#dom-gpuqueue-writebuffer). */
function fakeDevice() {
  const alive = new Set<object>();
  const createBuffer = ({ size }: { readonly size: number }) => {
    const buffer = { size, bytes: new Uint8Array(size), destroy: () => alive.delete(buffer) };
    alive.add(buffer);
    return buffer;
  };
  const writeBuffer = (
    buffer: ReturnType<typeof createBuffer>,
    at: number,
    data: ArrayBuffer,
    offset: number,
    size: number,
  ): void => {
    if (at % 4 !== 0 || size % 4 !== 0) throw new TypeError(`${size} bytes at ${at}`);
    if (at + size > buffer.size) throw new RangeError('beyond the buffer');
    buffer.bytes.set(new Uint8Array(data, offset, size), at);
  };
  const device = {
    createBuffer,
    pushErrorScope: () => undefined,
    popErrorScope: () => Promise.resolve(null),
    queue: { writeBuffer, onSubmittedWorkDone: () => Promise.resolve(undefined) },
  };
  return { device: device as unknown as GPUDevice, alive: () => alive.size };
}

/** Tensors that are nothing but what they are made of. */
const ort = {
  Tensor: class {
    static fromGpuBuffer = (gpuBuffer: object) => ({ gpuBuffer });
    constructor(
      readonly type: string,
      readonly data: StoredFloats,
    ) {}
  },
} as unknown as Ort;

async function* cut<V extends Stored>(values: V, ends: readonly number[]): AsyncGenerator<Stored> {
  let from = 0;
  for (const to of [...ends, values.length]) {
    yield await Promise.resolve(values.subarray(from, to));
    from = to;
  }
}

beforeEach(() => vi.stubGlobal('GPUBufferUsage', { STORAGE: 128, COPY_SRC: 4, COPY_DST: 8 }));
afterEach(() => vi.unstubAllGlobals());

describe.each(['GPU', 'CPU'] as const)('pieces on the %s', (where) => {
  const make = () => {
    const fake = fakeDevice();
    const arrays: ArrayStore = where === 'CPU' ? createCpuArrays(ort) : createGpuArrays(ort, fake.device, createLock());
    return { arrays, ...fake };
  };
  const bytesOf = (tensor: object, length: number): Uint8Array => {
    const { gpuBuffer, data } = tensor as {
      readonly gpuBuffer?: { readonly bytes: Uint8Array };
      readonly data?: StoredFloats;
    };
    if (gpuBuffer !== undefined) return gpuBuffer.bytes.slice(0, length);
    return new Uint8Array(data?.buffer ?? new ArrayBuffer(0));
  };

  it.each([[[]], [[1]], [[3, 3, 8]], [[2, 5, 6, 7, 12]], [[13]]])('of float16 that end at %j', async (ends) => {
    const { arrays } = make();
    const values = Uint16Array.from({ length: 13 }, (_, i) => 0x3c00 + i);
    const { tensor } = await arrays.storePieces(cut(values, ends), [13], 'float16');
    expect(bytesOf(tensor, 26)).toEqual(new Uint8Array(values.buffer));
  });

  it('of float32', async () => {
    const { arrays } = make();
    const values = Float32Array.from({ length: 10 }, (_, i) => i / 3);
    const { tensor } = await arrays.storePieces(cut(values, [4, 9]), [2, 5], 'float32');
    expect(bytesOf(tensor, 40)).toEqual(new Uint8Array(values.buffer));
  });

  it.each([[[]], [[3, 8]], [[1, 2, 9]]])('of bytes that end at %j come in the place of others', async (ends) => {
    const { arrays, alive } = make();
    const before = await arrays.storePieces([new Uint8Array(11).fill(7)], [11], 'uint8');
    const values = Uint8Array.from({ length: 11 }, (_, i) => 100 + i);
    const { tensor } = await arrays.refillPieces(before, cut(values, ends));
    expect(bytesOf(tensor, 11)).toEqual(values);
    expect(alive()).toBe(where === 'GPU' ? 1 : 0);
    await expect(arrays.refillPieces(before, cut(new Uint8Array(10), ends))).rejects.toMatchObject({
      code: 'internalError',
    });
  });

  it('that are too few, too many, or fail, leave no buffer', async () => {
    const { arrays, alive } = make();
    for (const count of [9, 11, 40]) {
      const pieces = cut(new Float32Array(count), [5]);
      await expect(arrays.storePieces(pieces, [2, 5], 'float32', 'w')).rejects.toMatchObject({ code: 'internalError' });
    }
    async function* broken(): AsyncGenerator<StoredFloats> {
      yield await Promise.resolve(new Float32Array(5));
      throw new Error('gone');
    }
    await expect(arrays.storePieces(broken(), [2, 5], 'float32')).rejects.toThrow('gone');
    expect(alive()).toBe(0);
  });
});

/** Takes pieces of 8 MiB until it waits for a device that has not said yet how far it is; then the device does so, mark by mark. */
async function sentUntilItWaits(send: (arrays: ArrayStore, piece: Float32Array) => Promise<unknown>): Promise<{
  readonly sent: number;
  readonly goesOn: boolean;
}> {
  const { device } = fakeDevice();
  const marks: (() => void)[] = [];
  device.queue.onSubmittedWorkDone = () => new Promise((resolve) => marks.push(() => resolve(undefined)));
  const arrays = createGpuArrays(ort, device, createLock());
  const piece = new Float32Array(2 ** 21);
  for (let sent = 1; sent <= 100; sent++) {
    let done = false;
    const sending = send(arrays, piece).then(() => (done = true));
    await new Promise((resolve) => setTimeout(resolve, 0));
    if (done) continue;
    marks[0]?.();
    await sending;
    return { sent, goesOn: done };
  }
  throw new Error('it never waited');
}

it('waits for the GPU before more than 64 MiB are on their way; not for all of them', async () => {
  const found = await sentUntilItWaits((arrays, piece) => arrays.storePieces([piece], [2 ** 21], 'float32'));
  expect(found).toEqual({ sent: 8, goesOn: true }); // the first quarter is enough to go on
});

it('lets more be on its way in the place of others, since runs are too', async () => {
  let array: Promise<DeviceArray> | undefined;
  const found = await sentUntilItWaits(async (arrays, piece) =>
    arrays.refillPieces(await (array ??= arrays.zeros([2 ** 21], 'float32')), [piece]),
  );
  expect(found).toEqual({ sent: 64, goesOn: true }); // 512 MiB
});

describe('arrays that are asked for ahead', () => {
  const weight = (name: string): Weight => ({
    name,
    tensors: [name],
    use: 'linear',
    value: { id: 0, dtype: 'float32', shape: [4] },
  });
  const names = Array.from({ length: 100 }, (_, i) => `w${i}`);
  const { file } = fakeWeightFile(Object.fromEntries(names.map((name) => [name, [4]])), (name) =>
    new Float32Array(4).fill(names.indexOf(name)),
  );
  const open = (fake: ReturnType<typeof fakeDevice>, asked = names) => {
    const arrays = createGpuArrays(ort, fake.device, createLock());
    const weights = asked.map(weight);
    return { weights, loader: openFloatLoader(arrays, file, {}, { upcoming: weights }) };
  };

  it('are there before the device has answered for the first, and get what is theirs', async () => {
    const fake = fakeDevice();
    const { weights, loader } = open(fake);
    expect(fake.alive()).toBeGreaterThan(1);
    expect(fake.alive()).toBeLessThan(names.length);
    const loaded = [];
    for (const each of weights) loaded.push(await loader.load(each));
    loader.dispose();
    expect(loaded.map(({ tensor }) => firstValue(tensor))).toEqual(names.map((_, i) => i));
    await Promise.resolve();
    expect(fake.alive()).toBe(names.length);
    for (const array of loaded) array.dispose();
    expect(fake.alive()).toBe(0);
  });

  it('are freed where they are not needed any more', async () => {
    const fake = fakeDevice();
    const { weights, loader } = open(fake);
    const array = await loader.load(weights[0] ?? weight('w0'));
    loader.dispose();
    await Promise.resolve();
    expect(fake.alive()).toBe(1);
    array.dispose();
  });

  it('that cannot be had are told with the weight they are for, and the others are freed', async () => {
    const fake = fakeDevice();
    let scopes = 0;
    fake.device.popErrorScope = () => Promise.resolve(++scopes === 3 ? { message: 'no room' } : null);
    const { weights, loader } = open(fake);
    const [first = weight(''), second = weight(''), third = weight('')] = weights;
    const got = [await loader.load(first), await loader.load(second)];
    await expect(loader.load(third)).rejects.toMatchObject({ code: 'outOfMemory', message: /w2/ });
    loader.dispose();
    await Promise.resolve();
    for (const array of got) array.dispose();
    expect(fake.alive()).toBe(0);
  });

  it('belong to a weight that cannot be read: they are freed', async () => {
    const fake = fakeDevice();
    const { weights, loader } = open(fake, ['gone', ...names]);
    await expect(loader.load(weights[0] ?? weight(''))).rejects.toMatchObject({ code: 'missingWeight' });
    loader.dispose();
    await Promise.resolve();
    expect(fake.alive()).toBe(0);
  });
});

function firstValue(tensor: unknown): number | undefined {
  const { gpuBuffer } = tensor as { readonly gpuBuffer: { readonly bytes: Uint8Array } };
  return new Float32Array(gpuBuffer.bytes.slice().buffer)[0];
}
