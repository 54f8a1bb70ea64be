/** @file Real workers that are killed, or caught in a loop: the client notices, and the next call makes a picture with a new one. */
import type { Browser } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium, openPage, serveDemo, type Site } from './chromium.js';

let browser: Browser;
let site: Site;

beforeAll(async () => {
  [browser, site] = await Promise.all([launchChromium(), serveDemo()]);
});
afterAll(async () => {
  await browser.close();
  await site.close();
});

describe('a worker that is terminated behind the back of the client', () => {
  it('is noticed without any event, and replaced', async () => {
    const { page, complaints } = await openPage(browser, site);
    await page.goto(site.url);
    await page.addScriptTag({ type: 'module', url: `/@fs${new URL('./survival-page.ts', import.meta.url).pathname}` });
    const body = page.locator('body[data-report]');
    await body.waitFor({ timeout: 120_000 });
    const report: unknown = JSON.parse((await body.getAttribute('data-report')) ?? '');
    expect(report).toMatchObject({ fate: ['workerDied', 'workerDied'], workers: 2, width: 128, later: 'disposed' });
    expect(report).toHaveProperty('noticedAfterMs', expect.closeTo(0, -4)); // within seconds, not the ten minutes of silence
    expect(complaints).toEqual([]);
    await page.context().close();
  });
});

describe('a worker that is caught in a loop', () => {
  it('is noticed in seconds, since it is in no call that may block it, and replaced', async () => {
    const { page } = await openPage(browser, site);
    await page.goto(site.url);
    await page.addScriptTag({ type: 'module', url: `/@fs${new URL('./looping-page.ts', import.meta.url).pathname}` });
    const body = page.locator('body[data-report]');
    await body.waitFor({ timeout: 240_000 });
    const report = JSON.parse((await body.getAttribute('data-report')) ?? '') as { readonly noticedAfterMs: number };
    expect(report).toMatchObject({ fate: 'workerDied', workers: 2, pictures: [1, 1] });
    expect(report.noticedAfterMs).toBeGreaterThan(9_000);
    expect(report.noticedAfterMs).toBeLessThan(60_000);
    await page.context().close();
  });
});
