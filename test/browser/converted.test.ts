/**
 * @file Rounded weights in Chromium's private file system: made at the first visit, read at later ones, gone on with where a tab was killed, made by one of two
 * tabs, and freed with their model. The picture is always that of weights which are rounded while they are read.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser, BrowserContext, Page, Worker } from 'playwright';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openMisbehavingServer, type MisbehavingServer } from '../../scripts/lib/misbehaving-server.js';
import type { SyncAccessHandle } from '../../src/assets/store/opfs-reader.js';
import { launchChromium, serveDemo, type Site } from './chromium.js';
import type { Asked, Bench, Made } from './converted-page.js';

const MODEL = join(import.meta.dirname, '../golden/models/flux-dev-tiny');
const BITS = { weightBits: 4, textEncoderBits: 8 } as const;
const PAGE = new URL('./converted-page.ts', import.meta.url).pathname;

let browser: Browser;
let context: BrowserContext;
let site: Site;
let server: MisbehavingServer;
/** Of weights that are rounded while they are read. */
let unkept: Made;
let tab: Page;

beforeAll(async () => {
  [browser, site, server] = await Promise.all([launchChromium(), serveDemo(), openMisbehavingServer()]);
  context = await browser.newContext();
  for (const entry of await readdir(MODEL, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    server.files.set(path.slice(MODEL.length), { bytes: new Uint8Array(await readFile(path)), etag: '"1"' });
  }
  tab = await openTab();
  unkept = await make(tab, { keepModels: false });
});
afterAll(async () => {
  await browser.close();
  await site.close();
  await server.close();
});

async function openTab(onWorker?: (worker: Worker) => void): Promise<Page> {
  const page = await context.newPage();
  if (onWorker !== undefined) page.on('worker', onWorker);
  await page.goto(site.url);
  await page.addScriptTag({ type: 'module', url: `/@fs${PAGE}` });
  await page.locator('body[data-ready]').waitFor({ timeout: 120_000 });
  return page;
}

type Call = <K extends keyof Bench>(page: Page, name: K, ...args: Parameters<Bench[K]>) => ReturnType<Bench[K]>;
const call = ((page, name, ...args) =>
  page.evaluate(
    ([method, given]) =>
      (Reflect.get(globalThis, 'bench') as Record<string, (...a: unknown[]) => unknown>)[method]?.(...given),
    [name, args] as const,
  )) as Call;
const make = (page: Page, asked: Partial<Asked> = {}): Promise<Made> =>
  call(page, 'make', { source: server.origin, overrides: BITS, ...asked });

it('are made at the first visit, told with bytes, and only read at later ones', async () => {
  expect(unkept.warnings).toEqual([
    expect.stringMatching(/rounded each time/),
    expect.stringMatching(/rounded each time/),
  ]);
  const first = await make(tab);
  expect(first).toMatchObject({ sha256: unkept.sha256, warnings: [] });
  const [kept] = await call(tab, 'list');
  expect(first.converted).toHaveLength(2);
  for (const { last, total } of first.converted) expect(last).toBe(total);
  expect(first.converted.reduce((sum, { total }) => sum + total, 0)).toBe(kept?.derivedBytes);
  expect(await make(tab)).toEqual({ ...first, converted: [] });
  await tab.close();
  tab = await openTab();
  server.log.length = 0;
  expect(await make(tab)).toEqual({ ...first, converted: [] });
  expect(server.log).toEqual([]);
});

it('are freed with their model', async () => {
  const [kept] = await call(tab, 'list');
  expect(await call(tab, 'dataBytes')).not.toEqual([]);
  await call(tab, 'remove', kept?.id ?? '');
  expect(await call(tab, 'list')).toEqual([]);
  expect(await call(tab, 'dataBytes')).toEqual([]);
});

it('are gone on with where a tab was killed', async () => {
  // A slow machine: each write takes longer than there is between two notes of how far it has come; at the two hundredth it hangs.
  const killed = await openTab((worker) => {
    worker.evaluate(hangAfterWrites, 200).catch(() => undefined); // workers of workers, which are gone already
  });
  const hung = killed.waitForEvent('console', (message) => message.text() === 'hangs');
  make(killed).catch(() => undefined); // the page is closed under it
  await hung;
  await killed.close();
  const [left] = await call(tab, 'list');
  expect(left).toMatchObject({ derivedBytes: 0 });
  const resumed = await make(tab);
  expect(resumed).toMatchObject({ sha256: unkept.sha256, warnings: [] });
  const [transformer] = resumed.converted;
  expect(transformer?.first).toBeGreaterThan(0);
  expect(transformer?.first).toBeLessThan(transformer?.total ?? 0);
  expect(resumed.converted.map(({ last, total }) => total - last)).toEqual([0, 0]);
});

it('are made by one of two tabs', async () => {
  const overrides = { weightBits: 8, textEncoderBits: 8 } as const;
  const other = await openTab();
  const [first, second] = await Promise.all([make(tab, { overrides }), make(other, { overrides })]);
  expect(second.sha256).toBe(first.sha256);
  expect([...first.converted, ...second.converted]).toHaveLength(1); // T5's are there already
  await other.close();
});

it('are on the GPU what they are when they are rounded while they are read', async () => {
  const overrides = { weightBits: 8, textEncoderBits: 8 } as const;
  const exact = await make(tab, { overrides, backend: 'webgpu', keepModels: false });
  expect(await make(tab, { overrides, backend: 'webgpu' })).toEqual({ ...exact, warnings: [], converted: [] });
});

/** Runs in a worker: writes to the private file system take four seconds of its clock, of which nobody is told, and after `count` of them it hangs. */
function hangAfterWrites(count: number): void {
  const { prototype } = Reflect.get(globalThis, 'FileSystemSyncAccessHandle') as {
    readonly prototype: SyncAccessHandle;
  };
  const write = Reflect.get(prototype, 'write');
  const now = Date.now;
  let writes = 0;
  Date.now = () => now() + 4000 * writes;
  prototype.write = function (...args) {
    writes++;
    if (writes >= count) {
      console.log('hangs');
      for (;;);
    }
    return Reflect.apply(write, this, args);
  };
}
