/** @file The demo as a page: errors beside fields, themes, phones, names for every control, contrast. */
import type { Browser } from 'playwright';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium, serveDemo, type Site, type WatchedPage } from './chromium.js';
import { addEntry, fill, generate, GOLDEN_MODELS, openBeside, openDemo, QUICK } from './demo-page.js';

let browser: Browser;
let site: Site;
let demo: WatchedPage;

beforeAll(async () => {
  [browser, site] = await Promise.all([launchChromium(), serveDemo()]);
});
afterAll(async () => {
  await browser.close();
  await site.close();
});
afterEach(async () => {
  expect(demo.complaints).toEqual([]);
  expect(demo.strangers).toEqual([]);
  await demo.page.context().close();
});

/** One entry of each kind, the last with all of its fields. */
async function addOneOfEach(page: WatchedPage['page']): Promise<void> {
  for (const list of ['lora', 'embeddings', 'controlNet'] as const) await addEntry(page, list);
  await fill(page, { 'controlNet-1-type': 'depth' });
  await fill(page, { 'controlNet-1-type': 'canny' });
}

const open = async (options: Parameters<typeof openDemo>[2] = {}): Promise<WatchedPage> =>
  (demo = await openDemo(browser, site, { query: '?backend=wasm', ...options }));

describe('errors', () => {
  it('stand beside every field at fault, the first of which gets the focus, and go away', async () => {
    const { page } = await open();
    await fill(page, { positivePrompt: 'x', width: '100', steps: '101', seed: 'many', numberResults: '1.5' });
    await page.locator('#generate').click();
    const error = (id: string): ReturnType<typeof page.locator> => page.locator(`#${id}-error`);
    await error('width').waitFor();
    expect(await error('positivePrompt').textContent()).toMatch(/positivePrompt.*2/);
    expect(await error('width').textContent()).toMatch(/width.*64/s);
    expect(await error('steps').textContent()).toMatch(/100/);
    expect(await error('seed').count()).toBe(1);
    expect(await error('numberResults').count()).toBe(1);
    expect(await error('height').count()).toBe(0);
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('positivePrompt');
    expect(await page.locator('#width').getAttribute('aria-invalid')).toBe('true');
    expect(await page.locator('#width').getAttribute('aria-describedby')).toBe('width-error');
    await fill(page, { ...QUICK, positivePrompt: 'a castle', seed: '3', numberResults: '1' });
    await generate(page);
    expect(await page.locator('[aria-invalid], .field .error').count()).toBe(0);
  });

  it('name a scheduler that this model cannot use beside the menu', async () => {
    const { page } = await open();
    await fill(page, { ...QUICK, scheduler: 'FlowMatchEulerDiscreteScheduler' });
    await page.locator('#generate').click();
    await page.locator('#scheduler-error', { hasText: 'FlowMatchEulerDiscreteScheduler' }).waitFor({ timeout: 30_000 });
  });

  it('of another VAE or a refiner stand beside these fields, whose help stays', async () => {
    const { page } = await open();
    const help = (id: string): Promise<string | null> => page.locator(`#${id}`).getAttribute('aria-describedby');
    await fill(page, { ...QUICK, steps: '10', refinerModel: 'darkroom:1@1', refinerStartStep: '11' });
    await fill(page, { refinerStartStepPercentage: '100' });
    await page.locator('#generate').click();
    await page.locator('#refinerStartStep-error', { hasText: '10' }).waitFor();
    await page.locator('#refinerStartStepPercentage-error', { hasText: '99' }).waitFor();
    await fill(page, { refinerStartStep: '', refinerStartStepPercentage: '80' });
    await page.locator('#generate').click();
    await page.locator('#refinerModel-error', { hasText: 'expected a Stable Diffusion XL refiner' }).waitFor();
    expect(await page.locator('.field .error, #problems > p').count()).toBe(1);
    expect(await help('refinerModel')).toBe('refiner-help refinerModel-error');
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('refinerModel');
    await fill(page, { refinerModel: '', vae: 'my-vae' });
    await page.locator('#generate').click();
    await page.locator('#vae-error', { hasText: 'No model is registered as "my-vae"' }).waitFor();
    expect([await help('vae'), await help('refinerModel')]).toEqual(['vae-help vae-error', 'refiner-help']);
    await fill(page, { vae: '' });
    await generate(page);
    expect(await help('vae')).toBe('vae-help');
  });

  it('say beside the refiner that it does not go with a model that is not Stable Diffusion XL', async () => {
    const { page } = await open();
    await openBeside(page, 'refiner folder', `${GOLDEN_MODELS}sdxl-refiner-tiny`);
    await fill(page, QUICK);
    await page.locator('#generate').click();
    await page.locator('#refinerModel-error', { hasText: 'it goes with a Stable Diffusion XL base' }).waitFor();
    expect(await page.locator('#refinerModel').getAttribute('aria-invalid')).toBe('true');
  });

  it('of an AIR that no address is known of name where to get it', async () => {
    const { page } = await open();
    await page.getByRole('button', { name: 'Model URL…' }).click();
    await page.locator('#model-url').fill('civitai:99999999@1');
    await page.locator('#model-url').press('Enter');
    await page.locator('#announcer', { hasText: 'Model civitai:99999999@1 is chosen.' }).waitFor();
    await page.locator('#generate').click();
    await page.locator('#model-error', { hasText: 'https://civitai.com/api/download/models/1' }).waitFor();
  });

  it('of a model address that is not there stand beside the model', async () => {
    const { page, complaints } = await open();
    await page.getByRole('button', { name: 'Model URL…' }).click();
    await page.locator('#model-url').fill(`${site.url}models/nowhere/`);
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await page.locator('#announcer', { hasText: 'is chosen' }).waitFor();
    await page.locator('#generate').click();
    await expect
      .poll(() => page.locator('.field .error, #problems > p').count(), { timeout: 30_000 })
      .toBeGreaterThan(0);
    expect(
      await page
        .locator('.field .error, #problems')
        .allTextContents()
        .then((texts) => texts.join(' ')),
    ).toMatch(/nowhere/);
    // The browser itself logs files that are missing; nothing else may be there.
    expect(complaints.filter((text) => !/404/.test(text))).toEqual([]);
    demo = { ...demo, complaints: [] };
  });
});

describe('themes', () => {
  it.each(['light', 'dark'] as const)('follow the system: %s; a choice is remembered', async (colorScheme) => {
    const { page } = await open({ colorScheme });
    const brightness = (): Promise<number> =>
      page.evaluate(() =>
        Math.max(...(getComputedStyle(document.body).backgroundColor.match(/\d+/g) ?? []).map(Number)),
      );
    const isDark = async (): Promise<boolean> => (await brightness()) < 60;
    expect(await isDark()).toBe(colorScheme === 'dark');
    await page.getByRole('button', { name: /Switch to the (light|dark) theme/ }).click();
    expect(await isDark()).toBe(colorScheme !== 'dark');
    await page.reload();
    await page.locator('#scheduler option').first().waitFor({ state: 'attached' });
    expect(await isDark()).toBe(colorScheme !== 'dark');
  });

  it.each(['light', 'dark'] as const)(
    '%s: every text has a contrast of at least 4.5 to its background',
    async (colorScheme) => {
      const { page } = await open({ colorScheme });
      await addOneOfEach(page);
      await fill(page, { width: '100', steps: '4' });
      await page.locator('#generate').click();
      await page.locator('#width-error').waitFor();
      await fill(page, QUICK);
      await generate(page);
      await page.mouse.move(0, 0);
      const { checked, poor } = await page.evaluate(() => {
        const context = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d', {
          willReadFrequently: true,
        });
        const paint = (colours: readonly string[]): readonly number[] => {
          for (const colour of ['#fff', ...colours]) {
            if (context === null) continue;
            context.fillStyle = colour;
            context.fillRect(0, 0, 1, 1);
          }
          return [...(context?.getImageData(0, 0, 1, 1).data ?? [])].slice(0, 3);
        };
        // WCAG 2.2, "relative luminance" and "contrast ratio"
        const linear = (byte: number): number =>
          byte / 255 <= 0.04045 ? byte / 255 / 12.92 : ((byte / 255 + 0.055) / 1.055) ** 2.4;
        const luminance = ([r = 0, g = 0, b = 0]: readonly number[]): number =>
          0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
        const backgrounds = (element: Element | null): readonly string[] =>
          element === null ? [] : [...backgrounds(element.parentElement), getComputedStyle(element).backgroundColor];
        const texts = [...document.body.querySelectorAll('*')].filter(
          (element) =>
            element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) &&
            element.closest(':disabled, .hidden, .drop, .skip, option, optgroup') === null &&
            [...element.childNodes].some(
              (node) => node.nodeType === Node.TEXT_NODE && (node.textContent ?? '').trim() !== '',
            ),
        );
        const tooWeak = texts.flatMap((element) => {
          const under = backgrounds(element);
          const [a, b] = [luminance(paint(under)), luminance(paint([...under, getComputedStyle(element).color]))];
          const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
          return ratio < 4.5
            ? [
                `${element.tagName} ${element.className} "${element.textContent?.trim().slice(0, 30)}" ${ratio.toFixed(2)}`,
              ]
            : [];
        });
        return { checked: texts.length, poor: tooWeak };
      });
      expect(checked).toBeGreaterThan(80);
      expect(poor).toEqual([]);
    },
  );
});

describe('small screens', () => {
  it.each([320, 360, 400])('%i px wide: nothing has to be scrolled sideways, at any time', async (width) => {
    const { page } = await open({ viewport: { width, height: 700 }, isMobile: true, hasTouch: true });
    const overflow = (): Promise<number> =>
      page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    expect(await overflow()).toBeLessThanOrEqual(0);
    await addOneOfEach(page);
    await page.getByRole('button', { name: 'Model URL…' }).click();
    await fill(page, {
      width: '100',
      'controlNet-1-unit': 'percent',
      'controlNet-1-model': 'Donaudampfschiffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft',
      'lora-1-weight': '9',
      positivePrompt: 'Donaudampfschiffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft',
    });
    await page.locator('#generate').click();
    await page.locator('#width-error').waitFor();
    expect(await overflow()).toBeLessThanOrEqual(0);
    await page.getByRole('button', { name: 'Remove ControlNet 1' }).click();
    await fill(page, { ...QUICK, numberResults: '2' });
    await generate(page);
    expect(await overflow()).toBeLessThanOrEqual(0);
  });
});

describe('for everyone', () => {
  it('every control, picture and region has a name', async () => {
    const { page } = await open();
    await addOneOfEach(page);
    await page.getByRole('button', { name: 'Model URL…' }).click();
    await fill(page, { ...QUICK, numberResults: '2' });
    await generate(page);
    const session = await page.context().newCDPSession(page);
    const { nodes } = await session.send('Accessibility.getFullAXTree');
    const roles = [
      'button',
      'textbox',
      'combobox',
      'slider',
      'spinbutton',
      'link',
      'image',
      'progressbar',
      'dialog',
      'region',
      'form',
      'heading',
    ];
    const named = nodes.filter((node) => !node.ignored && roles.includes(String(node.role?.value)));
    expect(named.length).toBeGreaterThan(65);
    const nameless = named.filter((node) => String(node.name?.value ?? '').trim() === '');
    expect(nameless.map((node) => String(node.role?.value))).toEqual([]);
  });

  it('can be used with the keyboard alone, in reading order, with a visible focus', async () => {
    const { page } = await open({ viewport: { width: 1280, height: 900 } });
    const focused = (): Promise<string> => page.evaluate(() => document.activeElement?.id ?? '');
    const order: string[] = [];
    for (let i = 0; i < 60 && order.at(-1) !== 'outputFormat'; i++) {
      await page.keyboard.press('Tab');
      const id = await focused();
      if (id !== '') order.push(id);
      const outline = await page.evaluate(() => getComputedStyle(document.activeElement ?? document.body).outlineStyle);
      expect(outline).not.toBe('none');
    }
    expect(order).toEqual([
      ...[
        'theme',
        'positivePrompt',
        'negativePrompt',
        'generate',
        'model',
        'open-folder',
        'open-file',
        'open-url',
        'width',
        'height',
      ],
      ...[
        'steps',
        'CFGScale',
        'scheduler',
        'seed',
        'seed-lock',
        'seed-random',
        'clipSkip',
        'numberResults',
        'promptWeighting',
        'vae',
        'refinerModel',
        'companions',
        'weightBits',
        'textEncoderBits',
        'maxSequenceLength',
        'trueCFGScale',
        'outputFormat',
      ],
    ]);
  });

  it('does not move anything for people who asked for less motion', async () => {
    const { page } = await open({ reducedMotion: 'reduce' });
    const countMoving = (): number =>
      [...document.querySelectorAll('*')].filter((element) => {
        const { transitionDuration, animationName } = getComputedStyle(element);
        return animationName !== 'none' || transitionDuration.split(', ').some((duration) => duration !== '0s');
      }).length;
    expect(await page.evaluate(countMoving)).toBe(0);
    await page.emulateMedia({ reducedMotion: 'no-preference' });
    expect(await page.evaluate(countMoving)).toBeGreaterThan(5);
  });
});
