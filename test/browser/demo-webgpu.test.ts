/** @file The demo makes the same picture with WebGPU as on the CPU. */
import type { Browser } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium, serveDemo, type Site } from './chromium.js';
import { fill, generate, openDemo, picturePixels, previewPixels } from './demo-page.js';

let browser: Browser;
let site: Site;

beforeAll(async () => {
  [browser, site] = await Promise.all([launchChromium(), serveDemo()]);
});
afterAll(async () => {
  await browser.close();
  await site.close();
});

/** One small picture; two steps, since a software adapter takes many seconds for each. */
async function make(
  backend: 'webgpu' | 'wasm',
): Promise<{ readonly pixels: readonly number[]; readonly device: string }> {
  const { page, complaints, strangers } = await openDemo(browser, site, { query: `?backend=${backend}` });
  await fill(page, { positivePrompt: 'a red house', width: '128', height: '128', steps: '2', seed: '77' });
  await generate(page, 400_000);
  const pixels = await picturePixels(page);
  expect(new Set(await previewPixels(page)).size).toBeGreaterThan(60);
  const device = (await page.locator('#device').textContent()) ?? '';
  expect(complaints).toEqual([]);
  expect(strangers).toEqual([]);
  expect(await page.locator('#cpu-notice').isVisible()).toBe(backend === 'wasm');
  await page.context().close();
  return { pixels, device };
}

describe('WebGPU', () => {
  it('makes the picture that the CPU makes', async () => {
    const gpu = await make('webgpu');
    const cpu = await make('wasm');
    expect(gpu.device).toMatch(/Runs on the GPU/);
    expect(cpu.device).toMatch(/Runs on the CPU/);
    const differences = gpu.pixels.map((value, i) => Math.abs(value - (cpu.pixels[i] ?? NaN)));
    // float32 on both sides; float16 (where the adapter has it) is allowed more.
    const most = gpu.device.includes('float32') ? 3 : 40;
    expect(Math.max(...differences)).toBeLessThanOrEqual(most);
    expect(new Set(gpu.pixels).size).toBeGreaterThan(60);
  });
});
