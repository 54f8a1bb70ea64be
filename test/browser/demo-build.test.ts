/** @file The built demo, served from a folder of some site: everything is found, and the policy in its page is obeyed. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright';
import { build, preview } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium, type Site } from './chromium.js';
import { fill, generate, openDemo, QUICK } from './demo-page.js';

const configFile = new URL('../../vite.config.ts', import.meta.url).pathname;

let browser: Browser;
let site: Site;
let outDir: string;

beforeAll(async () => {
  outDir = await mkdtemp(join(tmpdir(), 'darkroom-demo-'));
  await build({ configFile, logLevel: 'error', build: { outDir, emptyOutDir: true } });
  const server = await preview({
    configFile,
    logLevel: 'error',
    base: '/some/folder/',
    build: { outDir },
    preview: { port: 0, host: '127.0.0.1' },
  });
  const url = server.resolvedUrls?.local[0] ?? '';
  site = { url, close: () => server.close() };
  browser = await launchChromium();
});
afterAll(async () => {
  await browser.close();
  await site.close();
  await rm(outDir, { recursive: true, force: true });
});

describe('the built demo', () => {
  it('makes a picture from a folder of a site, under a policy without inline scripts', async () => {
    expect(site.url).toMatch(/\/some\/folder\/$/);
    const { page, complaints, strangers } = await openDemo(browser, site, { query: '?backend=wasm' });
    const policy = await page.locator('meta[http-equiv="Content-Security-Policy"]').getAttribute('content');
    expect(policy).toMatch(/script-src 'self' 'wasm-unsafe-eval';/);
    expect(policy).not.toMatch(/unsafe-inline|'unsafe-eval'/);
    await fill(page, { ...QUICK, seed: '4' });
    await generate(page);
    expect(await page.locator('#details').textContent()).toMatch(/Seed 4/);
    expect(await page.evaluate(() => document.querySelectorAll('script:not([src])').length)).toBe(0);
    expect(complaints).toEqual([]);
    expect(strangers).toEqual([]);
  });
});
