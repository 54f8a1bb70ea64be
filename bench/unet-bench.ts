/**
 * @file What the benches of loading and of LoRAs share: a page with a profile on the disk, in which a UNet of Stable Diffusion 1.5's sizes is written,
 * loaded and changed.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type Page } from 'playwright';
import { findOrInstallChromium } from '../scripts/chromium.mjs';
import { openServedPage } from '../scripts/lib/served-page.js';
import { openHeap, type Heap } from './heap.js';

const CONFIG = '/test/golden/published/sd15-unet.json';

/** Layers of their real sizes, but half as many, and without the last level: what is compared grows alike. */
export const SMALL_UNET = {
  block_out_channels: [320, 640, 1280],
  layers_per_block: 1,
  down_block_types: ['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D'],
  up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D'],
} as const;

/** Made in the page by a function of its script. */
type Open = (configUrl: string, overrides: object) => Promise<unknown>;

export interface UNetBench {
  /** Of where the script runs. */
  readonly heap: Heap;
  /** What the browser keeps on the disk. */
  readonly profile: string;
  /** Calls a method of what was opened in the page. */
  call<T>(method: string, ...args: readonly unknown[]): Promise<T>;
  close(): Promise<void>;
}

/**
 * @param script URL of the page's script, which leaves a function of the name `open` there
 * @param overrides of the UNet's config
 */
export async function openUNetBench(script: string, open: string, overrides: object): Promise<UNetBench> {
  const served = await openServedPage({});
  const profile = await mkdtemp(join(tmpdir(), 'darkroom-profile-'));
  // With a profile on the disk, as visitors have: a private window keeps files, and Blobs, in memory.
  const browser = await chromium.launchPersistentContext(profile, {
    headless: true,
    args: ['--no-sandbox', '--enable-unsafe-webgpu'],
    executablePath: await findOrInstallChromium(),
  });
  const close = async (): Promise<void> => {
    await browser.close();
    await served.close();
    await rm(profile, { recursive: true });
  };
  try {
    const page = await browser.newPage();
    const heap = await openHeap(page);
    await page.goto(new URL('/scripts/page/', served.url).href);
    await page.addScriptTag({ type: 'module', url: script });
    await page.waitForFunction((name) => name in globalThis, open);
    await page.evaluate(
      async ([name, url, changes]) => {
        const make = Reflect.get(globalThis, name) as Open;
        Object.assign(globalThis, { bench: await make(url, changes) });
      },
      [open, CONFIG, overrides] as const,
    );
    return { heap, profile, call: (method, ...args) => callBench(page, method, args), close };
  } catch (error) {
    await close();
    throw error;
  }
}

function callBench<T>(page: Page, method: string, args: readonly unknown[]): Promise<T> {
  return page.evaluate(
    ([name, values]) =>
      (Reflect.get(globalThis, 'bench') as Record<string, (...a: readonly unknown[]) => unknown>)[name]?.(...values),
    [method, args] as const,
  ) as Promise<T>;
}
