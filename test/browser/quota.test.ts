/**
 * @file The store when the browser gives no more room, takes it back, or is emptied by the visitor: in a window with a profile on the disk, in a private one
 * (Playwright's contexts are such), and in the Cache API. The quota is Chromium's own, set through the DevTools protocol.
 */
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type BrowserContext, type CDPSession, type Page } from 'playwright';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { findOrInstallChromium } from '../../scripts/chromium.mjs';
import {
  openMisbehavingServer,
  type MisbehavingServer,
  type ServedFile,
} from '../../scripts/lib/misbehaving-server.js';
import { openServedPage, type ServedPage } from '../../scripts/lib/served-page.js';
import type { StoreQuestion } from './store-worker.js';

const BYTES = 6_000_000;
/** With two models, a third with all that goes with it finds no room, with one it does: a profile gives room in powers of two. */
const TWO_MODELS = { 'a private window': 48e6, 'a window with a profile': 75e6 } as const;
const PATH = 'w.safetensors';

let served: ServedPage;
let server: MisbehavingServer;
let profile: string;
beforeAll(async () => {
  [served, server, profile] = await Promise.all([
    openServedPage({}),
    openMisbehavingServer(),
    mkdtemp(join(tmpdir(), 'darkroom-quota-')),
  ]);
});
afterAll(async () => {
  await served.close();
  await server.close();
  await rm(profile, { recursive: true, force: true });
});

const WINDOWS = {
  'a private window': async () => {
    const browser = served.page.context().browser();
    if (browser === null) throw new Error('the page has no browser');
    return browser.newContext();
  },
  'a window with a profile': async () =>
    chromium.launchPersistentContext(profile, {
      args: ['--no-sandbox', '--disable-background-networking'],
      executablePath: await findOrInstallChromium(),
    }),
} as const satisfies Readonly<Record<string, () => Promise<BrowserContext>>>;

interface Model {
  readonly address: string;
  readonly path: typeof PATH;
}

let models = 0;
function serve(more: Partial<ServedFile> = {}): Model & { readonly whole: object; readonly heal: () => void } {
  const n = ++models;
  const bytes = new Uint8Array(BYTES).fill(n);
  const heal = (): void => void server.files.set(`/${n}/${PATH}`, { bytes, etag: `"${n}"` });
  heal();
  server.files.set(`/${n}/${PATH}`, { bytes, etag: `"${n}"`, ...more });
  const hash = createHash('sha256').update(bytes).digest('hex');
  return { address: `${server.origin}/${n}/`, path: PATH, whole: { hash, size: BYTES }, heal };
}
const file = ({ address, path }: Model): Model => ({ address, path });

type StorePage = { readonly ask: (question: StoreQuestion) => Promise<unknown> };
const ask = (page: Page, question: StoreQuestion): Promise<unknown> =>
  page.evaluate((q) => (Reflect.get(globalThis, 'storePage') as StorePage).ask(q), question);

interface Listed {
  readonly address: string;
  readonly bytes: number;
  readonly partialBytes: number;
}
const list = (page: Page): Promise<readonly Listed[]> => ask(page, { kind: 'list' }) as Promise<readonly Listed[]>;
const addresses = async (page: Page): Promise<readonly string[]> =>
  (await list(page)).map(({ address }) => address).sort();
const usage = (page: Page): Promise<number> => ask(page, { kind: 'usage' }) as Promise<number>;

describe.each([
  ['opfs', 'a private window'],
  ['opfs', 'a window with a profile'],
  ['cache', 'a private window'],
] as const)('the store in %s of %s', (kind, name) => {
  let context: BrowserContext;
  let tab: Page;
  let devtools: CDPSession;
  const openTab = async (): Promise<Page> => {
    const page = await context.newPage();
    await page.goto(new URL('/test/browser/store-page.html', served.url).href);
    await page.waitForFunction(() => 'storePage' in globalThis);
    if (kind === 'cache') await ask(page, { kind: 'only', disk: kind });
    return page;
  };
  const origin = (): string => new URL(served.url).origin;
  /** Absent: what the browser gives. */
  const setQuota = async (quotaSize?: number): Promise<void> =>
    void (await devtools.send('Storage.overrideQuotaForOrigin', { origin: origin(), ...(quotaSize && { quotaSize }) }));
  beforeAll(async () => {
    context = await WINDOWS[name]();
    tab = await openTab();
    devtools = await context.newCDPSession(tab);
  });
  afterEach(() => setQuota());
  afterAll(() => context.close());

  it('is there', async () => expect(await ask(tab, { kind: 'status' })).toMatchObject({ kind }));

  it.runIf(kind === 'opfs')(
    'makes room by what was used longest ago, not by what is pinned or read in another tab',
    async () => {
      const [first, second, third, fourth] = [serve(), serve(), serve(), serve()];
      for (const model of [first, second, first]) await ask(tab, { kind: 'read', ...file(model) });
      await setQuota(TWO_MODELS[name]);
      expect(await ask(tab, { kind: 'read', ...file(third) })).toMatchObject(third.whole);
      expect(await addresses(tab)).toEqual([first.address, third.address].sort());
      await ask(tab, { kind: 'pin', address: first.address });
      const other = await openTab();
      await ask(other, { kind: 'hold', ...file(third) });
      await setQuota(16e6);
      const sent = server.sent();
      await expect(ask(tab, { kind: 'read', ...file(fourth) })).rejects.toThrow(
        /storageFull: The file needs 6 MB; the browser has \d MB left for this site, and no stored model may be deleted/,
      );
      expect(server.sent() - sent).toBeLessThan(200_000); // asked for beforehand
      expect(await addresses(tab)).toEqual([first.address, third.address].sort());
      await ask(tab, { kind: 'delete', address: third.address });
      expect(await ask(other, { kind: 'readHeld', start: 7, end: 9 })).toEqual([models - 1, models - 1]);
      await other.close();
      await setQuota();
      expect(await ask(tab, { kind: 'read', ...file(fourth) })).toMatchObject(fourth.whole);
    },
  );

  it('ends a download whose room is taken away with a typed error, and goes on with it later', async () => {
    const model = serve({ fault: ({ nth }) => (nth >= 14 ? { kind: 'stall', after: 100 } : undefined) });
    const path = new URL(model.path, model.address).pathname;
    const reading = ask(tab, { kind: 'read', ...file(model) }).catch(String);
    await expect.poll(() => server.log.filter((a) => a.path === path).length, { timeout: 60_000 }).toBeGreaterThan(14);
    await tab.waitForTimeout(1000); // until what has come is noted; what is silent is asked for again after two seconds
    await setQuota(1e6);
    model.heal();
    expect(await reading).toMatch(/storageFull: The browser has no room left for this file of 6 MB/);
    await setQuota();
    const left = (await list(tab)).find(({ address }) => address === model.address);
    expect(left).toMatchObject({ bytes: 0 });
    const resumed = (await ask(tab, { kind: 'read', ...file(model) })) as { readonly resumedBytes: number };
    expect(resumed).toMatchObject({ ...model.whole, resumedBytes: left?.partialBytes });
    expect(resumed.resumedBytes).toBeGreaterThan(1_000_000);
  });

  it('can be read and made smaller while there is no room at all, and says that there is none for notes', async () => {
    const model = serve();
    await ask(tab, { kind: 'read', ...file(model) });
    const before = await usage(tab);
    await setQuota(1e6);
    const other = await openTab();
    expect(await ask(other, { kind: 'read', ...file(model) })).toMatchObject(model.whole);
    await expect(ask(other, { kind: 'pin', address: model.address })).rejects.toThrow('storageFull');
    expect(await addresses(other)).toContain(model.address);
    await ask(other, { kind: 'delete', address: model.address });
    expect(await addresses(tab)).not.toContain(model.address);
    // the Cache API gives room back when the last Blob of an entry is garbage
    if (kind === 'opfs') await expect.poll(() => usage(tab), { timeout: 20_000 }).toBeLessThan(before - 5_000_000);
    await other.close();
  });

  it('goes on when the visitor clears the data of the site in the middle', async () => {
    const model = serve();
    expect(await ask(tab, { kind: 'hold', ...file(model) })).toBe(BYTES);
    expect(await ask(tab, { kind: 'readHeld', start: 0, end: 2 })).toEqual([models, models]);
    await tab.waitForTimeout(400); // until the file rests
    await devtools.send('Storage.clearDataForOrigin', { origin: origin(), storageTypes: 'all' });
    const before = server.log.length;
    expect(await ask(tab, { kind: 'readHeld', start: BYTES - 2, end: BYTES })).toEqual([models, models]);
    expect(server.log.length).toBeGreaterThan(before); // fetched once more
    expect(await list(tab)).toMatchObject([{ address: model.address, bytes: BYTES }]);
    const next = serve();
    expect(await ask(tab, { kind: 'read', ...file(next) })).toMatchObject(next.whole);
    expect(await addresses(tab)).toEqual([model.address, next.address].sort());
  });
});
