/**
 * @file From the browser's store to the GPU: the time against reading the same file alone, and the most that JavaScript holds, on a UNet of Stable Diffusion
 * 1.5's sizes with random weights; and whether a file of more than 4 GB is read. `npm run bench -- load`; DARKROOM_BENCH=small takes a third of the layers.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { watchHeap } from './heap.js';
import type { FileType, LoadBench, LoadTimes } from './load-worker.js';
import { openUNetBench, SMALL_UNET, type UNetBench } from './unet-bench.js';

const TYPES: readonly FileType[] = ['F32', 'F16', 'BF16'];
/** Of the reads that a load is compared with. */
const BLOCK_BYTES = 8 << 20;
/** Other files are the browser's. */
const LARGE_FILE = 100 << 20;
const LARGE_BYTES = 5 * 2 ** 30;
const LARGE_VALUES = [1, -2, 0.5, 65504];

export interface LoadOptions {
  readonly types?: readonly FileType[];
  readonly kernels?: readonly Kernels[];
  /** A third of the layers. */
  readonly small?: boolean;
}

/** How kernels of convolutions are bound. */
type Kernels = Parameters<LoadBench['load']>[0];

export function benchLoad(): Promise<readonly string[]> {
  return measureLoads();
}

export async function measureLoads({
  types = TYPES,
  kernels = ['input', 'session'],
  small = process.env.DARKROOM_BENCH === 'small',
}: LoadOptions = {}): Promise<readonly string[]> {
  const bench = await openUNetBench('/bench/load-page.ts', 'openLoadBench', small ? SMALL_UNET : {});
  try {
    const rows: string[] = [];
    for (const type of types) rows.push(...(await measure(bench, type, kernels)));
    const found = await call<readonly number[] | string>(bench, 'readLarge', LARGE_BYTES, LARGE_VALUES);
    const right = Array.isArray(found) && found.join() === LARGE_VALUES.join();
    await call(bench, 'dispose');
    return [
      '| file | kernels of convolutions | read through a Blob | read alone | sent alone | to the GPU | read from the disk | to the GPU | of reading | of the slower of both | sent to the GPU | JS heap, most |',
      '|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|',
      ...rows,
      `A tensor behind ${gigabytes(LARGE_BYTES)} of a file: ${right ? 'read' : `NOT read (${String(found)})`}.`,
    ];
  } finally {
    await bench.close();
  }
}

/** Reads alone before and after each load, since both are fast only while the system holds the file in memory; then both from the disk. */
async function measure(bench: UNetBench, type: FileType, kernels: readonly Kernels[]): Promise<readonly string[]> {
  const bytes = await call<number>(bench, 'write', type);
  const readAlone = (how: 'store' | 'blob'): Promise<number> => call(bench, 'readAlone', BLOCK_BYTES, how);
  const load = (constants: Kernels): Promise<LoadTimes> => call(bench, 'load', constants);
  const blob = await readAlone('blob');
  const rows: string[] = [];
  for (const constants of kernels) {
    const before = await readAlone('store');
    const { result, heapBytes } = await watchHeap(bench.heap, () => load(constants));
    const alone = (before + (await readAlone('store'))) / 2;
    const sent = await call<number>(bench, 'sendAlone', result.gpuBytes, BLOCK_BYTES);
    const cold = { alone: 0, load: 0 };
    for (const part of ['alone', 'load', 'load', 'alone'] as const) {
      forget(bench.profile);
      cold[part] += (part === 'alone' ? await readAlone('store') : (await load(constants)).ms) / 2;
    }
    const cells = [
      `${type}, ${gigabytes(bytes)}`,
      constants === 'input' ? 'inputs' : 'constants',
      seconds(blob),
      seconds(alone),
      seconds(sent),
      seconds(result.ms),
      seconds(cold.alone),
      seconds(cold.load),
      (cold.load / cold.alone).toFixed(2),
      (cold.load / Math.max(cold.alone, sent)).toFixed(2),
      gigabytes(result.gpuBytes),
      `${(heapBytes / 1e6).toFixed(0)} MB`,
    ];
    rows.push(`| ${cells.join(' | ')} |`);
  }
  return rows;
}

/** Asks the system to read large files of a folder from the disk again (GNU `dd`; elsewhere nothing happens). */
function forget(folder: string): void {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const size = entry.isFile() ? statSync(path, { throwIfNoEntry: false })?.size : undefined; // the browser deletes files meanwhile
    if (size === undefined || size < LARGE_FILE) continue;
    spawnSync('dd', [`if=${path}`, 'iflag=nocache', 'count=0']);
  }
}

function call<T>(bench: UNetBench, method: keyof LoadBench, ...args: readonly unknown[]): Promise<T> {
  return bench.call<T>(method, ...args);
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(2)} GB`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) console.log((await benchLoad()).join('\n'));
