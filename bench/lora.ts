/**
 * @file What it costs to apply, change and remove a LoRA on a UNet with layers of Stable Diffusion 1.5's sizes, against loading the UNet. Bytes and counts
 * hold anywhere. Times are of a software adapter, where the GPU's arithmetic runs on the CPU.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium, type CDPSession, type Page } from 'playwright';
import { findOrInstallChromium } from '../scripts/chromium.mjs';
import { openServedPage } from '../scripts/lib/served-page.js';
import { watchHeap } from './heap.js';
import type { Bench, OpenLoraBench, Step } from './lora-page.js';

const CONFIG = '/test/golden/published/sd15-unet.json';
/** Layers of their real sizes, but half as many, and without the last level: what is compared grows alike. */
const OVERRIDES = {
  block_out_channels: [320, 640, 1280],
  layers_per_block: 1,
  down_block_types: ['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D'],
  up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D'],
};

type Method = Exclude<keyof Bench, 'dispose'>;

/** The most that JavaScript held while something ran, garbage that was not collected yet included. */
interface Measured {
  readonly step: Step;
  readonly heapBytes: number;
}

export async function benchLora(): Promise<readonly string[]> {
  const served = await openServedPage({});
  const profile = await mkdtemp(join(tmpdir(), 'darkroom-profile-'));
  // With a profile on the disk, as visitors have: a private window keeps all Blobs in memory, 2 GB at most.
  const browser = await chromium.launchPersistentContext(profile, {
    headless: true,
    args: ['--no-sandbox', '--enable-unsafe-webgpu'],
    executablePath: await findOrInstallChromium(),
  });
  try {
    const page = await browser.newPage();
    await page.goto(new URL('/scripts/page/', served.url).href);
    await page.addScriptTag({ type: 'module', url: '/bench/lora-page.ts' });
    await page.waitForFunction(() => 'openLoraBench' in globalThis);
    await page.evaluate(
      async ([url, overrides]) => {
        const open = Reflect.get(globalThis, 'openLoraBench') as OpenLoraBench;
        Object.assign(globalThis, { lora: await open(url, overrides) });
      },
      [CONFIG, OVERRIDES] as const,
    );
    const devtools = await page.context().newCDPSession(page);
    const measure = (method: Method, ...args: readonly unknown[]): Promise<Measured> =>
      measureStep(page, devtools, method, args);

    const load = await measure('load', 8);
    const linear = [
      await measure('adapt', 'linear', 1),
      await measure('adapt', 'linear', 0.5),
      await measure('adapt', 'none', 0),
      await measure('load', 16),
    ];
    const kernels = [
      await measure('adapt', 'kernels', 1),
      await measure('reload'),
      await measure('adapt', 'kernels', 0.5),
      await measure('adapt', 'none', 0),
    ];
    const counts = await call<ReturnType<Bench['counts']>>(page, 'counts');
    await page.evaluate(() => (Reflect.get(globalThis, 'lora') as Bench).dispose());
    const group = (name: 'all' | 'linear' | 'kernels'): string =>
      `${counts[name].weights} weights of ${megabytes(counts[name].bytes)}`;
    return [
      `UNet: ${group('all')}, float32. LoRA of rank 16 on attention and feed-forward: ${group('linear')}; on convolutions of the way down: ${group('kernels')}.`,
      '| step | returned after | GPU done after | of loading | read of the base | sent to the GPU | of loading | GPU after | JS heap, most |',
      '|---|---:|---:|---:|---:|---:|---:|---:|---:|',
      ...[load, ...linear, ...kernels].map((measured) => row(measured, load)),
    ];
  } finally {
    await browser.close();
    await served.close();
    await rm(profile, { recursive: true });
  }
}

function call<T>(page: Page, method: Method, args: readonly unknown[] = []): Promise<T> {
  return page.evaluate(
    ([name, values]) =>
      (Reflect.get(globalThis, 'lora') as Record<string, (...a: readonly unknown[]) => unknown>)[name]?.(...values),
    [method, args] as const,
  ) as Promise<T>;
}

async function measureStep(
  page: Page,
  devtools: CDPSession,
  method: Method,
  args: readonly unknown[],
): Promise<Measured> {
  const { result, heapBytes } = await watchHeap(devtools, () => call<Step>(page, method, args));
  return { step: result, heapBytes };
}

function row({ step, heapBytes }: Measured, { step: load }: Measured): string {
  const percent = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(1)} %`;
  const cells = [
    step.name,
    `${(step.ms / 1000).toFixed(2)} s`,
    `${(step.gpuMs / 1000).toFixed(2)} s`,
    percent(step.gpuMs, load.gpuMs),
    megabytes(step.fileBytes),
    megabytes(step.uploadedBytes),
    percent(step.uploadedBytes, load.uploadedBytes),
    megabytes(step.gpuBytes),
    megabytes(heapBytes),
  ];
  return `| ${cells.join(' | ')} |`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) console.log((await benchLora()).join('\n'));
