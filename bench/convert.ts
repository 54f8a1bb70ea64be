/**
 * @file `npm run bench -- convert [--bits 4|8] [--part 0.1] [--where browser]`: FLUX.1 dev's transformer, 24 GB of bfloat16 as a sparse file of zeros, is
 * rounded into a store, all of it or a part, and read back matrix by matrix as when a network is loaded. How fast, and what JavaScript holds at most. In Node into
 * a folder, or in a worker of Chromium into its private file system. Needs 10 GB (of 8 bits 15 GB) of disk, and minutes.
 */
import { readFileSync } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createFolderDisk } from '../scripts/lib/folder-disk.js';
import { folderTree } from '../scripts/lib/folder-tree.js';
import type { KeptMatrices } from '../src/assets/converted/kept-matrices.js';
import { createModelStore } from '../src/assets/store/model-store.js';
import {
  makeConversion,
  planConversion,
  PUBLISHED,
  readConversion,
  SPARSE_FILE,
  sparseHeader,
  type ConvertTask,
} from './convert-model.js';
import type { Plan } from './convert-worker.js';
import { watchHeap } from './heap.js';
import { openUNetBench } from './unet-bench.js';

export interface ConvertBenchOptions {
  readonly bits?: string | undefined;
  /** Which share of the matrices is rounded, evenly spread; default 1. */
  readonly part?: string | undefined;
  /** Default: Node. */
  readonly where?: string | undefined;
}

export function benchConvert({ bits = '4', part = '1', where }: ConvertBenchOptions): Promise<readonly string[]> {
  const task: ConvertTask = { bits: bits === '8' ? 8 : 4, part: Number(part) };
  return where === 'browser' ? convertInChromium(task) : convertInNode(task);
}

async function convertInNode(task: ConvertTask): Promise<readonly string[]> {
  const published: unknown = JSON.parse(readFileSync(new URL(`../${PUBLISHED}`, import.meta.url), 'utf8'));
  const folder = await mkdtemp(join(tmpdir(), 'darkroom-convert-'));
  try {
    const sourceBytes = await writeSparse(join(folder, SPARSE_FILE), published);
    const store = createModelStore({
      openDisk: () => Promise.resolve({ kind: 'disk', disk: createFolderDisk(join(folder, 'store')) }),
      http: { fetch },
    });
    const tree = store.beside('bench', folderTree(folder));
    const conversion = await planConversion(tree, published, task);
    const { layout, floatBytes } = conversion;
    let kept: KeptMatrices | undefined;
    const made = await measure(async () => void (kept = await makeConversion(tree, conversion)));
    const read = await measure(async () => kept && readConversion(kept, conversion));
    return [
      ...describePlan(task, { ...conversion, sourceBytes, bytes: layout.bytes, chosen: layout.matrices.length }),
      `rounded and stored   ${describe(made, floatBytes)}`,
      `read for a session   ${describe(read, layout.bytes)}`,
    ];
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function convertInChromium(task: ConvertTask): Promise<readonly string[]> {
  const bench = await openUNetBench('/bench/convert-page.ts', 'openConvertBench', task);
  const run = async (method: 'convert' | 'read'): Promise<Measured> => {
    const { result, heapBytes } = await watchHeap(bench.heap, () => bench.call<number>(method));
    return { seconds: result / 1000, cpuSeconds: undefined, heapBytes };
  };
  try {
    const plan = await bench.call<Plan>('plan');
    const made = await run('convert');
    const read = await run('read');
    return [
      `the site may use ${gigabytes(plan.quotaBytes)}`,
      ...describePlan(task, plan),
      `rounded and stored   ${describe(made, plan.floatBytes)}`,
      `read for a session   ${describe(read, plan.bytes)}`,
    ];
  } finally {
    await bench.close();
  }
}

function describePlan(
  { bits }: ConvertTask,
  { sourceBytes, allBytes, chosen, matrices, floatBytes, bytes }: Omit<Plan, 'quotaBytes'>,
): readonly string[] {
  return [
    `a file of ${gigabytes(sourceBytes)} of bfloat16, all its matrices in ${bits} bits (modulation 8): ${gigabytes(allBytes)}`,
    `${chosen} of ${matrices} matrices, ${gigabytes(floatBytes)} → ${gigabytes(bytes)}`,
  ];
}

/** A safetensors file whose values take no room on the disk. @returns its bytes */
async function writeSparse(path: string, published: unknown): Promise<number> {
  const { header, bytes } = sparseHeader(published);
  const file = await open(path, 'w');
  await file.write(header);
  await file.truncate(bytes);
  await file.close();
  return bytes;
}

interface Measured {
  readonly seconds: number;
  /** Where they can be told. */
  readonly cpuSeconds: number | undefined;
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
  const rate = (time: number): string => (bytes / 1e6 / time).toFixed(0);
  const core = cpuSeconds === undefined ? '' : ` (${rate(cpuSeconds)} MB per second of one core)`;
  return `${seconds.toFixed(0)} s, ${rate(seconds)} MB/s${core}; at most ${(heapBytes / 1e6).toFixed(0)} MB in JavaScript`;
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(2)} GB`;
}
