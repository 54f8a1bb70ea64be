/** @file Arrays on a device from values that come in pieces: the same bytes as at once, wherever the pieces end, and nothing left where they fail. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  createCpuArrays,
  createGpuArrays,
  type ArrayStore,
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

async function* cut(values: StoredFloats, ends: readonly number[]): AsyncGenerator<StoredFloats> {
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
