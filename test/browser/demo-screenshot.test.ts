/** @file Takes docs/screenshot.png, when asked: `DARKROOM_SCREENSHOT=1 npx vitest run --project browser demo-screenshot`. */
import { describe, expect, it } from 'vitest';
import { launchChromium, serveDemo } from './chromium.js';
import { fill, generate, openDemo } from './demo-page.js';

const PROMPTS = [
  ['a penguin', '12'],
  ['a castle', '3'],
  ['a blue star', '5'],
  ['a white ghost', '8'],
  ['a purple mushroom', '21'],
  ['a sailing boat on the sea', '6'],
  ['a red balloon over green hills', '2'],
] as const;

describe.runIf(process.env['DARKROOM_SCREENSHOT'] === '1')(
  'docs/screenshot.png (only with DARKROOM_SCREENSHOT=1)',
  () => {
    it('shows a finished picture and the contact sheet', async () => {
      const [browser, site] = await Promise.all([launchChromium(), serveDemo()]);
      const options = { viewport: { width: 1280, height: 1120 }, colorScheme: 'dark', query: '?backend=wasm' } as const;
      const { page } = await openDemo(browser, site, options);
      for (const [positivePrompt, seed] of PROMPTS) {
        await fill(page, { positivePrompt, seed, steps: '25' });
        await generate(page);
      }
      await page.mouse.move(0, 0);
      await page.evaluate(() => document.querySelectorAll('*').forEach((element) => element.scrollTo(0, 0)));
      await page.waitForTimeout(1_000); // the picture fades in
      await page.screenshot({ path: new URL('../../docs/screenshot.png', import.meta.url).pathname });
      expect(await page.locator('#history .thumb').count()).toBe(PROMPTS.length);
      await browser.close();
      await site.close();
    });
  },
);
