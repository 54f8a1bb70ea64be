/** @file What runs inside headless Chromium for `bench/lora.ts`: our runtime alone, with weights of real size made up as they are read. */
import type { AppliedChange, Matrix } from '../src/assets/weight-change.js';
import type { WeightFile } from '../src/assets/weights.js';
import type { WeightTensor } from '../src/assets/weight-tensors.js';
import { elementCount } from '../src/base/dtype.js';
import { unetGraph } from '../src/graphs/unet.js';
import { parseUNetConfig } from '../src/models/configs/unet.js';
import type { Graph, Weight } from '../src/onnx/types.js';
import { loadOrtInBrowser } from '../src/runtime/ort.js';
import { createRuntime, type Runtime } from '../src/runtime/runtime.js';
import type { Model } from '../src/runtime/session.js';
import type { WeightBank } from '../src/runtime/weights.js';

/** One thing done: milliseconds until the call returned, and until the GPU was done; bytes read of the base's file, and bytes sent to the GPU. */
export interface Step {
  readonly name: string;
  readonly ms: number;
  readonly gpuMs: number;
  readonly fileBytes: number;
  readonly uploadedBytes: number;
  readonly gpuBytes: number;
}

/** Ranks as most LoRAs have them. */
const RANK = 16;
/** Numbers that all made-up weights are cut from. */
const POOL = 1 << 24;

export interface Bench {
  load(size: number): Promise<Step>;
  adapt(kind: 'none' | 'linear' | 'kernels', strength: number): Promise<Step>;
  /** Makes the session again where it must be. */
  reload(): Promise<Step>;
  dispose(): Promise<void>;
  /** Weights and how many of them each kind of LoRA changes. */
  counts(): Readonly<Record<'all' | 'linear' | 'kernels', { readonly weights: number; readonly bytes: number }>>;
}

/** @param url of a UNet's published config; `overrides` of its fields */
async function openBench(url: string, overrides: Readonly<Record<string, unknown>>): Promise<Bench> {
  const published = (await (await fetch(url)).json()) as { readonly config: object };
  const config = parseUNetConfig({ ...published.config, ...overrides }, 'unet');
  let uploaded = 0;
  let device: GPUDevice | undefined;
  const runtime = await createRuntime({
    backend: 'webgpu',
    loadOrt: loadOrtInBrowser,
    gpu: navigator.gpu,
    observeDevice: (opened) => {
      device = opened;
      const create = opened.createBuffer.bind(opened);
      opened.createBuffer = (descriptor) => {
        if (descriptor.mappedAtCreation === true) uploaded += descriptor.size;
        return create(descriptor);
      };
      const write = opened.queue.writeBuffer.bind(opened.queue);
      opened.queue.writeBuffer = (buffer, at, data, offset, size) => {
        uploaded += size ?? data.byteLength;
        write(buffer, at, data, offset, size);
      };
    },
  });
  const graphOf = (size: number): Graph =>
    unetGraph(
      config,
      { batch: 1, height: size, width: size, textTokens: 77 },
      { dialect: runtime.dialect, dtype: runtime.info.dtype },
    );
  const made = makeUpFile(graphOf(8).weights);
  const bank = runtime.openBank(made.file);
  let model: Model | undefined;
  let size = 0;

  const step = async (name: string, work: () => Promise<void>): Promise<Step> => {
    const [readBefore, uploadedBefore, start] = [made.bytesRead(), uploaded, performance.now()];
    await work();
    const ms = performance.now() - start;
    await device?.queue.onSubmittedWorkDone();
    const gpuMs = performance.now() - start;
    const { gpuBytes } = runtime.memory();
    return {
      name,
      ms,
      gpuMs,
      fileBytes: made.bytesRead() - readBefore,
      uploadedBytes: uploaded - uploadedBefore,
      gpuBytes,
    };
  };
  return makeBench(runtime, bank, {
    step,
    weights: graphOf(8).weights,
    load: async (wanted) => {
      await model?.dispose();
      size = wanted;
      model = await bank.load(graphOf(size));
    },
    reload: async () => {
      await model?.dispose();
      model = await bank.load(graphOf(size));
    },
    dispose: async () => model?.dispose(),
  });
}

interface Parts {
  readonly step: (name: string, work: () => Promise<void>) => Promise<Step>;
  readonly weights: readonly Weight[];
  readonly load: (size: number) => Promise<void>;
  readonly reload: () => Promise<void>;
  readonly dispose: () => Promise<void>;
}

function makeBench(runtime: Runtime, bank: WeightBank, { step, weights, load, reload, dispose }: Parts): Bench {
  const groups = {
    all: weights,
    linear: weights.filter(({ use, name }) => use === 'linear' && /\.(attn\d|ff)\./.test(name)),
    // A software adapter would take minutes for all of them.
    kernels: weights.filter(({ use, name }) => use === 'conv' && name.startsWith('down_blocks.')),
  };
  return {
    load: (size) => step(`load, ${size}×${size} latents`, () => load(size)),
    adapt: (kind, strength) => {
      const changes = kind === 'none' ? [] : groups[kind].map((weight) => makeUpChange(kind, weight, strength));
      return step(kind === 'none' ? 'remove' : `${kind}, strength ${strength}`, () => bank.adapt(changes));
    },
    reload: () => step('session again', reload),
    async dispose() {
      await dispose();
      bank.dispose();
      await runtime.dispose();
    },
    counts: () => {
      const count = (list: readonly Weight[]): { readonly weights: number; readonly bytes: number } => ({
        weights: list.length,
        bytes: list.reduce((sum, { value }) => sum + 4 * elementCount(value.shape), 0),
      });
      return { all: count(groups.all), linear: count(groups.linear), kernels: count(groups.kernels) };
    },
  };
}

/** A file with every tensor that `weights` read. */
function makeUpFile(weights: readonly Weight[]): { readonly file: WeightFile; readonly bytesRead: () => number } {
  const pool = new Float32Array(POOL);
  for (let i = 0; i < POOL; i++) pool[i] = Math.random() * 0.08 - 0.04;
  const shapes = new Map(weights.flatMap(({ tensors, value }) => tensors.map((name) => [name, value.shape] as const)));
  let bytes = 0;
  const read = (name: string): Float32Array => {
    const count = elementCount(shapes.get(name) ?? []);
    const out = new Float32Array(count);
    for (let at = 0; at < count; at += POOL) out.set(pool.subarray(0, Math.min(POOL, count - at)), at);
    bytes += out.byteLength;
    return out;
  };
  const source = { name: 'made up', size: 0, read: () => Promise.resolve(new Uint8Array()) };
  const file: WeightFile = {
    name: 'made up',
    tensors: new Map(),
    find: (name): WeightTensor | undefined => {
      const shape = shapes.get(name);
      return shape === undefined ? undefined : { source, dtype: 'F32', shape, start: 0, end: 4 * elementCount(shape) };
    },
    // Only float32 is asked for: the software adapter has no float16.
    read: (name) => Promise.resolve(read(name) as never),
    bytes: (name) => Promise.resolve(new Uint8Array(read(name).buffer)),
  };
  return { file, bytesRead: () => bytes };
}

function makeUpChange(kind: string, { name, tensors, value }: Weight, strength: number): AppliedChange {
  const [rows = 1, ...rest] = value.shape;
  const columns = rest.reduce((a, b) => a * b, 1);
  const matrix = (height: number, width: number): Matrix => {
    const values = new Float32Array(height * width);
    for (let i = 0; i < values.length; i++) values[i] = Math.random() * 0.02 - 0.01;
    return { rows: height, columns: width, values };
  };
  return {
    id: `${kind}/${name}`,
    tensor: tensors[0] ?? name,
    strength,
    scale: 1,
    rescales: false,
    read: () =>
      Promise.resolve({
        delta: { kind: 'product', factor: { left: matrix(rows, RANK), right: matrix(RANK, columns) } },
      }),
  };
}

Object.assign(globalThis, { openLoraBench: openBench });
