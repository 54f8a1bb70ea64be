/** @file A real worker that is killed: the client notices at once, and the next call makes a picture with a new one. */
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
