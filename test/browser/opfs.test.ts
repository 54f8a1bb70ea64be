/** @file Reading files of the private file system in place, in a real Chromium: alone, from two tabs, and while they are written or deleted. */
import type { BrowserContext, Page } from 'playwright';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openServedPage, type ServedPage } from '../../scripts/lib/served-page.js';
import type { OpfsWorker } from './opfs-worker.js';

const BYTES = 3 << 20;

let served: ServedPage;
let context: BrowserContext;
let tabs: readonly [Page, Page];
beforeAll(async () => {
  served = await openServedPage({});
  const browser = served.page.context().browser();
  if (browser === null) throw new Error('the page has no browser');
  context = await browser.newContext();
  tabs = [await openTab(), await openTab()];
});
afterAll(async () => {
  await context.close();
  await served.close();
});

async function openTab(): Promise<Page> {
  const page = await context.newPage();
  await page.goto(new URL('/scripts/page/', served.url).href);
  await page.addScriptTag({ type: 'module', url: '/test/browser/opfs-page.ts' });
  await page.waitForFunction(() => 'opfs' in globalThis);
  return page;
}

function call<M extends keyof OpfsWorker>(
  tab: 0 | 1,
  method: M,
  ...args: Parameters<OpfsWorker[M]>
): ReturnType<OpfsWorker[M]> {
  return tabs[tab].evaluate(
    ([name, values]) =>
      (Reflect.get(globalThis, 'opfs') as Record<string, (...a: readonly unknown[]) => unknown>)[name]?.(...values),
    [method, args] as const,
  ) as ReturnType<OpfsWorker[M]>;
}

it('reads what was written, into the memory that it is given', async () => {
  await call(0, 'write', 'plain', BYTES, 7);
  expect(await call(0, 'view', 'plain')).toBe(BYTES);
  expect(await call(0, 'read', 'plain', 0, 3, 10)).toEqual({ values: [7, 7, 7], inRoom: true });
  expect(await call(0, 'read', 'plain', BYTES - 2, BYTES, 2)).toEqual({ values: [7, 7], inRoom: true });
  expect(await call(0, 'read', 'plain', 5, 8, 2)).toEqual({ values: [7, 7, 7], inRoom: false }); // too small
  expect(await call(0, 'read', 'plain', 5, 5)).toEqual({ values: [], inRoom: true });
});

it('reads in two tabs at once', async () => {
  await call(0, 'write', 'both', BYTES, 8);
  for (const tab of [0, 1] as const) await call(tab, 'view', 'both');
  for (const tab of [0, 1, 0, 1] as const)
    expect(await call(tab, 'read', 'both', 9, 10, 1)).toEqual({ values: [8], inRoom: true });
});

it('reads through the Blob where another has the file alone, and in place again afterwards', async () => {
  await call(0, 'write', 'alone', BYTES, 9);
  await call(0, 'view', 'alone');
  await call(1, 'holdAlone', 'alone', 500);
  expect(await call(0, 'read', 'alone', 0, 1, 1)).toEqual({ values: [9], inRoom: false });
  await expect.poll(async () => (await call(0, 'read', 'alone', 0, 1, 1))?.inRoom, { timeout: 30_000 }).toBe(true);
});

it.each([0, 1] as const)('lets tab %i delete and write what tab 0 has just read', async (tab) => {
  const name = `delete-${tab}`;
  await call(0, 'write', name, BYTES, 1);
  await call(0, 'view', name);
  await call(0, 'read', name, 0, 1, 1);
  await call(tab, 'remove', name);
  expect(await call(tab, 'view', name)).toBeUndefined();
  await expect(call(0, 'read', name, 0, 1, 1)).rejects.toThrow();

  await call(0, 'write', name, BYTES, 2);
  await call(0, 'view', name);
  await call(0, 'read', name, 0, 1, 1);
  await call(tab, 'write', name, BYTES, 3);
  await call(0, 'view', name);
  expect(await call(0, 'read', name, 0, 1, 1)).toEqual({ values: [3], inRoom: true });
});
