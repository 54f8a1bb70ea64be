/**
 * @file What runs in a worker of headless Chromium for `bench/load.ts`, as the library does: a file of random weights in the private file system, read
 * alone, and loaded onto the GPU.
 */
import { expose, proxy, type ProxyMarked } from 'comlink';
import { blobView } from '../src/assets/store/disk.js';
import { createOpfsDisk } from '../src/assets/store/opfs-disk.js';
import { storedSource } from '../src/assets/store/stored-source.js';
import type { ByteSource } from '../src/assets/source.js';
import { openWeights, type WeightFile } from '../src/assets/weights.js';
import { DTYPE_BYTES, elementCount } from '../src/base/dtype.js';
import { float32ToFloat16 } from '../src/base/half.js';
import { unetGraph } from '../src/graphs/unet.js';
import { parseUNetConfig } from '../src/models/configs/unet.js';
import { UNET_LAYOUT } from '../src/models/layouts/diffusers.js';
import type { Graph } from '../src/onnx/types.js';
import { loadOrtInBrowser } from '../src/runtime/ort.js';
import { createRuntime } from '../src/runtime/runtime.js';

/** How the weights are stored. */
export type FileType = 'F32' | 'F16' | 'BF16';

export interface LoadTimes {
  /** Until all weights were on the GPU, and it was done with them. */
  readonly ms: number;
  readonly gpuBytes: number;
}

export interface LoadBench {
  /** Makes the file; gives its bytes. */
  write(type: FileType): Promise<number>;
  /** Milliseconds to read the file from its beginning to its end, `blockBytes` at a time; as the store does, or through the file's Blob. */
  readAlone(blockBytes: number, how: 'store' | 'blob'): Promise<number>;
  /** Milliseconds to send as many bytes as the weights become to the GPU, from memory, `blockBytes` at a time, into buffers of some blocks each. */
  sendAlone(bytes: number, blockBytes: number): Promise<number>;
  /** Kernels of convolutions as inputs, as all other weights are, or as constants of the session. */
  load(constants: 'input' | 'session'): Promise<LoadTimes>;
  /** Makes a sparse file of `bytes` whose last tensor is of these values, and gives what a reader finds there; or why there is no such file. */
  readLarge(bytes: number, values: readonly number[]): Promise<readonly number[] | string>;
  dispose(): Promise<void>;
}

const FILE = 'bench-load.safetensors';
/** A buffer's, about as large as weights are. */
const BUFFER_BLOCKS = 4;
/** Written at a time; random, and the same again and again. */
const CHUNK_VALUES = 1 << 23;

/** @param url of a UNet's published config; `overrides` of its fields */
async function openBench(url: string, overrides: Readonly<Record<string, unknown>>): Promise<LoadBench> {
  const published = (await (await fetch(url)).json()) as { readonly config: object };
  const config = parseUNetConfig({ ...published.config, ...overrides }, 'unet');
  let device: GPUDevice | undefined;
  const runtime = await createRuntime({
    backend: 'webgpu',
    loadOrt: loadOrtInBrowser,
    gpu: navigator.gpu,
    observeDevice: (opened) => (device = opened),
  });
  const graph: Graph = unetGraph(
    config,
    { batch: 1, height: 8, width: 8, textTokens: 77 },
    { dialect: runtime.dialect, dtype: runtime.info.dtype },
  );
  const folder = await navigator.storage.getDirectory();
  const disk = createOpfsDisk(folder);
  const open = async (name: string): Promise<ByteSource | undefined> => {
    const view = await disk.view(name);
    return view && storedSource(name, view);
  };
  const openFile = (name: string): Promise<WeightFile> =>
    openWeights({ name, open }, '', [stem(name)], {
      layout: UNET_LAYOUT,
    });

  return {
    async write(type) {
      await disk.remove(FILE);
      const handle = await folder.getFileHandle(FILE, { create: true });
      const writer = await handle.createWritable();
      const tensors = new Map(
        graph.weights.flatMap(({ tensors, value }) => tensors.map((name) => [name, value.shape] as const)),
      );
      const { header, bytes } = headerOf(tensors, type);
      await writer.write(header);
      const chunk = randomBytes(type);
      for (let left = bytes; left > 0; left -= chunk.length)
        await writer.write(chunk.subarray(0, Math.min(left, chunk.length)));
      await writer.close();
      return header.length + bytes;
    },
    async readAlone(blockBytes, how) {
      const file = await (await folder.getFileHandle(FILE)).getFile();
      const view = how === 'blob' ? blobView(file) : await disk.view(FILE);
      const room = new Uint8Array(blockBytes);
      const start = performance.now();
      for (let at = 0; at < file.size; at += blockBytes)
        await view?.read(at, Math.min(file.size, at + blockBytes), room);
      return performance.now() - start;
    },
    async sendAlone(bytes, blockBytes) {
      const queue = device?.queue;
      const block = new Uint8Array(blockBytes).fill(1);
      const size = BUFFER_BLOCKS * blockBytes;
      const buffers: GPUBuffer[] = [];
      const start = performance.now();
      for (let at = 0; at < bytes; at += blockBytes) {
        const first = at % size === 0;
        const buffer = first ? device?.createBuffer({ size, usage: GPUBufferUsage.COPY_DST }) : buffers.at(-1);
        if (buffer === undefined) throw new Error('there is no device');
        if (first) buffers.push(buffer);
        queue?.writeBuffer(buffer, at % size, block);
        if (first) await queue?.onSubmittedWorkDone();
      }
      await queue?.onSubmittedWorkDone();
      const ms = performance.now() - start;
      for (const buffer of buffers) buffer.destroy();
      return ms;
    },
    async load(constants) {
      const bank = runtime.openBank(await openFile(FILE));
      const start = performance.now();
      const model = await bank.load(graph, { constants });
      await device?.queue.onSubmittedWorkDone();
      const times = { ms: performance.now() - start, gpuBytes: runtime.memory().gpuBytes };
      await model.dispose();
      bank.dispose();
      await runtime.flush();
      return times;
    },
    async readLarge(bytes, values) {
      const name = 'bench-large.safetensors';
      try {
        const handle = await folder.getFileHandle(name, { create: true });
        const last = Float32Array.from(values);
        const shapes = new Map([
          ['hole.weight', [bytes / 4]],
          ['last.weight', [values.length]],
        ]);
        const { header } = headerOf(shapes, 'F32');
        const writer = await handle.createWritable();
        await writer.write(header);
        await writer.truncate(header.length + bytes); // takes no room on a disk that knows of holes
        await writer.write({ type: 'write', position: header.length + bytes, data: last });
        await writer.close();
        const file = await openFile(name);
        return [...(await file.read('last.weight', 'float32'))];
      } catch (error) {
        return String(error);
      } finally {
        await disk.remove(name).catch(() => undefined);
      }
    },
    async dispose() {
      await disk.remove(FILE).catch(() => undefined);
      await runtime.dispose();
    },
  };
}

function stem(file: string): string {
  return file.replace(/\.safetensors$/, '');
}

/** A safetensors header (8 bytes of its length, JSON) for tensors one after the other. */
function headerOf(
  shapes: ReadonlyMap<string, readonly number[]>,
  dtype: FileType,
): { readonly header: Uint8Array<ArrayBuffer>; readonly bytes: number } {
  let bytes = 0;
  const entries = [...shapes].map(([name, shape]) => {
    const begin = bytes;
    bytes += elementCount(shape) * DTYPE_BYTES[dtype];
    return [name, { dtype, shape, data_offsets: [begin, bytes] }];
  });
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  const header = new Uint8Array(8 + json.length);
  new DataView(header.buffer).setBigUint64(0, BigInt(json.length), true);
  header.set(json, 8);
  return { header, bytes };
}

function randomBytes(type: FileType): Uint8Array<ArrayBuffer> {
  const values = new Float32Array(CHUNK_VALUES);
  for (let i = 0; i < values.length; i++) values[i] = Math.random() * 0.08 - 0.04;
  if (type === 'F32') return new Uint8Array(values.buffer);
  if (type === 'F16') return new Uint8Array(new Uint16Array(float32ToFloat16(values)).buffer);
  const words = new Uint32Array(values.buffer);
  return new Uint8Array(Uint16Array.from(words, (word) => word >>> 16).buffer);
}

/** What the page gets of the worker. */
export interface LoadWorker {
  open(url: string, overrides: Readonly<Record<string, unknown>>): Promise<LoadBench & ProxyMarked>;
}

expose({ open: async (url, overrides) => proxy(await openBench(url, overrides)) } satisfies LoadWorker);
