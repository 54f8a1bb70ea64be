/**
 * @file From the browser's store to the GPU: the time against reading the same file alone, and the most that JavaScript holds, on a UNet of Stable Diffusion
 * 1.5's sizes with random weights; and whether a file of more than 4 GB is read. `npm run bench -- load`; DARKROOM_BENCH=small takes a third of the layers.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium, type Page } from 'playwright';
import { findOrInstallChromium } from '../scripts/chromium.mjs';
import { openServedPage } from '../scripts/lib/served-page.js';
import { watchHeap } from './heap.js';
import type { FileType, LoadBench, LoadTimes, OpenLoadBench } from './load-page.js';

const CONFIG = '/test/golden/published/sd15-unet.json';
/** Layers of their real sizes, but half as many, and without the last level. */
const SMALL = {
  block_out_channels: [320, 640, 1280],
  layers_per_block: 1,
  down_block_types: ['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D'],
  up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D'],
};
const TYPES: readonly FileType[] = ['F32', 'F16', 'BF16'];
/** Of the reads that a load is compared with. */
const BLOCK_BYTES = 8 << 20;
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
  const served = await openServedPage({});
  const profile = await mkdtemp(join(tmpdir(), 'darkroom-profile-'));
  // With a profile on the disk, as visitors have: a private window keeps files in memory.
  const browser = await chromium.launchPersistentContext(profile, {
    headless: true,
    args: ['--no-sandbox', '--enable-unsafe-webgpu'],
    executablePath: await findOrInstallChromium(),
  });
  try {
    const page = await browser.newPage();
    await page.goto(new URL('/scripts/page/', served.url).href);
    await page.addScriptTag({ type: 'module', url: '/bench/load-page.ts' });
    await page.waitForFunction(() => 'openLoadBench' in globalThis);
    await page.evaluate(
      async ([url, overrides]) => {
        const open = Reflect.get(globalThis, 'openLoadBench') as OpenLoadBench;
        Object.assign(globalThis, { bench: await open(url, overrides) });
      },
      [CONFIG, small ? SMALL : {}] as const,
    );
    const rows: string[] = [];
    for (const type of types) rows.push(...(await measure(page, type, kernels)));
    const found = await call<readonly number[] | string>(page, 'readLarge', LARGE_BYTES, LARGE_VALUES);
    const right = Array.isArray(found) && found.join() === LARGE_VALUES.join();
    await call(page, 'dispose');
    return [
      '| file | kernels of convolutions | read alone | to the GPU | ratio | sent to the GPU | JS heap, most |',
      '|---|---|---:|---:|---:|---:|---:|',
      ...rows,
      `A tensor behind ${gigabytes(LARGE_BYTES)} of a file: ${right ? 'read' : `NOT read (${String(found)})`}.`,
    ];
  } finally {
    await browser.close();
    await served.close();
    await rm(profile, { recursive: true });
  }
}

/** Reads alone before and after each load, since both are fast only while the system holds the file in memory. */
async function measure(page: Page, type: FileType, kernels: readonly Kernels[]): Promise<readonly string[]> {
  const devtools = await page.context().newCDPSession(page);
  const bytes = await call<number>(page, 'write', type);
  await call(page, 'readAlone', BLOCK_BYTES);
  const rows: string[] = [];
  for (const constants of kernels) {
    const before = await call<number>(page, 'readAlone', BLOCK_BYTES);
    const { result, heapBytes } = await watchHeap(devtools, () => call<LoadTimes>(page, 'load', constants));
    const after = await call<number>(page, 'readAlone', BLOCK_BYTES);
    const alone = (before + after) / 2;
    const cells = [
      `${type}, ${gigabytes(bytes)}`,
      constants === 'input' ? 'inputs' : 'constants',
      seconds(alone),
      seconds(result.ms),
      (result.ms / alone).toFixed(2),
      gigabytes(result.gpuBytes),
      `${(heapBytes / 1e6).toFixed(0)} MB`,
    ];
    rows.push(`| ${cells.join(' | ')} |`);
  }
  return rows;
}

function call<T>(page: Page, method: keyof LoadBench, ...args: readonly unknown[]): Promise<T> {
  return page.evaluate(
    ([name, values]) =>
      (Reflect.get(globalThis, 'bench') as Record<string, (...a: readonly unknown[]) => unknown>)[name]?.(...values),
    [method, args] as const,
  ) as Promise<T>;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(2)} GB`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) console.log((await benchLoad()).join('\n'));
