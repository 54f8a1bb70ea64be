/** @file The store in a real Chromium: OPFS and the Cache API in a worker, a reload, a killed tab, two tabs, and a token at a redirect. */
import { createHash } from 'node:crypto';
import type { BrowserContext, Page } from 'playwright';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openMisbehavingServer, patternBytes, type MisbehavingServer } from '../../scripts/lib/misbehaving-server.js';
import { openServedPage, type ServedPage } from '../../scripts/lib/served-page.js';
import type { StoreQuestion } from './store-worker.js';

const weights = patternBytes(3_000_000);
const hash = createHash('sha256').update(weights).digest('hex');

let served: ServedPage;
let context: BrowserContext;
let server: MisbehavingServer;
let elsewhere: MisbehavingServer;
beforeAll(async () => {
  [server, elsewhere] = [await openMisbehavingServer(), await openMisbehavingServer()];
  served = await openServedPage({});
  const browser = served.page.context().browser();
  if (browser === null) throw new Error('the page has no browser');
  context = await browser.newContext();
});
afterAll(async () => {
  await context.close();
  await served.close();
  await server.close();
  await elsewhere.close();
});

async function openTab(): Promise<Page> {
  const page = await context.newPage();
  await page.goto(new URL('/test/browser/store-page.html', served.url).href);
  await page.waitForFunction(() => 'storePage' in globalThis);
  return page;
}

type StorePage = { readonly ask: (question: StoreQuestion) => Promise<unknown>; readonly bytes: () => number };
const ask = (page: Page, question: StoreQuestion): Promise<unknown> =>
  page.evaluate((q) => (Reflect.get(globalThis, 'storePage') as StorePage).ask(q), question);

function serve(path: string): { readonly address: string; readonly path: string } {
  server.files.set(`/${path}/w.safetensors`, { bytes: weights, etag: '"1"' });
  return { address: `${server.origin}/${path}/`, path: 'w.safetensors' };
}
const whole = { hash, size: weights.length, blob: [...weights.subarray(1, 3)] };

describe.each(['opfs', 'cache'] as const)('the store in %s', (kind) => {
  const start = async (): Promise<Page> => {
    const page = await openTab();
    if (kind === 'cache') await ask(page, { kind: 'only', disk: kind });
    return page;
  };

  it('keeps files over a reload, and then asks nobody', async () => {
    const file = serve(`keep-${kind}`);
    let page = await start();
    expect(await ask(page, { kind: 'status' })).toMatchObject({ kind });
    expect(await ask(page, { kind: 'read', ...file })).toMatchObject(whole);
    await page.close();
    page = await start();
    server.log.length = 0;
    expect(await ask(page, { kind: 'read', ...file })).toMatchObject(whole);
    expect(server.log).toEqual([]);
    await page.close();
  });

  it('goes on where a killed tab stopped', async () => {
    const file = serve(`kill-${kind}`);
    const path = `/kill-${kind}/w.safetensors`;
    // from the tenth request on nothing comes any more
    server.files.set(path, {
      bytes: weights,
      etag: '"1"',
      fault: ({ nth }) => (nth >= 9 ? { kind: 'stall', after: 100 } : undefined),
    });
    let page = await start();
    ask(page, { kind: 'read', ...file }).catch(() => undefined); // the page is closed under it
    const asked = (): number => server.log.filter((request) => request.path === path).length;
    await expect.poll(asked, { timeout: 60_000 }).toBeGreaterThan(9);
    await page.waitForTimeout(3000); // what the first nine brought is noted
    await page.close();
    serve(`kill-${kind}`);
    page = await start();
    const result = (await ask(page, { kind: 'read', ...file })) as { readonly resumedBytes: number };
    expect(result).toMatchObject(whole);
    expect(result.resumedBytes).toBeGreaterThan(1_000_000);
    await page.close();
  });

  it('shares one download between two tabs', async () => {
    const file = serve(`share-${kind}`);
    const pages = [await start(), await start()];
    const before = server.sent();
    const results = await Promise.all(pages.map((page) => ask(page, { kind: 'read', ...file })));
    for (const result of results) expect(result).toMatchObject(whole);
    expect(server.sent() - before).toBeLessThan(weights.length + 3 * 65536);
    for (const page of pages) await page.close();
  });
});

it('sends a token to its host, and not to where that leads', async () => {
  elsewhere.files.set('/real', { bytes: weights, etag: '"1"' });
  server.files.set('/gated/w.safetensors', {
    bytes: weights,
    fault: ({ headers }) =>
      headers.authorization === 'Bearer hush'
        ? { kind: 'status', status: 302, headers: { location: `${elsewhere.origin}/real` } }
        : { kind: 'status', status: 401 },
  });
  const page = await openTab();
  const file = { address: `${server.origin}/gated/`, path: 'w.safetensors' };
  const authorization = { [new URL(server.origin).host]: 'Bearer hush' };
  expect(await ask(page, { kind: 'read', ...file, authorization })).toMatchObject(whole);
  expect(elsewhere.log.length).toBeGreaterThan(5);
  expect(elsewhere.log.every(({ headers }) => headers.authorization === undefined)).toBe(true);
  await page.close();
  const stranger = await openTab();
  server.files.set('/gated2/w.safetensors', { bytes: weights, fault: () => ({ kind: 'status', status: 401 }) });
  await expect(
    ask(stranger, { kind: 'read', address: `${server.origin}/gated2/`, path: 'w.safetensors' }),
  ).rejects.toThrow('accessDenied');
  await stranger.close();
});

it('says how fast it hashes', async () => {
  const page = await openTab();
  const megabytesPerSecond = (await ask(page, { kind: 'speed' })) as number;
  console.log(`SHA-256 in the worker: ${Math.round(megabytesPerSecond)} MB/s`);
  expect(megabytesPerSecond).toBeGreaterThan(1);
  await page.close();
});
