/** @file Room in the store: taken at the start, made by what was not used for longest, and never in vain; what browsers say of it; data that goes under us. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  openMisbehavingServer,
  patternBytes,
  type MisbehavingServer,
} from '../../../scripts/lib/misbehaving-server.js';
import type { Disk, DiskFile } from '../../../src/assets/store/disk.js';
import { createMemoryDisk } from '../../../src/assets/store/memory-disk.js';
import type { ModelStore } from '../../../src/assets/store/model-store.js';
import { createFakeBrowser, DAY, type FakeBrowser } from './store-support.js';
import { expectBytes, problemOf } from './support.js';

const MIB = 1 << 20;
/** What is left free besides. */
const MARGIN = 32 * MIB;
const weights = patternBytes(1_500_000);

let server: MisbehavingServer;
let models = 0;
beforeAll(async () => void (server = await openMisbehavingServer()));
afterAll(() => server.close());

function newModel(bytes: Uint8Array = weights): string {
  const path = `/m${models++}`;
  server.files.set(`${path}/w.safetensors`, { bytes, etag: '"1"' });
  return `${server.origin}${path}/`;
}

/** A disk in memory that gives so much room, and says at once whether it has it: by an error, or as Chromium's private windows do, by the size alone. */
function roomyDisk(room: () => number): Disk & { readonly usage: () => Promise<number> } {
  const inner = createMemoryDisk();
  const usage = async (): Promise<number> => (await inner.list()).reduce((sum, { bytes }) => sum + bytes, 0);
  const check = async (file: DiskFile, end: number): Promise<void> => {
    const more = end - (await file.bytes());
    if (more > 0 && (await usage()) + more > room()) throw new DOMException('no room', 'QuotaExceededError');
  };
  return {
    ...inner,
    usage,
    async open(name) {
      const file = await inner.open(name);
      return {
        ...file,
        async write(bytes, at) {
          await check(file, at + bytes.length);
          await file.write(bytes, at);
        },
        async reserve(bytes) {
          await check(file, bytes);
          if ((await file.bytes()) < bytes) await file.truncate(bytes);
        },
      };
    },
  };
}

let room = 0;
let disk: ReturnType<typeof roomyDisk>;
let browser: FakeBrowser;
beforeEach(() => {
  room = 1e9;
  disk = roomyDisk(() => room);
  browser = createFakeBrowser(disk);
});

async function load(store: ModelStore, address: string): Promise<void> {
  const tree = store.tree(address);
  const file = await tree.open('w.safetensors');
  expectBytes(
    (await file?.read(0, file.size)) ?? new Uint8Array(),
    server.files.get(new URL('w.safetensors', address).pathname)?.bytes ?? weights,
  );
  tree.close?.();
  browser.time += 1000;
}
const addresses = async (store: ModelStore): Promise<readonly string[]> =>
  (await store.list()).map(({ address }) => address).sort();

describe('room that is taken at the start', () => {
  it('is made by the one model that was used longest ago, and by no more than are needed', async () => {
    const tab = browser.tab();
    const [oldest, second, third] = [newModel(), newModel(), newModel()];
    for (const address of [oldest, second, third, oldest]) await load(tab, address); // the second is the oldest now
    room = (await disk.usage()) + weights.length + MARGIN - 1000;
    const added = newModel();
    await load(tab, added);
    expect(await addresses(tab)).toEqual([oldest, third, added].sort());
  });

  it('is not made by what is pinned or in use: a typed error says how much is needed, and nothing was fetched', async () => {
    const tab = browser.tab();
    const [pinned, used] = [newModel(), newModel()];
    for (const address of [pinned, used]) await load(tab, address);
    await tab.pin(tab.idOf(pinned), true);
    const reading = browser.tab().tree(used);
    const file = await reading.open('w.safetensors');
    room = (await disk.usage()) + 600_000;
    const added = await tab.tree(newModel()).open('w.safetensors');
    const sent = server.sent();
    const problem = await problemOf(() => added?.download?.() ?? Promise.resolve());
    expect(problem.code).toBe('storageFull');
    expect(problem.message).toMatch(/needs 2 MB; the browser has 1 MB left for this site, and no stored model may be/);
    expect(problem.hint).toMatch(/[Uu]npin/);
    expect(server.sent()).toBe(sent);
    expectBytes((await file?.read(0, file.size)) ?? new Uint8Array(), weights);
    reading.close?.();
    expect(await addresses(tab)).toEqual([pinned, used].sort());
    await added?.download?.(); // the one in use may go now
    expect(await addresses(tab)).toContain(pinned);
  });

  it('is not made in vain: where all that may go would not be enough, nothing goes', async () => {
    const tab = browser.tab();
    const kept = [newModel(), newModel()];
    for (const address of kept) await load(tab, address);
    room = (await disk.usage()) + 1000;
    const huge = await tab.tree(newModel(new Uint8Array(140 * MIB))).open('w.safetensors');
    const problem = await problemOf(() => huge?.download?.() ?? Promise.resolve());
    expect(problem.code).toBe('storageFull');
    expect(problem.message).toMatch(
      /needs 147 MB; .* the stored models that may be deleted for it are 3 MB, which is not/,
    );
    expect(await addresses(tab)).toEqual([...kept].sort());
    const told = browser.tab({ estimate: async () => ({ usage: await disk.usage(), quota: room + MARGIN + 1000 }) });
    const [address] = [newModel(new Uint8Array(20 * MIB))];
    expect((await problemOf(async () => (await told.tree(address).open('w.safetensors'))?.download?.())).code).toBe(
      'storageFull',
    );
    expect(await addresses(tab)).toEqual([...kept].sort());
  });

  it('is given back by a download that stops, which is gone on with all the same', async () => {
    const address = newModel();
    const path = new URL('w.safetensors', address).pathname;
    const whole = server.files.get(path) ?? { bytes: weights };
    server.files.set(path, { ...whole, fault: ({ nth }) => (nth >= 10 ? { kind: 'cut', after: 0 } : undefined) });
    const tab = browser.tab();
    const first = await tab.tree(address).open('w.safetensors');
    expect((await problemOf(() => first?.download?.() ?? Promise.resolve())).code).toBe('downloadFailed');
    const [left] = await tab.list();
    expect(left?.partialBytes).toBeGreaterThan(400_000);
    expect(await disk.usage()).toBeLessThan((left?.partialBytes ?? 0) + 5 * 65536);
    server.files.set(path, whole);
    let resumed = 0;
    tab.subscribe((event) => (resumed = event.resumedBytes));
    await load(tab, address);
    expect(resumed).toBe(left?.partialBytes);
  });

  it('goes to a new version in the place of the old one, where there is not enough for both', async () => {
    const address = newModel();
    await load(browser.tab(), address);
    const next = patternBytes(1_500_100, 3);
    server.files.set(new URL('w.safetensors', address).pathname, { bytes: next, etag: '"2"' });
    browser.time += 2 * DAY;
    room = (await disk.usage()) + 200_000;
    const other = browser.tab().tree(address);
    await load(browser.tab(), address);
    expect((await browser.tab().list())[0]?.bytes).toBe(next.length);
    other.close?.();
  });
});

describe('what a browser says of its room', () => {
  it('may be nothing, or an error', async () => {
    const tab = browser.tab({ estimate: () => Promise.reject(new TypeError('not here')) });
    await load(tab, newModel());
    expect(await tab.status()).toEqual({ kind: 'memory' });
  });

  it('is of no use where it is zero while there is room on the disk, and is believed', async () => {
    const tab = browser.tab({ estimate: async () => ({ usage: await disk.usage(), quota: await disk.usage() }) });
    const file = await tab.tree(newModel()).open('w.safetensors');
    const problem = await problemOf(() => file?.download?.() ?? Promise.resolve());
    expect(problem.message).toContain('the browser has 0 MB left');
  });
});

describe('notes on a full disk', () => {
  it('that cannot be written say so, and that there is no room', async () => {
    const tab = browser.tab();
    const address = newModel();
    await load(tab, address);
    room = 0;
    const problem = await problemOf(() => tab.pin(tab.idOf(address), true));
    expect(problem.code).toBe('storageFull');
    room = 1e9;
    expect((await tab.list())[0]).toMatchObject({ pinned: false, bytes: weights.length }); // the record of before
    room = 0;
    await tab.delete(tab.idOf(address)); // takes no room
    expect(await disk.usage()).toBeLessThan(1000);
  });
});

describe('a download under which its model is deleted', () => {
  it('goes on, and its file is listed by its address', async () => {
    const address = newModel();
    const path = new URL('w.safetensors', address).pathname;
    let deleting: Promise<void> | undefined;
    const tab = browser.tab();
    server.files.set(path, {
      bytes: weights,
      etag: '"1"',
      fault: ({ nth }) => {
        if (nth === 8) deleting = browser.tab().delete(tab.idOf(address));
        return undefined;
      },
    });
    const tree = tab.tree(address);
    const file = await tree.open('w.safetensors');
    expectBytes((await file?.read(0, file.size)) ?? new Uint8Array(), weights);
    await deleting;
    tree.close?.();
    expect(await tab.list()).toMatchObject([
      { address: `${address}w.safetensors`, title: `${address}w.safetensors`, bytes: weights.length },
    ]);
  });
});
