/** @file Several picture makers at once, in one page and in two tabs, one of them frozen for a while: all finish, each with the bytes that it makes alone. */
import type { Browser } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openBuiltTab, serveBuiltPage, type BuiltSite } from './built-page.js';
import { launchChromium } from './chromium.js';

let browser: Browser;
let site: BuiltSite;

beforeAll(async () => {
  [browser, site] = await Promise.all([launchChromium(), serveBuiltPage()]);
});
afterAll(async () => {
  await browser.close();
  await site.close();
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
  });
});
