/** @file Driving the demo page in tests: fields, runs, files. */
import { readFile } from 'node:fs/promises';
import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright';
import { openPage, type Site, type WatchedPage } from './chromium.js';

/** Few steps on a small picture: enough to see everything happen. */
export const QUICK = { steps: '4', width: '128', height: '128' } as const;

/** Ends with a slash. */
export const GOLDEN_MODELS = new URL('../golden/models/', import.meta.url).pathname;

export async function openDemo(
  browser: Browser,
  site: Site,
  { query = '', ...options }: BrowserContextOptions & { readonly query?: string } = {},
): Promise<WatchedPage> {
  const watched = await openPage(browser, site, options);
  await watched.page.goto(site.url + query);
  await watched.page.locator('#scheduler option').first().waitFor({ state: 'attached' });
  await openSettings(watched.page);
  return watched;
}

export function openSettings(page: Page): Promise<void> {
  return page.locator('#settings').evaluate((details) => details.setAttribute('open', ''));
}

/** Fills fields by id: text, numbers, menus. */
export async function fill(page: Page, fields: Readonly<Record<string, string>>): Promise<void> {
  for (const [id, value] of Object.entries(fields)) {
    const control = page.locator(`#${id}`);
    if ((await control.evaluate((element) => element.tagName)) === 'SELECT') await control.selectOption(value);
    else await control.fill(value);
  }
}

/** Opens a model of this machine, under the name of its folder or file, and waits until it is chosen. */
export async function openModel(page: Page, kind: 'folder' | 'file', path: string): Promise<void> {
  await page.locator(`#${kind}-input`).setInputFiles(path);
  const name = path.slice(path.lastIndexOf('/') + 1);
  await page.locator('#announcer', { hasText: `Model ${name} is chosen.` }).waitFor();
}

/** Adds an entry to `lora`, `embeddings` or `controlNet`. Its fields have the ids `lora-1-weight` and so on. */
export async function addEntry(page: Page, list: 'lora' | 'embeddings' | 'controlNet'): Promise<Locator> {
  await page.locator('#add-ons').evaluate((details) => details.setAttribute('open', ''));
  await page.locator(`#add-${list}`).click();
  return page.locator(`#${list}-entries > li`).nth((await page.locator(`#${list}-entries > li`).count()) - 1);
}

/** Opens a file or folder beside the field that takes it, such as `VAE folder`, and waits until it is there. */
export async function openBeside(page: Page, label: string, path: string, within?: Locator): Promise<void> {
  await page.locator('#announcer').evaluate((announcer) => (announcer.textContent = ''));
  await (within ?? page.locator('#settings')).getByLabel(label, { exact: true }).setInputFiles(path);
  await page.locator('#announcer', { hasText: 'is open.' }).waitFor();
}

/** The path of the file behind the download link. */
export async function downloadPicture(page: Page): Promise<string> {
  const [file] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('link', { name: 'Download' }).click(),
  ]);
  return file.path();
}

/** What the fields hold. */
export async function values(page: Page, ids: readonly string[]): Promise<Readonly<Record<string, string>>> {
  const entries = ids.map(async (id) => [id, await page.locator(`#${id}`).inputValue()] as const);
  return Object.fromEntries(await Promise.all(entries));
}

/** Presses the button and waits until the run is over; rejects with what the page says when it failed. */
export async function generate(page: Page, timeoutMs = 60_000): Promise<void> {
  await page.locator('#generate').click();
  await page
    .locator('#cancel')
    .waitFor({ timeout: 5_000 })
    .catch(() => undefined); // it may already be over
  await page.locator('#generate').waitFor({ timeout: timeoutMs });
  const problems = await page.locator('.field .error, #problems > *').allTextContents();
  if (problems.length > 0) throw new Error(problems.join('\n'));
}

/** Drops a file in the middle of the page, or on something there, as a person does. */
export async function drop(page: Page, path: string, name: string, target = 'main'): Promise<void> {
  const base64 = (await readFile(path)).toString('base64');
  const transfer = await page.evaluateHandle(
    ([content, fileName]) => {
      const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
      const data = new DataTransfer();
      data.items.add(new File([bytes], fileName));
      return data;
    },
    [base64, name] as const,
  );
  await page.dispatchEvent(target, 'dragover', { dataTransfer: transfer });
  await page.dispatchEvent(target, 'drop', { dataTransfer: transfer });
}

/** The picture on the stage as raw RGBA, at its own size or scaled to `size`². */
export function picturePixels(page: Page, size?: number): Promise<readonly number[]> {
  return pixelsOf(page, '#picture', size);
}

/** The same of any picture. */
export function pixelsOf(page: Page, selector: string, size?: number): Promise<readonly number[]> {
  return page.locator(selector).evaluate(async (image: HTMLImageElement, side) => {
    await image.decode();
    const canvas = document.createElement('canvas');
    canvas.width = side ?? image.naturalWidth;
    canvas.height = side ?? image.naturalHeight;
    const context = canvas.getContext('2d');
    if (context === null) throw new Error('no 2d context');
    context.imageSmoothingQuality = 'high';
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    return [...context.getImageData(0, 0, canvas.width, canvas.height).data];
  }, size);
}

/** The last preview as raw RGBA. */
export function previewPixels(page: Page): Promise<readonly number[]> {
  return page.locator('#preview').evaluate((canvas: HTMLCanvasElement) => {
    const context = canvas.getContext('2d');
    if (context === null) throw new Error('no 2d context');
    return [...context.getImageData(0, 0, canvas.width, canvas.height).data];
  });
}
