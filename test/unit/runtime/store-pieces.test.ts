/** @file Arrays on a device from values that come in pieces: the same bytes as at once, wherever the pieces end, and nothing left where they fail. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  createCpuArrays,
  createGpuArrays,
  type ArrayStore,
  type Stored,
  type StoredFloats,
} from '../../../src/runtime/device-array.js';
import { createLock } from '../../../src/runtime/lock.js';
import type { Ort } from '../../../src/runtime/ort.js';

/** A device that does what the queue's rules say, and refuses what they forbid (https://www.w3.org/TR/webgpu/#dom-gpuqueue-writebuffer). */
function fakeDevice() {
  const alive = new Set<object>();
  let waits = 0;
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
    queue: { writeBuffer, onSubmittedWorkDone: () => Promise.resolve(void waits++) },
  };
  return { device: device as unknown as GPUDevice, alive: () => alive.size, waits: () => waits };
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

it('waits for the GPU before much more is on its way than it has taken', async () => {
  const { device, waits } = fakeDevice();
  const arrays = createGpuArrays(ort, device, createLock());
  const piece = new Float32Array(2 ** 21); // 8 MiB
  for (let i = 0; i < 20; i++) await arrays.storePieces(cut(piece, []), [2 ** 21], 'float32');
  expect(waits()).toBe(2); // 160 MiB in steps of 64
});

it('lets more be on its way in the place of others, since runs are too', async () => {
  const { device, waits } = fakeDevice();
  const arrays = createGpuArrays(ort, device, createLock());
  const piece = new Float32Array(2 ** 21); // 8 MiB
  const marks: (() => void)[] = [];
  device.queue.onSubmittedWorkDone = () => new Promise((resolve) => marks.push(() => resolve(undefined)));
  const array = await arrays.zeros([2 ** 21], 'float32');
  // 63 pieces are 504 MiB, of which every eighth asks when it is there; the 64th waits for the first of those.
  for (let i = 0; i < 63; i++) await arrays.refillPieces(array, [piece]);
  expect([marks.length, waits()]).toEqual([7, 0]);
  let done = false;
  const last = arrays.refillPieces(array, [piece]).then(() => (done = true));
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect(done).toBe(false);
  marks[0]?.();
  await last;
});
