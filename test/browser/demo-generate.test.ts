/** @file The demo makes pictures on the CPU: progress, previews, files, history, abort. Real worker, real model, real browser. */
import { readFile } from 'node:fs/promises';
import type { Browser } from 'playwright';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { readPictureRequest } from '../../src/index.js';
import { launchChromium, serveDemo, type Site, type WatchedPage } from './chromium.js';
import {
  downloadPicture,
  drop,
  fill,
  generate,
  GOLDEN_MODELS,
  openBeside,
  openDemo,
  openModel,
  picturePixels,
  previewPixels,
  QUICK,
  values,
} from './demo-page.js';

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

const open = async (): Promise<WatchedPage> => (demo = await openDemo(browser, site, { query: '?backend=wasm' }));

/** Pearson's correlation of two pictures' RGB values. */
function correlation(a: readonly number[], b: readonly number[]): number {
  const isColour = (_: number, i: number): boolean => i % 4 !== 3;
  const [x, y] = [a.filter(isColour), b.filter(isColour)];
  const mean = (list: readonly number[]): number => list.reduce((sum, value) => sum + value, 0) / list.length;
  const [mx, my] = [mean(x), mean(y)];
  const covariance = mean(x.map((value, i) => (value - mx) * ((y[i] ?? NaN) - my)));
  return covariance / Math.sqrt(mean(x.map((v) => (v - mx) ** 2)) * mean(y.map((v) => (v - my) ** 2)));
}

describe('a run', () => {
  it('shows each step and a preview, and ends with a picture that the preview foretold', async () => {
    const { page } = await open();
    await page.evaluate(() => {
      const seen: string[] = [];
      Reflect.set(window, 'seenProgress', seen);
      const note = (): number => seen.push(document.querySelector('#progress-text')?.textContent ?? '');
      const target = document.querySelector('#progress-text');
      if (target !== null)
        new MutationObserver(note).observe(target, { childList: true, characterData: true, subtree: true });
    });
    await fill(page, { ...QUICK, steps: '20', seed: '7', positivePrompt: 'a red house' });
    await generate(page);
    const seen = (await page.evaluate(() => Reflect.get(window, 'seenProgress') as unknown)) as readonly string[];
    const steps = seen.flatMap((text) => /step (\d+) of 20/.exec(text)?.[1] ?? []).map(Number);
    expect(steps).toEqual([...steps].sort((a, b) => a - b));
    expect(new Set(steps).size).toBeGreaterThanOrEqual(10);
    expect(await page.locator('#print').getAttribute('data-state')).toBe('done');
    expect(
      await page.locator('#preview').evaluate((canvas: HTMLCanvasElement) => [canvas.width, canvas.height]),
    ).toEqual([16, 16]);
    expect(correlation(await previewPixels(page), await picturePixels(page, 16))).toBeGreaterThan(0.9);
    expect(await page.locator('#picture').getAttribute('alt')).toBe('a red house');
    expect(await page.locator('#details').textContent()).toMatch(/Seed 7.*128 × 128.*on the CPU/);
    expect(await page.locator('#cpu-notice').textContent()).toMatch(/Running on the CPU/);
    expect(await page.locator('#announcer').textContent()).toBe('The picture is ready.');
  });

  it('makes two pictures with seeds that follow each other', async () => {
    const { page } = await open();
    await fill(page, { ...QUICK, seed: '41', numberResults: '2' });
    await generate(page);
    const labels = await page
      .locator('#results .thumb')
      .evaluateAll((thumbs) => thumbs.map((thumb) => thumb.getAttribute('aria-label')));
    expect(labels).toEqual(['Show: a red house, seed 41', 'Show: a red house, seed 42']);
    const second = await picturePixels(page);
    await page.locator('#results .thumb').first().click();
    expect(await page.locator('#details').textContent()).toMatch(/Seed 41/);
    expect(await picturePixels(page)).not.toEqual(second);
  });

  it('stops on Escape, and the next run works', async () => {
    const { page } = await open();
    await fill(page, { ...QUICK, steps: '100' });
    await page.locator('#positivePrompt').press('Control+Enter');
    await page.locator('#progress-text', { hasText: 'step' }).waitFor({ timeout: 60_000 });
    await page.keyboard.press('Escape');
    await page.locator('#message', { hasText: 'Cancelled.' }).waitFor({ timeout: 5_000 });
    expect(await page.locator('#history .thumb').count()).toBe(0);
    await fill(page, QUICK);
    await generate(page);
    expect(await page.locator('#history .thumb').count()).toBe(1);
  });

  it('gives the same picture for the same seed, and a new seed each time otherwise', async () => {
    const { page } = await open();
    await fill(page, QUICK);
    await generate(page);
    const first = await picturePixels(page);
    const seed = await page.locator('#seed').inputValue();
    expect(seed).toMatch(/^\d+$/);
    await generate(page);
    expect(await page.locator('#seed').inputValue()).not.toBe(seed);
    expect(await picturePixels(page)).not.toEqual(first);
    await page.locator('#history .thumb').nth(1).click();
    await page.getByRole('button', { name: 'Reuse seed' }).click();
    expect(await page.locator('#seed-lock').getAttribute('aria-pressed')).toBe('true');
    await generate(page);
    expect(await picturePixels(page)).toEqual(first);
  });
});

describe('settings that few pictures need', () => {
  it('weights in the prompt change the picture, and only where their syntax is chosen', async () => {
    const { page } = await open();
    const make = async (positivePrompt: string, promptWeighting: string): Promise<readonly number[]> => {
      await fill(page, { ...QUICK, seed: '7', positivePrompt, promptWeighting });
      await generate(page);
      return picturePixels(page);
    };
    const plain = await make('a red house', '');
    expect(await make('a (red)1.0 house', 'compel')).toEqual(plain);
    const weighted = await make('a (red)1.5 house', 'compel');
    expect(weighted).not.toEqual(plain);
    expect(await make('a (red:1.5) house', 'sdEmbeds')).not.toEqual(plain);
    expect(await make('a (red)1.5 house', '')).not.toEqual(weighted);

    await page.locator('#history .thumb').nth(2).click();
    await page.getByRole('button', { name: 'Reuse settings' }).click();
    expect(await values(page, ['positivePrompt', 'promptWeighting'])).toEqual({
      positivePrompt: 'a (red)1.5 house',
      promptWeighting: 'compel',
    });
    await generate(page);
    expect(await picturePixels(page)).toEqual(weighted);
  });

  it('another VAE decodes the same latents to another picture', async () => {
    const { page } = await open();
    await fill(page, { ...QUICK, seed: '7' });
    await generate(page);
    const [own, preview] = [await picturePixels(page), await previewPixels(page)];
    await openBeside(page, 'VAE folder', `${GOLDEN_MODELS}vae-single`);
    const suggested = page.locator('#open-vaes option');
    expect(await suggested.evaluateAll((options) => options.map((option) => option.getAttribute('value')))).toEqual([
      'darkroom:1@1',
      'vae-single',
    ]);
    expect(await values(page, ['model', 'vae'])).toEqual({ model: 'darkroom:1@1', vae: 'vae-single' });
    await generate(page);
    expect(await previewPixels(page)).toEqual(preview);
    const decoded = await picturePixels(page);
    expect(decoded.length).toBe(own.length);
    expect(decoded).not.toEqual(own);
  });

  it('a refiner takes the last steps; the file remembers it, and a file without one empties the fields', async () => {
    const { page } = await open();
    await openModel(page, 'folder', `${GOLDEN_MODELS}sdxl-tiny`);
    await fill(page, { ...QUICK, seed: '7' });
    await generate(page);
    const [base, basePath] = [await picturePixels(page), await downloadPicture(page)];
    const refiner = { refinerModel: 'sdxl-refiner-tiny', refinerStartStep: '', refinerStartStepPercentage: '50' };
    await openBeside(page, 'refiner folder', `${GOLDEN_MODELS}sdxl-refiner-tiny`);
    await fill(page, { refinerStartStepPercentage: '50' });
    await generate(page);
    const [refined, refinedPath] = [await picturePixels(page), await downloadPicture(page)];
    expect(refined).not.toEqual(base);

    await drop(page, basePath, 'base.png');
    await page.locator('#message', { hasText: 'Settings restored from base.png.' }).waitFor();
    expect(await page.locator('#refinerModel').inputValue()).toBe('');
    expect(await page.locator('#refinerStartStepPercentage').isDisabled()).toBe(true);
    await drop(page, refinedPath, 'refined.png');
    await page.locator('#message', { hasText: /^Settings restored from refined.png.$/ }).waitFor();
    expect(await values(page, Object.keys(refiner))).toEqual(refiner);
    await generate(page);
    expect(await picturePixels(page)).toEqual(refined);
  });
});

describe('files', () => {
  it('a downloaded PNG holds its settings; dropped on the page it restores them', async () => {
    const { page } = await open();
    const settings = {
      ...QUICK,
      positivePrompt: 'a blue star',
      negativePrompt: 'a house',
      CFGScale: '5.5',
      seed: '123456789',
      clipSkip: '1',
      scheduler: 'DPM++ 2M Karras',
    };
    await fill(page, settings);
    await generate(page);
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('link', { name: 'Download' }).click(),
    ]);
    expect(download.suggestedFilename()).toBe('a-blue-star-123456789.png');
    const path = await download.path();
    const restored = await readPictureRequest(new Blob([await readFile(path)]));
    expect(restored?.request).toMatchObject({
      positivePrompt: 'a blue star',
      model: 'darkroom:1@1',
      steps: 4,
      seed: 123456789,
      CFGScale: 5.5,
    });

    await page.reload();
    await page.locator('#scheduler option').first().waitFor({ state: 'attached' });
    await fill(page, { positivePrompt: 'something else', steps: '9' });
    await drop(page, path, 'star.png');
    await page.locator('#message', { hasText: 'Settings restored from star.png.' }).waitFor();
    expect(await values(page, Object.keys(settings))).toEqual(settings);
  });

  it('says so when a file holds no settings', async () => {
    const { page } = await open();
    await drop(page, new URL('../../package.json', import.meta.url).pathname, 'package.json');
    await page.locator('#message', { hasText: 'There are no settings in package.json.' }).waitFor();
  });

  it('restores a pasted parameters text', async () => {
    const { page } = await open();
    const text =
      'a white ghost\nNegative prompt: fog\nSteps: 12, Sampler: Euler a, CFG scale: 6, Seed: 99, Size: 256x192';
    await page.evaluate((pasted) => {
      const clipboardData = new DataTransfer();
      clipboardData.setData('text', pasted);
      document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true }));
    }, text);
    await page.locator('#message', { hasText: 'Settings restored' }).waitFor();
    expect(
      await values(page, [
        'positivePrompt',
        'negativePrompt',
        'steps',
        'scheduler',
        'CFGScale',
        'seed',
        'width',
        'height',
      ]),
    ).toEqual({
      positivePrompt: 'a white ghost',
      negativePrompt: 'fog',
      steps: '12',
      scheduler: 'Euler a',
      CFGScale: '6',
      seed: '99',
      width: '256',
      height: '192',
    });
  });

  it.each([
    ['JPG', 'jpeg', 'jpg'],
    ['WEBP', 'webp', 'webp'],
  ])('writes %s', async (format, type, extension) => {
    const { page } = await open();
    await fill(page, { ...QUICK, outputFormat: format, seed: '1' });
    await fill(page, { outputQuality: '80' });
    await generate(page);
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('link', { name: 'Download' }).click(),
    ]);
    expect(download.suggestedFilename()).toBe(`a-red-house-1.${extension}`);
    const { default: sharp } = await import('sharp');
    expect(await sharp(await readFile(await download.path())).metadata()).toMatchObject({
      format: type,
      width: 128,
      height: 128,
    });
  });

  it('opens a model folder and makes the same picture with it as with the bundled model', async () => {
    const { page } = await open();
    await fill(page, { ...QUICK, seed: '5' });
    await generate(page);
    const bundled = await picturePixels(page);
    await page.locator('#folder-input').setInputFiles(new URL('../../models/tinyworld', import.meta.url).pathname);
    await page.locator('#announcer', { hasText: 'Model tinyworld is chosen.' }).waitFor();
    expect(await page.locator('#model').inputValue()).toBe('tinyworld');
    expect(await page.locator('#width').inputValue()).toBe('');
    await fill(page, { ...QUICK, CFGScale: '4.5' });
    await generate(page);
    expect(await picturePixels(page)).toEqual(bundled);
  });
});

describe('a checkpoint of one file', () => {
  const NAME = 'sd15-single-bf16-junk';

  it('makes a picture where a config folder lies beside it', async () => {
    const { page } = await open();
    await openModel(page, 'folder', GOLDEN_MODELS + NAME);
    await fill(page, { ...QUICK, seed: '5' });
    await generate(page);
    expect(await page.locator('#details').textContent()).toMatch(/Seed 5.*128 × 128/);
  });

  it('opened alone is taken for a published model; where it is none, the page says what would help', async () => {
    const { page } = await open();
    await page.locator('#file-input').setInputFiles(`${GOLDEN_MODELS}${NAME}/${NAME}.safetensors`);
    await page
      .locator('#model-error', { hasText: 'in a folder "config" beside the file' })
      .waitFor({ timeout: 60_000 });
    expect(await page.locator('#model').inputValue()).toBe('darkroom:1@1');
  });
});

describe('the contact sheet', () => {
  it('survives a reload; pictures can be shown again, deleted, and cleared', async () => {
    const { page } = await open();
    await fill(page, { ...QUICK, seed: '10', numberResults: '3' });
    await generate(page);
    const last = await picturePixels(page);
    await page.reload();
    const thumbs = page.locator('#history .thumb');
    await thumbs.nth(2).waitFor();
    await thumbs.first().click();
    expect(await page.locator('#details').textContent()).toMatch(/Seed 12/);
    expect(await picturePixels(page)).toEqual(last);
    await page.getByRole('button', { name: 'Delete: a red house, seed 11' }).click();
    await expect.poll(() => thumbs.count()).toBe(2);
    await page.getByRole('button', { name: 'Clear…' }).click();
    await page.getByRole('button', { name: 'Keep them' }).click();
    expect(await thumbs.count()).toBe(2);
    await page.getByRole('button', { name: 'Clear…' }).click();
    await page.getByRole('button', { name: 'Delete all' }).click();
    await expect.poll(() => thumbs.count()).toBe(0);
    await page.reload();
    await page.locator('#scheduler option').first().waitFor({ state: 'attached' });
    await page.locator('#history-empty').waitFor();
    expect(await thumbs.count()).toBe(0);
  });
});
