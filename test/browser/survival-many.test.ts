/** @file Several picture makers at once, in one page and in two tabs, one of them frozen for a while: all finish, each with the bytes that it makes alone. */
import type { Browser } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openBuiltTab, policyFor, serveBuiltPage, type BuiltSite } from './built-page.js';
import { launchChromium } from './chromium.js';
import { serveModel, type ServedModel } from './served-model.js';

let browser: Browser;
let site: BuiltSite;
let model: ServedModel;

beforeAll(async () => {
  model = await serveModel();
  const headers = { 'Content-Security-Policy': policyFor(model.origin) };
  [browser, site] = await Promise.all([launchChromium(), serveBuiltPage(headers)]);
});
afterAll(async () => {
  await browser.close();
  await site.close();
  await model.close();
});

const PROMPTS = ['a red house', 'a blue star'] as const;

describe('several picture makers', () => {
  it('in one page and in two tabs get the pictures that one gets alone', async () => {
    const one = await openBuiltTab(browser, site);
    const alone = [await one.call('make', 'a', PROMPTS[0], 7), await one.call('make', 'a', PROMPTS[1], 7)];
    expect(alone[0]).toMatch(/^[0-9a-f]{64}$/);
    expect(alone[0]).not.toBe(alone[1]);
    const two = await openBuiltTab(browser, site, one.context);
    const together = await Promise.all([
      one.call('make', 'a', PROMPTS[0], 7),
      one.call('make', 'b', PROMPTS[1], 7),
      two.call('make', 'a', PROMPTS[1], 7),
      two.call('make', 'b', PROMPTS[0], 7),
    ]);
    expect(together).toEqual([alone[0], alone[1], alone[1], alone[0]]);
    // A tab in the background may be stopped in the middle of a picture.
    const frozen = two.call('make', 'a', PROMPTS[0], 7);
    const devtools = await two.context.newCDPSession(two.page);
    await devtools.send('Page.setWebLifecycleState', { state: 'frozen' });
    expect(await one.call('make', 'a', PROMPTS[0], 7)).toBe(alone[0]);
    await devtools.send('Page.setWebLifecycleState', { state: 'active' });
    expect(await frozen).toBe(alone[0]);
    // One that goes takes nothing of the other with it.
    await one.call('dispose', 'b');
    await two.page.close();
    expect(await one.call('make', 'a', PROMPTS[1], 7)).toBe(alone[1]);
    expect(one.said).toEqual([]);
    await one.context.close();
  });

  it('that are frozen in the middle of a download, or hidden behind another tab, go on with the same bytes', async () => {
    const file = model.files.get(model.weights) ?? { bytes: new Uint8Array(0) };
    const asked = (): number => model.log.filter(({ path }) => path === model.weights).length;
    const one = await openBuiltTab(browser, site);
    // The rest of the weights comes only when the tab was frozen for a while.
    model.files.set(model.weights, {
      ...file,
      fault: ({ nth }) => (nth >= 1 ? { kind: 'status', status: 503 } : undefined),
    });
    const frozen = one.call('make', 'a', PROMPTS[0], 7, model.source);
    await expect.poll(asked, { timeout: 120_000 }).toBeGreaterThan(1);
    const devtools = await one.context.newCDPSession(one.page);
    await devtools.send('Page.setWebLifecycleState', { state: 'frozen' });
    const front = await one.context.newPage();
    await front.bringToFront();
    model.files.set(model.weights, file);
    await front.waitForTimeout(1500);
    await devtools.send('Page.setWebLifecycleState', { state: 'active' });
    const picture = await frozen;
    expect(picture).toMatch(/^[0-9a-f]{64}$/);
    expect((await one.call('download'))[0]).toBeGreaterThan(0);
    // Still behind the other tab; another maker reads what was stored.
    const requests = model.log.length;
    expect(await one.call('make', 'b', PROMPTS[0], 7, model.source)).toBe(picture);
    expect(model.log.length).toBe(requests);
    expect(one.said.filter((line) => !line.includes('503'))).toEqual([]);
    await one.context.close();
  });
});
