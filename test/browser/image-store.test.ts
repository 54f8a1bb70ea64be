/** @file Pictures in a real browser: every form that a page may hold one in, and the store over reloads, tabs, quotas and without IndexedDB. */
import { readFile } from 'node:fs/promises';
import type { Browser, BrowserContext, Page } from 'playwright';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { launchChromium, serveDemo, type Site } from './chromium.js';
import type { Bench } from './image-store-page.js';

const CANNY = new URL('../golden/unit/opencv-canny/', import.meta.url);

let browser: Browser;
let site: Site;
let context: BrowserContext;
let tab: Page;

beforeAll(async () => {
  [browser, site] = await Promise.all([launchChromium(), serveDemo()]);
});
afterAll(async () => {
  await browser.close();
  await site.close();
});
beforeEach(async () => {
  context = await browser.newContext();
  tab = await openTab();
});
afterEach(() => context.close());

/** Each context is a browser of its own; its tabs share what is kept. */
async function openTab(): Promise<Page> {
  const page = await context.newPage();
  await page.goto(site.url);
  return withBench(page);
}

async function withBench(page: Page): Promise<Page> {
  await page.addScriptTag({ type: 'module', url: `/@fs${new URL('./image-store-page.ts', import.meta.url).pathname}` });
  await page.locator('body[data-ready]').waitFor({ timeout: 120_000 });
  return page;
}

/** Calls a function of the bench inside the page. */
function call<K extends keyof Bench>(
  page: Page,
  name: K,
  ...args: Parameters<Bench[K]>
): Promise<Awaited<ReturnType<Bench[K]>>> {
  return page.evaluate(
    ([what, values]) => {
      const bench = Reflect.get(globalThis, 'bench') as Record<string, (...all: readonly unknown[]) => unknown>;
      return bench[what]?.(...values);
    },
    [name, args] as readonly [string, readonly unknown[]],
  ) as Promise<Awaited<ReturnType<Bench[K]>>>;
}

const base64 = async (name: string): Promise<string> => (await readFile(new URL(name, CANNY))).toString('base64');
const rgbOf = (file: Uint8Array): Promise<Buffer> => sharp(file).toColourspace('srgb').removeAlpha().raw().toBuffer();

describe('pictures of a page', () => {
  it('arrive to the bit in every form that a page may hold them in', async () => {
    const { kept, drawn } = await call(tab, 'uploadEveryForm');
    expect(Object.keys(kept).sort()).toEqual(
      ['base64', 'bitmap', 'blob', 'canvas', 'data', 'file', 'image', 'uri', 'url'].sort(),
    );
    for (const [form, pixels] of Object.entries(kept)) expect(pixels, form).toEqual(drawn);
  });

  it('become guides with OpenCV’s edges, from PNG and from what the browser decodes', async () => {
    const golden = await rgbOf(await readFile(new URL('photo.100-200.png', CANNY)));
    const photo = await base64('photo.png');
    const webp = await sharp(Buffer.from(photo, 'base64')).webp({ lossless: true }).toBuffer();
    for (const input of [photo, `data:image/webp;base64,${webp.toString('base64')}`]) {
      const guide = await call(tab, 'guideOf', input);
      expect(Buffer.compare(await rgbOf(Buffer.from(guide.base64 ?? '', 'base64')), golden)).toBe(0);
    }
  });

  it('are refused by a typed error where they are none', async () => {
    expect(await call(tab, 'upload', 'house.png')).toBe('invalidImage');
    expect(await call(tab, 'upload', `data:image/jpeg;base64,${'/9j/4AAQSkZJRgABAQAAAQABAAD/'.repeat(4)}`)).toBe(
      'invalidImage',
    );
    expect(await call(tab, 'upload', `${site.url}no-such-picture.png`)).toMatch(/downloadFailed|invalidImage/); // Vite may answer with the page
    expect(await call(tab, 'upload', 'blob:http://127.0.0.1/none')).toBe('downloadFailed');
    expect(await call(tab, 'upload', crypto.randomUUID())).toBe('imageNotFound');
  });
});

describe('kept pictures', () => {
  it('are there after a reload, and in another tab', async () => {
    const { uuid, input } = await call(tab, 'guideOf', await base64('photo.png'));
    await tab.reload();
    await withBench(tab);
    const again = await call(tab, 'guideOf', input);
    expect(again.input).toBe(input);
    const other = await openTab();
    expect(await call(other, 'read', uuid)).toBeGreaterThan(100);
    await call(other, 'clear');
    expect(await call(tab, 'read', uuid)).toBe('imageNotFound');
  });

  it('go in the order of their last use, but never while another tab uses them', async () => {
    const other = await openTab();
    const kept = [];
    for (let i = 0; i < 4; i++) kept.push((await call(tab, 'put', 1e9, 1000)).imageUUID);
    const [first = '', second, third] = kept;
    await call(other, 'pin', first);
    expect((await call(tab, 'put', 3500, 1000)).evicted).toEqual([second, third]);
    await other.close(); // and with it what it held
    await expect.poll(async () => (await call(tab, 'put', 3500, 1000)).evicted).toContain(first);
  });

  it('of many tabs at once never exceed the limit together', async () => {
    const tabs = [tab, ...(await Promise.all([openTab(), openTab()]))];
    await Promise.all(tabs.map((page) => call(page, 'putMany', 10_000, 900, 12)));
    const total = (await call(tab, 'list')).reduce((sum, { bytes }) => sum + bytes, 0);
    expect(total).toBeLessThanOrEqual(10_000);
    expect(total).toBeGreaterThan(9000);
  });

  it('make room when the browser gives less than the limit, and what was tried in vain deletes nothing', async () => {
    const kept = [];
    for (let i = 0; i < 8; i++) kept.push((await call(tab, 'put', 1e9, 1000)).imageUUID);
    const { imageUUID, evicted, warnings, refused } = await call(tab, 'putIntoFullDisk', 1e9, 1000, 6);
    expect(refused).toBeGreaterThan(1);
    expect(warnings).toEqual([expect.stringMatching(/were deleted to make room/)]);
    const left = new Set((await call(tab, 'list')).map((one) => one.imageUUID));
    expect(left).toEqual(new Set([imageUUID, ...kept.filter((one) => !evicted.includes(one))]));
    expect(evicted).toEqual(kept.slice(0, evicted.length));
    const hopeless = await call(tab, 'putIntoFullDisk', 1e9, 1000, 99);
    expect(hopeless).toMatchObject({ evicted: [], warnings: [expect.stringMatching(/was not kept.*: No room\./)] });
    expect(new Set((await call(tab, 'list')).map((one) => one.imageUUID))).toEqual(left);
  });

  it('are in memory where there is no IndexedDB, which is said once', async () => {
    const { first, second, kept } = await call(tab, 'putWithoutDatabase');
    expect(first).toEqual([expect.stringMatching(/^Pictures are kept in memory only, until this page is closed: /)]);
    expect([second, kept]).toEqual([[], 2]);
  });
});
