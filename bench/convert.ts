/**
 * @file `npm run bench -- convert [--bits 4|8] [--part 0.1]`: FLUX.1 dev's transformer, 24 GB of bfloat16 as a sparse file of zeros, is rounded into a store in a
 * folder, all of it or a part, and read back matrix by matrix as when a network is loaded. How fast, and what JavaScript holds at most. Needs 9 GB (of 8
 * bits 15 GB) of disk, and minutes.
 */
import { readFileSync } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createFolderDisk } from '../scripts/lib/folder-disk.js';
import { folderTree } from '../scripts/lib/folder-tree.js';
import { conversionOf } from '../src/assets/converted/convert.js';
import { openKeptMatrices, type KeptMatrices } from '../src/assets/converted/kept-matrices.js';
import { layOut, type ConvertedLayout } from '../src/assets/converted/layout.js';
import { createModelStore } from '../src/assets/store/model-store.js';
import { openWeights, type WeightFile } from '../src/assets/weights.js';
import { elementCount } from '../src/base/dtype.js';
import { fields } from '../src/base/fields.js';
import { parseFluxTransformerConfig } from '../src/models/configs/flux-transformer.js';
import { UNET_LAYOUT } from '../src/models/layouts/diffusers.js';
import { webgpuDialect } from '../src/onnx/dialects/webgpu.js';
import { roundedMatrices } from '../src/pipeline/flux/rounding.js';

export interface ConvertBenchOptions {
  readonly bits?: string | undefined;
  /** Which share of the matrices is rounded, evenly spread; default 1. */
  readonly part?: string | undefined;
}

/** Names and shapes of the published transformer, and its config. */
const PUBLISHED = new URL('../test/golden/published/flux-dev.json', import.meta.url);
const STEM = 'diffusion_pytorch_model';

export async function benchConvert({ bits = '4', part = '1' }: ConvertBenchOptions): Promise<readonly string[]> {
  const weightBits = bits === '8' ? 8 : 4;
  const published = fields(JSON.parse(readFileSync(PUBLISHED, 'utf8')), 'flux-dev.json');
  const config = parseFluxTransformerConfig(published.raw('config'));
  const folder = await mkdtemp(join(tmpdir(), 'darkroom-convert-'));
  try {
    const sourceBytes = await writeSparse(join(folder, `${STEM}.safetensors`), shapesOf(published.raw('tensors')));
    const file = await openWeights(folderTree(folder), '', [STEM], { layout: UNET_LAYOUT });
    const all = roundedMatrices({ file, config }, weightBits, webgpuDialect);
    const matrices = all.filter((_, i) => Math.floor((i + 1) * Number(part)) > Math.floor(i * Number(part)));
    const layout = layOut(file, matrices);
    const floatBytes = matrices.reduce((sum, { name }) => sum + 2 * elementCount(file.find(name)?.shape ?? []), 0);
    let kept: KeptMatrices | undefined;
    const made = await measure(async () => void (kept = await convert(folder, file, layout)));
    const read = await measure(() => readAll(kept, layout));
    return [
      `a file of ${gigabytes(sourceBytes)} of bfloat16, all its matrices in ${weightBits} bits (modulation 8): ${gigabytes(layOut(file, all).bytes)}`,
      `${matrices.length} of ${all.length} matrices, ${gigabytes(floatBytes)} → ${gigabytes(layout.bytes)}`,
      `rounded and stored   ${describe(made, floatBytes)}`,
      `read for a session   ${describe(read, layout.bytes)}`,
    ];
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function convert(folder: string, file: WeightFile, layout: ConvertedLayout): Promise<KeptMatrices> {
  const store = createModelStore({
    openDisk: () => Promise.resolve({ kind: 'disk', disk: createFolderDisk(join(folder, 'store')) }),
    http: { fetch },
  });
  const tree = store.beside('bench', folderTree(folder));
  const conversion = await conversionOf(file, layout, 'transformer');
  if (conversion === undefined || tree.derived === undefined) throw new Error('The file cannot be told from others.');
  return openKeptMatrices(await tree.derived.keep(conversion), layout);
}

/** Scales as float16, as on a GPU. */
async function readAll(kept: KeptMatrices | undefined, { matrices }: ConvertedLayout): Promise<void> {
  for (const { name, format } of matrices) await kept?.find(name, format)?.read('float16');
}

function shapesOf(json: unknown): ReadonlyMap<string, readonly number[]> {
  return new Map(Object.entries(Object(json) as Record<string, readonly number[]>)); // a golden
}

/** A safetensors file whose values take no room on the disk. @returns its bytes */
async function writeSparse(path: string, shapes: ReadonlyMap<string, readonly number[]>): Promise<number> {
  let end = 0;
  const entries = [...shapes].map(([name, shape]) => {
    const start = end;
    end += 2 * elementCount(shape);
    return [name, { dtype: 'BF16', shape, data_offsets: [start, end] }] as const;
  });
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const file = await open(path, 'w');
  await file.write(Buffer.concat([length, json]));
  await file.truncate(8 + json.length + end);
  await file.close();
  return 8 + json.length + end;
}

interface Measured {
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** Most that JavaScript's objects and the memory behind its arrays took, garbage included. */
  readonly heapBytes: number;
}

const EVERY_MS = 50;

async function measure(work: () => Promise<void>): Promise<Measured> {
  let heapBytes = 0;
  const look = (): void => {
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    heapBytes = Math.max(heapBytes, heapUsed + arrayBuffers);
  };
  const timer = setInterval(look, EVERY_MS);
  const [start, cpu] = [performance.now(), process.cpuUsage()];
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  look();
  const { user, system } = process.cpuUsage(cpu);
  return { seconds: (performance.now() - start) / 1000, cpuSeconds: (user + system) / 1e6, heapBytes };
}

function describe({ seconds, cpuSeconds, heapBytes }: Measured, bytes: number): string {
  const rate = `${(bytes / 1e6 / seconds).toFixed(0)} MB/s (${(bytes / 1e6 / cpuSeconds).toFixed(0)} MB per second of one core)`;
  return `${seconds.toFixed(0)} s, ${rate}; at most ${(heapBytes / 1e6).toFixed(0)} MB in JavaScript`;
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(2)} GB`;
}
