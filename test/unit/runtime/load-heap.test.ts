/** @file Weights of a large file on their way to a device: what JavaScript holds meanwhile does not grow with the file or its tensors. */
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { folderTree } from '../../../scripts/lib/folder-tree.js';
import { openWeights } from '../../../src/assets/weights.js';
import { UNET_LAYOUT } from '../../../src/models/layouts/diffusers.js';
import type { Weight } from '../../../src/onnx/types.js';
import { createGpuArrays } from '../../../src/runtime/device-array.js';
import { createLock } from '../../../src/runtime/lock.js';
import type { Ort } from '../../../src/runtime/ort.js';
import { createStoredWeights } from '../../../src/runtime/stored-weights.js';

const MIB = 2 ** 20;
/** Of JavaScript, garbage that was not collected yet included. */
const HEAP_LIMIT = 300 * MIB;
/** Of the tensors, more than the limit together, and one of them alone. */
const TENSOR_MIB = [320, ...Array.from({ length: 6 }, () => 32)];
const LAST = [1, 0.5, -2, 8];

let folder = '';
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'darkroom-heap-'))));
afterAll(() => rm(folder, { recursive: true }));
beforeEach(() => vi.stubGlobal('GPUBufferUsage', { STORAGE: 128, COPY_SRC: 4, COPY_DST: 8 }));
afterEach(() => vi.unstubAllGlobals());

/** A file of zeros, whose last values are {@link LAST}. @returns its tensors */
async function writeModel(dtype: 'F32' | 'BF16'): Promise<readonly Weight[]> {
  const width = dtype === 'F32' ? 4 : 2;
  let end = 0;
  const entries = TENSOR_MIB.map((mib, i) => {
    const begin = end;
    end += mib * MIB;
    return [`w${i}`, { dtype, shape: [(mib * MIB) / width], data_offsets: [begin, end] }] as const;
  });
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const file = await open(join(folder, `${dtype}.safetensors`), 'w');
  await file.write(Buffer.concat([length, json]), 0, 8 + json.length, 0);
  const words = new Uint32Array(Float32Array.from(LAST).buffer);
  const last = dtype === 'F32' ? words : Uint16Array.from(words, (word) => word >>> 16);
  await file.write(Buffer.from(last.buffer), 0, last.byteLength, 8 + json.length + end - last.byteLength);
  await file.close();
  return entries.map(([name, { shape }], id) => ({
    name,
    tensors: [name],
    use: 'linear',
    value: { id, dtype: 'float32', shape },
  }));
}

/** A device that keeps nothing but the last bytes it was sent, and looks at the heap whenever it is sent some. */
function watchingDevice() {
  const held = (): number => {
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const before = held();
  const seen = { heap: 0, bytes: 0, last: [] as readonly number[] };
  const device = {
    adapterInfo: { isFallbackAdapter: true },
    createBuffer: ({ size }: { readonly size: number }) => ({ size, destroy: () => undefined }),
    pushErrorScope: () => undefined,
    popErrorScope: () => Promise.resolve(null),
    queue: {
      writeBuffer(_buffer: object, _at: number, data: ArrayBuffer, offset: number, size: number) {
        seen.heap = Math.max(seen.heap, held() - before);
        seen.bytes += size;
        seen.last = [...new Float32Array(data.slice(offset + size - 16, offset + size))];
      },
      onSubmittedWorkDone: () => Promise.resolve(undefined),
    },
  };
  return { device: device as unknown as GPUDevice, seen };
}

const ort = { Tensor: { fromGpuBuffer: (gpuBuffer: object) => ({ gpuBuffer }) } } as unknown as Ort;

it.each([
  ['F32', 1],
  ['BF16', 2],
] as const)('of %s', async (dtype, growth) => {
  const weights = await writeModel(dtype);
  const file = await openWeights(folderTree(folder), '', [dtype], { layout: UNET_LAYOUT });
  const { device, seen } = watchingDevice();
  const stored = createStoredWeights(createGpuArrays(ort, device, createLock()), file);
  await stored.loadInputs(
    weights.map((weight) => stored.of(weight)),
    {},
  );
  expect(seen.bytes).toBe(growth * 512 * MIB);
  expect(seen.last).toEqual(LAST);
  expect(seen.heap).toBeLessThan(HEAP_LIMIT);
  stored.dispose();
});
