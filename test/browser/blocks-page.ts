/** @file What blocks.test.ts runs inside Chromium: blocks of a linear layer on a WebGPU runtime that refuses to fall back to the CPU. */
import { memorySource } from '../../src/assets/byte-source.js';
import type { AppliedChange } from '../../src/assets/weight-change.js';
import type { WeightTensor } from '../../src/assets/weight-tensors.js';
import { viewWeights, type WeightFile } from '../../src/assets/weights.js';
import { webgpuDialect } from '../../src/onnx/dialects/webgpu.js';
import { writeGraph } from '../../src/onnx/net.js';
import { packingOf } from '../../src/pipeline/flux/packing.js';
import type { DeviceArray } from '../../src/runtime/device-array.js';
import type { Memory } from '../../src/runtime/ledger.js';
import { loadOrtInBrowser } from '../../src/runtime/ort.js';
import { createRuntime } from '../../src/runtime/runtime.js';
import { PLAIN_LAYOUT } from '../graph/block-sessions.js';

/** `COUNT` layers of `WIDTH` on `rows` rows. */
export interface BlockRun {
  readonly prefixes: readonly string[];
  readonly width: number;
  /** `[rows, width]` */
  readonly x: readonly number[];
  /** The bytes of each layer's matrix, in base64, and how they are stored. */
  readonly matrices: readonly string[];
  readonly dtype: 'F32' | 'F16' | 'BF16' | 'F8_E4M3' | 'F8_E5M2' | 'Q8_0';
  /** A factor of all values of all matrices. */
  readonly scale?: number;
  readonly resident: number;
  readonly passes: number;
  /** Added to the matrix of the last layer for the last pass, `[width]` times `[width]`. */
  readonly change?: { readonly left: readonly number[]; readonly right: readonly number[] };
}

export interface BlockResult {
  /** Of each pass. */
  readonly values: readonly (readonly number[])[];
  /** Matrices whose values JavaScript made, and bytes that the watch was told of. */
  readonly madeHere: readonly string[];
  readonly brought: number;
  /** Before the weights were read, and when they were freed. */
  readonly before: Memory;
  readonly after: Memory;
}

const opening = createRuntime({
  backend: 'webgpu',
  strictGpu: true,
  loadOrt: loadOrtInBrowser,
  gpu: navigator.gpu,
  // A device that does not say that it is software gets the programs that others get.
  observeDevice(device) {
    const get = (info: GPUAdapterInfo, key: string): unknown =>
      key === 'isFallbackAdapter' ? false : Reflect.get(info, key);
    Object.defineProperty(device, 'adapterInfo', { value: new Proxy(device.adapterInfo, { get }) });
  },
});

async function blocks({ prefixes, width, x, resident, passes, change, ...stored }: BlockRun): Promise<BlockResult> {
  const runtime = await opening;
  const rows = x.length / width;
  const madeHere: string[] = [];
  const file = listening(weightFile(prefixes, width, stored), (name) => madeHere.push(name));
  let brought = 0;
  const watch = { now: () => performance.now(), brought: (bytes: number) => (brought += bytes), ran: () => undefined };
  const options = {
    dialect: webgpuDialect,
    dtype: 'float32',
    packing: packingOf(file, prefixes, { floats: new Set() }),
  } as const;
  const graph = writeGraph('block', options, (net) =>
    net.output('y', net.linear('lin', net.tokens('x', { n: 1, s: rows, c: width }), { channels: width, bias: false })),
  );
  await runtime.flush();
  const before = runtime.memory();
  const arrays = [await runtime.zeros([rows, width], 'float32'), await runtime.zeros([rows, width], 'float32')];
  const bank = runtime.openBank(file);
  const made = await bank.loadBlocks(graph, { prefixes, resident, watch });
  const values: number[][] = [];
  for (let i = 0; i < passes; i++) {
    if (change !== undefined && i === passes - 1) await bank.adapt([lora(prefixes, width, change)]);
    const first = await runtime.upload(Float32Array.from(x), [rows, width], 'float32');
    let at: DeviceArray = first;
    for (let block = 0; block < made.count; block++) {
      const next = arrays[block % 2];
      if (next === undefined) continue;
      await made.runInto(block, { x: at }, { y: next });
      at = next;
    }
    values.push([...(await at.read())]);
    first.dispose();
  }
  await made.dispose();
  bank.dispose();
  arrays.forEach((array) => array.dispose());
  await runtime.flush();
  return { values, madeHere, brought, before, after: runtime.memory() };
}

const bytesOf = (base64: string): Uint8Array => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));

function weightFile(
  prefixes: readonly string[],
  width: number,
  { matrices, dtype, scale }: Pick<BlockRun, 'matrices' | 'dtype' | 'scale'>,
): WeightFile {
  const whole = (name: string, bytes: Uint8Array) => ({
    start: 0,
    end: bytes.length,
    source: memorySource(name, bytes),
  });
  const factor = new Uint8Array(Float32Array.of(scale ?? 1).buffer);
  const tensors = prefixes.flatMap((prefix, i): readonly (readonly [string, WeightTensor])[] => [
    [`${prefix}lin.weight`, { dtype, shape: [width, width], ...whole(prefix, bytesOf(matrices[i] ?? '')) }],
    ...(scale === undefined
      ? []
      : [[`${prefix}lin.scale_weight`, { dtype: 'F32', shape: [], ...whole(prefix, factor) }] as const]),
  ]);
  return viewWeights('blocks', new Map(tensors), PLAIN_LAYOUT);
}

/** Tells of each tensor whose values are made in JavaScript. */
function listening(file: WeightFile, hear: (name: string) => void): WeightFile {
  return {
    ...file,
    read(name, ...more) {
      hear(name);
      return file.read(name, ...more);
    },
    pieces(name, ...more) {
      hear(name);
      const pieces = file.pieces?.(name, ...more);
      if (pieces === undefined) throw new TypeError('files in memory give pieces');
      return pieces;
    },
  };
}

function lora(
  prefixes: readonly string[],
  width: number,
  { left, right }: { readonly left: readonly number[]; readonly right: readonly number[] },
): AppliedChange {
  const factor = {
    left: { rows: width, columns: 1, values: Float32Array.from(left) },
    right: { rows: 1, columns: width, values: Float32Array.from(right) },
  };
  return {
    id: 'lora',
    tensor: `${prefixes.at(-1)}lin.weight`,
    strength: 1,
    scale: 1,
    rescales: false,
    read: () => Promise.resolve({ delta: { kind: 'product', factor } }),
  };
}

const blocksPage = { blocks };
Reflect.set(globalThis, 'blocksPage', blocksPage);
