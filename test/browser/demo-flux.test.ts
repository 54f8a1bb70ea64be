/** @file FLUX.1 in the demo: a file that is only the transformer, the parts that it lacks, its own fields, and the pictures they make. */
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { safetensors, type Stored } from '../unit/assets/support.js';
import { launchChromium, serveDemo, type Site, type WatchedPage } from './chromium.js';
import { downloadPicture, fill, generate, GOLDEN_MODELS, openBeside, openDemo, openModel } from './demo-page.js';

const CASES = new URL('../golden/cases/', import.meta.url).pathname;
const FOX = {
  positivePrompt: 'a red fox asleep under a pine tree in fresh snow',
  width: '128',
  height: '128',
  CFGScale: '3.5',
  seed: '1234',
};

let browser: Browser;
let site: Site;
let demo: WatchedPage;
let folder: string;

beforeAll(async () => {
  [browser, site, folder] = await Promise.all([launchChromium(), serveDemo(), mkdtemp(join(tmpdir(), 'darkroom-'))]);
});
afterAll(async () => {
  await browser.close();
  await site.close();
  await rm(folder, { recursive: true });
});
afterEach(async () => {
  expect(demo.complaints).toEqual([]);
  expect(demo.strangers).toEqual([]);
  await demo.page.context().close();
});

const open = async (): Promise<Page> => (demo = await openDemo(browser, site, { query: '?backend=wasm' })).page;

/**
 * A folder with the shards of the tiny transformer as one file, without the other parts. Its config is beside it, since its heads are smaller
 * than those that files of this kind have.
 */
async function transformerFolder(): Promise<string> {
  const model = `${GOLDEN_MODELS}flux-dev-tiny/`;
  const names = (await readdir(`${model}transformer`)).filter((name) => name.endsWith('.safetensors'));
  const tensors = await Promise.all(names.map((name) => tensorsOf(`${model}transformer/${name}`)));
  const path = join(folder, 'fox');
  await mkdir(`${path}/config/transformer`, { recursive: true });
  await writeFile(`${path}/fox.safetensors`, safetensors(Object.fromEntries(tensors.flat())));
  for (const config of ['model_index.json', 'transformer/config.json'])
    await copyFile(model + config, `${path}/config/${config}`);
  return path;
}

interface Header {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [start: number, end: number];
}

async function tensorsOf(path: string): Promise<readonly (readonly [name: string, Stored])[]> {
  const file = await readFile(path);
  const length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, 8 + length)) as Readonly<Record<string, Header>>;
  return Object.entries(header)
    .filter(([name]) => name !== '__metadata__')
    .map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [start, end],
        },
      ]) => [name, { dtype, shape, bytes: file.subarray(8 + length + start, 8 + length + end) }],
    );
}

/** RGBA of a PNG file. */
async function pixelsOfFile(path: string): Promise<Buffer> {
  return sharp(path).toColourspace('srgb').ensureAlpha().raw().toBuffer();
}

/** That the downloaded picture is the golden one, but for a step of 255 in any value, as rounding may have it. */
async function expectGolden(page: Page, name: string): Promise<void> {
  const [got, wanted] = [
    await pixelsOfFile(await downloadPicture(page)),
    await pixelsOfFile(`${CASES}${name}/image-0.png`),
  ];
  expect(got.length).toBe(wanted.length);
  expect(got.reduce((most, value, i) => Math.max(most, Math.abs(value - (wanted[i] ?? NaN))), 0)).toBeLessThanOrEqual(
    1,
  );
}

/** Says other things of the model, which opens it again. */
async function choose(page: Page, fields: Readonly<Record<string, string>>): Promise<void> {
  for (const [id, value] of Object.entries(fields)) {
    await page.locator('#announcer').evaluate((node) => (node.textContent = ''));
    await fill(page, { [id]: value });
    await page.locator('#announcer', { hasText: 'Model fox is chosen.' }).waitFor();
  }
}

describe('FLUX.1', () => {
  it('from a folder, with guidance by the negative prompt', async () => {
    const page = await open();
    await openModel(page, 'folder', `${GOLDEN_MODELS}flux-dev-tiny`);
    await fill(page, {
      ...FOX,
      steps: '3',
      negativePrompt: 'blurry, low quality, jpeg artefacts',
      trueCFGScale: '2.5',
    });
    await generate(page);
    await expectGolden(page, 'flux-dev-true-cfg');
  });

  it('from a transformer without the other parts: says which are missing, and goes on when they are opened', async () => {
    const page = await open();
    await page.locator('#folder-input').setInputFiles(await transformerFolder());
    const error = page.locator('#model-error');
    await error
      .filter({ hasText: 'missing' })
      .or(error.filter({ hasText: 'without its' }))
      .waitFor();
    await openBeside(page, 'FLUX.1 parts folder', `${GOLDEN_MODELS}flux-dev-tiny`);
    await page.locator('#announcer', { hasText: 'Model fox is chosen.' }).waitFor();
    expect(await error.count()).toBe(0);
    await fill(page, { ...FOX, steps: '4' });
    await generate(page);
    await expectGolden(page, 'flux-dev-default');
    // in few bits it is another picture, of the same model
    await choose(page, { weightBits: '8' });
    await generate(page);
    await expect(expectGolden(page, 'flux-dev-default')).rejects.toThrow('to be less than or equal to');
    // of bfloat16, 16 bits are what is there
    await choose(page, { weightBits: '16', textEncoderBits: '16' });
    await generate(page);
    await expectGolden(page, 'flux-dev-default');
    await choose(page, { weightBits: '', textEncoderBits: '4' });
    await generate(page);
    await expect(expectGolden(page, 'flux-dev-default')).rejects.toThrow('to be less than or equal to');
  });

  it('several files that are picked at once are one model: the one of them that is a model', async () => {
    const page = await open();
    const single = join(GOLDEN_MODELS, 'sd2v-single', 'sd2v-single.safetensors');
    const other = join(GOLDEN_MODELS, 'lora-sd15-kohya', 'lora-sd15-kohya.safetensors');
    await page.locator('#file-input').setInputFiles([other, single]);
    // it is one whose tokenizer is smaller than the published one
    await page.locator('#model-error', { hasText: 'sd2v-single.safetensors/sd2v-single.safetensors' }).waitFor();
  });

  it('fields that do not fit the model say so', async () => {
    const page = await open();
    await fill(page, { ...FOX, steps: '2', trueCFGScale: '21' });
    await page.locator('#generate').click();
    await page.locator('#trueCFGScale-error').waitFor();
  });
});
