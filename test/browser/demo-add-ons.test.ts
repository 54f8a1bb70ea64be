/** @file The demo's add-ons: entries become a request, act on the picture, and say what is wrong with them in their place. */
import { readFile } from 'node:fs/promises';
import type { Browser, Locator, Page } from 'playwright';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium, serveDemo, type Site, type WatchedPage } from './chromium.js';
import {
  addEntry,
  downloadPicture,
  drop,
  fill,
  generate,
  GOLDEN_MODELS,
  openBeside,
  openDemo,
  openModel,
  picturePixels,
  pixelsOf,
  QUICK,
  values,
} from './demo-page.js';

const GOLDEN = new URL('../golden/', import.meta.url).pathname;
const CANNY = `${GOLDEN}unit/opencv-canny/`;
const LIGHTHOUSE = 'an old lighthouse on a rocky coast, storm clouds, oil painting';

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

const open = async (): Promise<Page> => (demo = await openDemo(browser, site, { query: '?backend=wasm' })).page;

const file = (name: string): string => `${GOLDEN_MODELS}${name}/${name}.safetensors`;

/** RGBA of a PNG file. */
async function pixelsOfFile(path: string): Promise<readonly number[]> {
  return [
    ...(await sharp(await readFile(path))
      .toColourspace('srgb')
      .ensureAlpha()
      .raw()
      .toBuffer()),
  ];
}

/** The largest difference of two pictures' values. */
function distance(a: readonly number[], b: readonly number[]): number {
  expect(a.length).toBe(b.length);
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] ?? NaN))), 0);
}

/** The request that made the newest picture, as the page keeps it. */
function lastRequest(page: Page): Promise<unknown> {
  return page.evaluate(async () => {
    const answer = <T>(request: IDBRequest<T>): Promise<T> =>
      new Promise((resolve, reject) => {
        request.addEventListener('success', () => resolve(request.result));
        request.addEventListener('error', () => reject(new Error(request.error?.message)));
      });
    const database = await answer(indexedDB.open('darkroom-demo', 1));
    const pictures = await answer(database.transaction('pictures').objectStore('pictures').index('createdMs').getAll());
    database.close();
    const last: unknown = pictures.at(-1);
    return Reflect.get(Object(last), 'request') as unknown;
  });
}

/** Waits until the guide of the first ControlNet is drawn. */
async function guidePixels(page: Page, size: string): Promise<readonly number[]> {
  await page.locator('.guide-box [role=status]', { hasText: `The guide is ${size}.` }).waitFor({ timeout: 30_000 });
  return pixelsOf(page, '.guide-box img');
}

const pickPicture = (page: Page, path: string): Promise<void> =>
  page.locator('#controlNet-1-picture').setInputFiles(path);

const error = (page: Page, id: string): Locator => page.locator(`#${id}-error`);

describe('entries', () => {
  it('become every field of the request, which makes the golden picture; settings come back with them', async () => {
    const page = await open();
    await openModel(page, 'folder', `${GOLDEN_MODELS}sd15-tiny`);
    await openBeside(page, 'VAE folder', `${GOLDEN_MODELS}vae-sd15-b`);
    const first = await addEntry(page, 'lora');
    await addEntry(page, 'lora'); // stays empty
    await openBeside(page, 'LoRA file', file('lora-sd15-kohya'), first);
    const [style, negative] = [await addEntry(page, 'embeddings'), await addEntry(page, 'embeddings')];
    await openBeside(page, 'Embedding file', file('zxstyle'), style);
    await openBeside(page, 'Embedding file', file('zxneg'), negative);
    const net = await addEntry(page, 'controlNet');
    await openBeside(page, 'ControlNet folder', `${GOLDEN_MODELS}controlnet-sd15-edges`, net);
    expect(await page.locator('#model').inputValue()).toBe('sd15-tiny');
    expect(await page.locator('#model option').allTextContents()).toEqual(['Tinyworld, bundled', 'sd15-tiny']);
    expect(await page.locator('#add-ons-count').textContent()).toBe('5');
    await pickPicture(page, `${GOLDEN}cases/all-sd15/guide-0.png`);
    await guidePixels(page, '128 × 128');
    await fill(page, {
      ...{ width: '128', height: '128', steps: '5', CFGScale: '5.5', seed: '1234', clipSkip: '1' },
      ...{ positivePrompt: 'a zxstyle picture of the sea', negativePrompt: 'blurry, low quality, text' },
      ...{ scheduler: 'DPM++ 2M SDE Karras', 'lora-1-weight': '0.7' },
      ...{ 'embeddings-1-weight': '0.9', 'embeddings-2-weight': '-1', 'controlNet-1-weight': '0.6' },
      ...{ 'controlNet-1-from': '1', 'controlNet-1-to': '4', 'controlNet-1-mode': 'balanced' },
    });
    await generate(page, 240_000);
    const request = await lastRequest(page);
    expect(request).toMatchObject({
      vae: 'vae-sd15-b',
      lora: [{ model: 'lora-sd15-kohya.safetensors', weight: 0.7 }],
      embeddings: [
        { model: 'zxstyle.safetensors', weight: 0.9 },
        { model: 'zxneg.safetensors', weight: -1 },
      ],
      controlNet: [
        {
          model: 'controlnet-sd15-edges',
          guideImage: expect.stringMatching(/^[0-9a-f-]{36}$/) as unknown,
          ...{ weight: 0.6, startStep: 1, endStep: 4, controlMode: 'balanced' },
        },
      ],
    });
    const made = await picturePixels(page);
    expect(distance(made, await pixelsOfFile(`${GOLDEN}cases/all-sd15/image.png`))).toBeLessThanOrEqual(1);

    const path = await downloadPicture(page);
    await page.getByRole('button', { name: 'Remove LoRA 1' }).click();
    await drop(page, path, 'sea.png');
    const message = page.locator('#message', { hasText: 'Settings restored from sea.png.' });
    await message.waitFor();
    expect(await message.textContent()).not.toContain('Not used here');
    const entries = ['LoRA 1', 'Embedding 1', 'Embedding 2', 'ControlNet 1'];
    expect(await page.locator('.entry h3').allTextContents()).toEqual(entries);
    await page.getByRole('button', { name: 'Reuse settings' }).click();
    await page.locator('.guide-box [role=status]', { hasText: 'The guide is 128 × 128.' }).waitFor();
    await generate(page, 240_000);
    expect(await lastRequest(page)).toEqual(request);
  });

  it('a LoRA changes the picture as it should, and without it the picture is as before', async () => {
    const page = await open();
    await openModel(page, 'folder', `${GOLDEN_MODELS}sd15-tiny`);
    await fill(page, { ...QUICK, CFGScale: '7', seed: '1234', scheduler: 'Euler', positivePrompt: LIGHTHOUSE });
    await generate(page, 120_000);
    const plain = await picturePixels(page);
    await openBeside(page, 'LoRA file', file('lora-sd15-kohya'), await addEntry(page, 'lora'));
    await generate(page, 120_000);
    const changed = await picturePixels(page);
    expect(distance(changed, await pixelsOfFile(`${GOLDEN}cases/lora-kohya/image.png`))).toBeLessThanOrEqual(1);
    expect(distance(changed, plain)).toBeGreaterThan(1);
    await page.getByRole('button', { name: 'Remove LoRA 1' }).click();
    await generate(page, 120_000);
    expect(await picturePixels(page)).toEqual(plain);
  });

  it('are added and removed with the keyboard alone; the focus is never lost', async () => {
    const page = await open();
    const focused = (): Promise<string> =>
      page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.id ?? '');
    await page.locator('#add-ons > summary').press('Enter');
    await page.locator('#add-lora').press('Enter');
    expect(await focused()).toBe('lora-1-model');
    await page.keyboard.press('Tab');
    expect(await focused()).toBe('Open a LoRA file…');
    for (let i = 0; i < 2; i++) await page.keyboard.press('Tab');
    expect(await focused()).toBe('Weight, slider');
    await page.keyboard.press('ArrowRight');
    expect(await page.locator('#lora-1-weight').inputValue()).toBe('1.05');
    await page.locator('#add-lora').press('Enter');
    await page.keyboard.type('style');
    await page.getByRole('button', { name: 'Remove LoRA 1' }).press('Enter');
    expect(await focused()).toBe('Remove LoRA 1');
    expect(await page.locator('#lora-entries input[type=text]').inputValue()).toBe('style');
    await page.keyboard.press('Enter');
    expect(await focused()).toBe('add-lora');
    expect(await page.locator('#announcer').textContent()).toBe('LoRA 1 removed.');
    expect(await page.locator('#add-ons-count').textContent()).toBe('');

    await page.locator('#add-controlNet').press('Enter');
    const order: string[] = [];
    for (let i = 0; i < 20 && order.at(-1) !== 'controlNet-1-mode'; i++) {
      await page.keyboard.press('Tab');
      order.push(await focused());
    }
    expect(order).toEqual([
      ...['Open a ControlNet file…', 'Open a ControlNet folder…', 'Guide picture', '', 'controlNet-1-type'],
      ...['Weight, slider', 'controlNet-1-weight', 'controlNet-1-unit', 'controlNet-1-from', 'controlNet-1-to'],
      'controlNet-1-mode',
    ]);
  });
});

describe('guides', () => {
  it('are drawn by canny as OpenCV does, again with other thresholds, and are the picture itself otherwise', async () => {
    const page = await open();
    await addEntry(page, 'controlNet');
    await pickPicture(page, `${CANNY}photo.png`);
    expect(await guidePixels(page, '97 × 75')).toEqual(await pixelsOfFile(`${CANNY}photo.png`));
    const golden = async (thresholds: string): Promise<void> => {
      const expected = await pixelsOfFile(`${CANNY}photo.${thresholds}.png`);
      await expect.poll(() => guidePixels(page, '97 × 75'), { timeout: 30_000 }).toEqual(expected);
    };
    await fill(page, { 'controlNet-1-type': 'canny' });
    await golden('100-200');
    await fill(page, { 'controlNet-1-low': '50', 'controlNet-1-high': '255' });
    await page.locator('#controlNet-1-high').blur();
    await golden('50-255');
    await fill(page, { 'controlNet-1-type': 'none' });
    await expect
      .poll(() => guidePixels(page, '97 × 75'), { timeout: 30_000 })
      .toEqual(await pixelsOfFile(`${CANNY}photo.png`));
  });

  it('are dropped or pasted, which restores nothing then, or taken from the stage', async () => {
    const page = await open();
    await addEntry(page, 'controlNet');
    await page.getByRole('button', { name: 'Use the shown one' }).click();
    await page.locator('.guide-box [role=status]', { hasText: 'There is no picture on the stage yet.' }).waitFor();
    await drop(page, `${CANNY}photo.png`, 'photo.png', '.guide-box');
    await guidePixels(page, '97 × 75');
    expect(await page.locator('#drop').getAttribute('data-on')).toBeNull();

    await fill(page, { ...QUICK, steps: '1', seed: '7' });
    await page.getByRole('button', { name: 'Remove ControlNet 1' }).click();
    await generate(page);
    const made = await picturePixels(page);
    await page.getByRole('button', { name: 'Use as guide' }).click();
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('controlNet-2-model');
    expect(await guidePixels(page, '128 × 128')).toEqual(made);

    const base64 = (await readFile(`${CANNY}photo.png`)).toString('base64');
    await page.locator('#controlNet-2-model').evaluate((input, content) => {
      const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
      const clipboardData = new DataTransfer();
      clipboardData.items.add(new File([bytes], 'image.png', { type: 'image/png' }));
      input.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
    }, base64);
    await guidePixels(page, '97 × 75');
    expect(await page.locator('#message').textContent()).not.toMatch(/restored|no settings/);
    await page.getByRole('button', { name: 'Use the shown one' }).click();
    expect(await guidePixels(page, '128 × 128')).toEqual(made);
  });

  it('that need a network are not drawn before they are asked for; the network is opened where they are', async () => {
    const edges = `${GOLDEN}unit/preprocess-edges/`;
    const page = await open();
    await addEntry(page, 'controlNet');
    await fill(page, { 'controlNet-1-type': 'softedge' });
    await pickPicture(page, `${edges}picture.png`);
    await page.locator('.guide-box [role=status]', { hasText: 'Not drawn yet.' }).waitFor();
    await page.getByRole('button', { name: 'Draw the guide' }).click();
    await error(page, 'controlNet-1-type').getByText('darkroom:softedge@1').waitFor({ timeout: 30_000 });
    await page.getByLabel('network file', { exact: true }).setInputFiles(`${edges}ControlNetHED.safetensors`);
    const drawn = await guidePixels(page, '128 × 64');
    expect(distance(drawn, await pixelsOfFile(`${edges}softedge.png`))).toBeLessThanOrEqual(1);
    expect(await page.locator('.field .error').count()).toBe(0);
  });
});

describe('what is wrong', () => {
  it('stands at its own entry, also where entries before it are empty', async () => {
    const page = await open();
    for (let i = 0; i < 3; i++) await addEntry(page, 'lora');
    await fill(page, { ...QUICK, 'lora-1-model': 'mine', 'lora-3-model': 'nowhere', 'lora-3-weight': '4.5' });
    await addEntry(page, 'embeddings');
    await addEntry(page, 'controlNet');
    await addEntry(page, 'controlNet');
    await fill(page, { 'controlNet-2-model': 'edges', 'controlNet-2-from': '9', 'controlNet-2-weight': '1.5' });
    await page.locator('#generate').click();
    await error(page, 'lora-3-weight').waitFor();
    const ids = (): Promise<readonly string[]> =>
      page.locator('.field .error').evaluateAll((all) => all.map(({ id }) => id));
    expect(await ids()).toEqual(
      ['lora-3-weight', 'controlNet-2-picture', 'controlNet-2-weight', 'controlNet-2-from'].map((id) => `${id}-error`),
    );
    expect(await page.locator('#problems > *').count()).toBe(0);
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('lora-3-weight');

    await fill(page, { 'controlNet-2-model': '', 'lora-3-weight': '1' });
    await openBeside(page, 'LoRA file', file('lora-sd15-kohya'), page.locator('#lora-entries .entry').first());
    await page.locator('#generate').click();
    await error(page, 'lora-3-model').getByText('No model is registered as "nowhere"').waitFor({ timeout: 30_000 });
    expect(await ids()).toEqual(['lora-3-model-error']);
  });

  it('with a file stands where it was opened, and with a guide beside the guide', async () => {
    const page = await open();
    await openModel(page, 'folder', `${GOLDEN_MODELS}sd15-tiny`);
    await fill(page, QUICK);
    const [style, other] = [await addEntry(page, 'embeddings'), await addEntry(page, 'embeddings')];
    await openBeside(page, 'Embedding file', file('zxstyle'), style);
    await openBeside(page, 'Embedding file', file('lora-sd15-kohya'), other);
    await page.locator('#generate').click();
    await error(page, 'embeddings-2-model').getByText('a LoRA').waitFor({ timeout: 60_000 });
    expect(await page.locator('.field .error').count()).toBe(1);
    await page.getByRole('button', { name: 'Remove Embedding 2' }).click();

    await addEntry(page, 'controlNet');
    await pickPicture(page, new URL('../../package.json', import.meta.url).pathname);
    await error(page, 'controlNet-1-picture').waitFor();
    await pickPicture(page, `${CANNY}photo.png`);
    await fill(page, { 'controlNet-1-type': 'canny', 'controlNet-1-low': '300' });
    await page.locator('#generate').click();
    await error(page, 'controlNet-1-low').getByText('255').waitFor();
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('controlNet-1-low');
    expect(await page.locator('#history .thumb').count()).toBe(0);
    await fill(page, { 'controlNet-1-low': '50' });
    await page.locator('#controlNet-1-low').blur();
    await guidePixels(page, '97 × 75');
    expect(await page.locator('.field .error').count()).toBe(0);
  });

  it('with a file that is opened as a model keeps it from being one; its own field suggests it', async () => {
    const page = await open();
    await page.locator('#file-input').setInputFiles(file('lora-sd15-kohya'));
    await error(page, 'model').getByText('lora[]').waitFor({ timeout: 30_000 });
    expect(await values(page, ['model', 'steps'])).toEqual({ model: 'darkroom:1@1', steps: '20' });
    const suggested = page.locator('#open-lora option');
    expect(await suggested.evaluateAll((options) => options.map((option) => option.getAttribute('value')))).toEqual([
      'lora-sd15-kohya.safetensors',
    ]);
    // Opened beside its field, the same file has a name of its own there.
    await openBeside(page, 'VAE folder', `${GOLDEN_MODELS}vae-single`);
    await openBeside(page, 'refiner folder', `${GOLDEN_MODELS}sdxl-refiner-tiny`);
    expect(await values(page, ['model', 'vae', 'refinerModel'])).toEqual({
      ...{ model: 'darkroom:1@1', vae: 'vae-single', refinerModel: 'sdxl-refiner-tiny' },
    });
    expect(await page.locator('#model option').count()).toBe(1);
  });

  it('with files of one name is nothing: both can be used', async () => {
    const page = await open();
    const [first, second] = [await addEntry(page, 'controlNet'), await addEntry(page, 'controlNet')];
    const weights = (net: string): string => `${GOLDEN_MODELS}${net}/diffusion_pytorch_model.safetensors`;
    await openBeside(page, 'ControlNet file', weights('controlnet-sd15-edges'), first);
    await openBeside(page, 'ControlNet file', weights('controlnet-sdxl-edges'), second);
    const models = { 'controlNet-1-model': 'diffusion_pytorch_model.safetensors' };
    expect(await values(page, ['controlNet-1-model', 'controlNet-2-model'])).toEqual({
      ...models,
      'controlNet-2-model': 'diffusion_pytorch_model (2).safetensors',
    });
    await openBeside(page, 'ControlNet file', weights('controlnet-sd15-edges'), second);
    expect(await page.locator('#controlNet-2-model').inputValue()).toBe(models['controlNet-1-model']);
  });
});
