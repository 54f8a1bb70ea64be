/** @file The store against a real server: what is stored is read without a network, what is not whole is never seen, tabs share, room is made. */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  openMisbehavingServer,
  patternBytes,
  type Fault,
  type MisbehavingServer,
} from '../../../scripts/lib/misbehaving-server.js';
import type { ByteSource, FileTree } from '../../../src/assets/source.js';
import type { Disk } from '../../../src/assets/store/disk.js';
import type { DownloadEvent } from '../../../src/assets/store/events.js';
import type { ModelStore } from '../../../src/assets/store/model-store.js';
import { createFakeBrowser, DAY, limitedDisk, textOfDisk, type FakeBrowser } from './store-support.js';
import { expectBytes, problemOf, utf8 } from './support.js';

const weights = patternBytes(2_500_000);
const sha256 = createHash('sha256').update(weights).digest('hex');
const config = utf8('{"a": 1}');

let server: MisbehavingServer;
let browser: FakeBrowser;
let models = 0;
let root = '';
beforeAll(async () => void (server = await openMisbehavingServer()));
afterAll(() => server.close());
beforeEach(() => {
  browser = createFakeBrowser();
  root = newModel();
});

/** A model of two files at a new address, which is returned. */
function newModel(bytes: Uint8Array = weights): string {
  const path = `/m${models++}`;
  server.files.set(`${path}/config.json`, { bytes: config, etag: '"c1"' });
  server.files.set(`${path}/unet/w.safetensors`, { bytes, etag: '"w1"' });
  return `${server.origin}${path}/`;
}
const served = (path: string): string => new URL(path, root).pathname;

async function open(tree: FileTree, path: string): Promise<ByteSource> {
  const source = await tree.open(path);
  if (source === undefined) throw new Error(`${path} is not there`);
  return source;
}
const dataFiles = async (): Promise<readonly string[]> =>
  (await browser.disk.list()).map(({ name }) => name).filter((name) => name.startsWith('d-'));
const readAll = async (source: ByteSource): Promise<Uint8Array> => source.read(0, source.size);

/** Reads both files and closes. */
async function load(store: ModelStore, address = root): Promise<void> {
  const tree = store.tree(address);
  expectBytes(await readAll(await open(tree, 'config.json')), config);
  expect(await tree.open('absent.json')).toBeUndefined();
  const file = await open(tree, 'unet/w.safetensors');
  expect((await file.read(file.size - 10, file.size)).length).toBe(10);
  tree.close?.();
}

/** From the 26th request on nothing of a file comes any more: what went before is more than a million bytes. */
function stallHalfWay(path: string): { readonly reached: () => Promise<void>; readonly heal: () => void } {
  const whole = server.files.get(path) ?? { bytes: weights };
  const asked = (): number => server.log.filter((request) => request.path === path).length;
  const before = asked();
  server.files.set(path, {
    ...whole,
    fault: ({ nth }) => (nth - before >= 25 ? { kind: 'stall', after: 10 } : undefined),
  });
  return {
    reached: () => expect.poll(asked, { timeout: 10_000 }).toBeGreaterThan(before + 25),
    heal: () => void server.files.set(path, whole),
  };
}

/** Reads the weights until a good part is there, and stops. @returns the bytes that are left */
async function leaveHalfWay(store: ModelStore, address: string): Promise<number> {
  const stalled = stallHalfWay(new URL('unet/w.safetensors', address).pathname);
  const abort = new AbortController();
  const file = await open(store.tree(address), 'unet/w.safetensors');
  const reading = problemOf(() => file.read(0, file.size, abort.signal));
  await stalled.reached();
  abort.abort();
  expect((await reading).code).toBe('aborted');
  stalled.heal();
  return (await store.list()).find((model) => model.id === store.idOf(address))?.partialBytes ?? 0;
}

describe('reading through the store', () => {
  it('needs no network once everything is there, absences included', async () => {
    await load(browser.tab());
    browser.online = false;
    browser.requests.length = 0;
    const tab = browser.tab();
    await load(tab);
    const file = await open(tab.tree(root), 'unet/w.safetensors');
    expectBytes(await readAll(file), weights);
    expect(browser.requests).toEqual([]);
    const [model] = await tab.list();
    expect(model).toMatchObject({
      address: root,
      bytes: weights.length + config.length,
      partialBytes: 0,
      pinned: false,
    });
    expect(model?.files.find(({ url }) => url.endsWith('w.safetensors'))).toMatchObject({ sha256, verified: false });
  });

  it('reads the header of weights without fetching them, and a stored file without copying it', async () => {
    const file = await open(browser.tab().tree(root), 'unet/w.safetensors');
    expect(file.size).toBe(weights.length);
    expectBytes(await file.read(0, 8), weights.subarray(0, 8));
    expectBytes(await file.read(8, 900_000), weights.subarray(8, 900_000));
    expect((await browser.tab().list()).every(({ bytes }) => bytes === 0)).toBe(true);
    const blob = await file.blob?.(1_000_000, 2_000_000);
    expectBytes(new Uint8Array((await blob?.arrayBuffer()) ?? new ArrayBuffer(0)), weights.subarray(1e6, 2e6));
    const requests = browser.requests.length;
    expectBytes(await file.read(0, 2_500_000), weights);
    expect(browser.requests.length).toBe(requests);
  });

  it('brings a file when asked to, and then has nothing to bring', async () => {
    const tab = browser.tab();
    const file = await open(tab.tree(root), 'unet/w.safetensors');
    await file.download?.();
    expect((await tab.list())[0]?.bytes).toBe(weights.length);
    expect('download' in (await open(tab.tree(root), 'unet/w.safetensors'))).toBe(false);
  });

  it('stores one weight file by its address, and files that have addresses of their own', async () => {
    const tab = browser.tab();
    const tree = tab.tree(`${root}unet/w.safetensors`, { title: 'dreams' });
    expect(tree.file).toBe('w.safetensors');
    expectBytes(await readAll(await open(tree, 'w.safetensors')), weights);
    const own = tab.addresses('CLIP', { 'c.json': `${root}config.json`, 'd.json': 'data:,x' });
    expectBytes(await readAll(await open(own, 'c.json')), config);
    expectBytes(await readAll(await open(own, 'd.json')), utf8('x'));
    expect((await tab.list()).map(({ title }) => title).sort()).toEqual(['CLIP', 'dreams']);
  });

  it('works without a disk, and says why there is none', async () => {
    const tab = browser.tab({ openDisk: () => Promise.resolve({ kind: 'none', reason: 'private window' }) });
    await load(tab);
    expect(await tab.status()).toMatchObject({ kind: 'none', reason: 'private window' });
    expect(await tab.list()).toEqual([]);
    const broken = browser.tab({ openDisk: () => Promise.reject(new DOMException('no', 'SecurityError')) });
    await load(broken);
    expect((await broken.status()).reason).toContain('storage failed');
  });
});

describe('what is not whole', () => {
  it('is gone on from in a later session', async () => {
    const first = browser.tab();
    await leaveHalfWay(first, root);
    const [left] = await first.list();
    expect(left).toMatchObject({ bytes: 0, files: [] });
    expect(left?.partialBytes).toBeGreaterThan(1_000_000);
    const second = browser.tab();
    const events: DownloadEvent[] = [];
    second.subscribe((event) => events.push(event));
    expectBytes(await readAll(await open(second.tree(root), 'unet/w.safetensors')), weights);
    expect(events.at(-1)).toMatchObject({ state: 'done', bytes: weights.length, resumedBytes: left?.partialBytes });
    expect((await second.list())[0]?.partialBytes).toBe(0);
  });

  it('is deleted when it was not gone on with for 30 days, and not before', async () => {
    const left = await leaveHalfWay(browser.tab(), root);
    expect(left).toBeGreaterThan(1_000_000);
    browser.time += 29 * DAY;
    expect((await browser.tab().list())[0]?.partialBytes).toBe(left);
    browser.time += 2 * DAY;
    expect(await browser.tab().list()).toEqual([]);
    expect(await dataFiles()).toEqual([]);
  });

  it('is not deleted while it is gone on with', async () => {
    const left = await leaveHalfWay(browser.tab(), root);
    browser.time += 40 * DAY;
    const file = (await dataFiles())[0]?.split('-')[1];
    await browser.locks.hold(`download/${file}`, async () => {
      expect((await browser.tab().list())[0]?.partialBytes).toBe(left);
    });
  });

  it('is not seen: data that is cut, a record that is torn', async () => {
    await load(browser.tab());
    const [data = ''] = (await browser.disk.list()).filter((f) => f.bytes === weights.length).map(({ name }) => name);
    const file = await browser.disk.open(data);
    await file.truncate(weights.length - 1);
    const tree = browser.tab().tree(root);
    expectBytes(await readAll(await open(tree, 'unet/w.safetensors')), weights);
    tree.close?.();
    for (const { name } of await browser.disk.list()) {
      if (!/^f-.*\.[ab]$/.test(name)) continue;
      const slot = await browser.disk.open(name);
      await slot.truncate((await slot.bytes()) - 3);
    }
    await vi.waitFor(async () => {
      expect(await browser.tab().list()).toEqual([]);
      expect(await dataFiles()).toEqual([]); // what no record names was swept away
    });
    expectBytes(await readAll(await open(browser.tab().tree(root), 'unet/w.safetensors')), weights);
  });

  it('is refused when its hash is another', async () => {
    const tab = browser.tab();
    const expected = { 'unet/w.safetensors': { sha256: 'a'.repeat(64) } };
    const file = await open(tab.tree(root, { expected }), 'unet/w.safetensors');
    expect((await problemOf(() => file.read(0, file.size))).code).toBe('hashMismatch');
    expect(await tab.list()).toEqual([]);
    const right = { 'unet/w.safetensors': { sha256: sha256.toUpperCase() } };
    expectBytes(await readAll(await open(tab.tree(root, { expected: right }), 'unet/w.safetensors')), weights);
    expect((await tab.list())[0]?.files[0]).toMatchObject({ verified: true });
    // a file that is stored already is no answer to another hash
    const other = await open(tab.tree(root, { expected }), 'unet/w.safetensors');
    expect((await problemOf(() => other.read(0, other.size))).code).toBe('hashMismatch');
    expectBytes(await readAll(await open(tab.tree(root), 'unet/w.safetensors')), weights);
  });
});

describe('tabs', () => {
  it('share one download; the other hears of it and finds the file', async () => {
    const [one, two] = [browser.tab(), browser.tab()];
    const heard: DownloadEvent[] = [];
    two.subscribe((event) => heard.push(event));
    const files = await Promise.all([one, two].map((tab) => open(tab.tree(root), 'unet/w.safetensors')));
    const before = server.sent();
    for (const bytes of await Promise.all(files.map(readAll))) expectBytes(bytes, weights);
    expect(server.sent() - before).toBeLessThan(weights.length + 100);
    expect(heard.some(({ state, elsewhere }) => state === 'waiting' && !elsewhere)).toBe(true);
    const elsewhere = heard.filter((event) => event.elsewhere);
    expect(elsewhere.at(-1)).toMatchObject({ state: 'done', bytes: weights.length });
  });

  it('take over when the one that downloads stops', async () => {
    const abort = new AbortController();
    const [one, two] = [browser.tab(), browser.tab()];
    const [first, second] = [
      await open(one.tree(root), 'unet/w.safetensors'),
      await open(two.tree(root), 'unet/w.safetensors'),
    ];
    const waits = new Promise<void>((resolve) => void two.subscribe(({ state }) => state === 'waiting' && resolve()));
    const stalled = stallHalfWay(served('unet/w.safetensors'));
    const stopped = problemOf(() => first.read(0, first.size, abort.signal));
    await stalled.reached();
    const whole = readAll(second);
    await waits;
    stalled.heal();
    const before = server.sent();
    abort.abort();
    expect((await stopped).code).toBe('aborted');
    expectBytes(await whole, weights);
    expect(server.sent() - before).toBeLessThan(weights.length - 1e6); // what the first one had is not fetched again
  });

  it('can stop waiting', async () => {
    server.files.set(served('unet/w.safetensors'), {
      bytes: weights,
      etag: '"w1"',
      fault: ({ nth }): Fault | undefined => (nth > 1 ? { kind: 'stall', after: 0 } : undefined),
    });
    const [one, two] = [browser.tab({ deps: { stallMs: 300 } }), browser.tab()];
    const abort = new AbortController();
    two.subscribe(({ state }) => state === 'waiting' && abort.abort());
    const first = await open(one.tree(root), 'unet/w.safetensors');
    const second = await open(two.tree(root), 'unet/w.safetensors');
    const failed = problemOf(() => readAll(first));
    expect((await problemOf(() => second.read(0, second.size, abort.signal))).code).toBe('aborted');
    expect((await failed).message).toContain('nothing came for 0.3 s');
  });
});

describe('a file that changes on the server', () => {
  const next = patternBytes(2_400_000, 4);
  const change = (): void => {
    server.files.set(served('unet/w.safetensors'), { bytes: next, etag: '"w2"' });
  };
  const read = async (tab: ModelStore): Promise<Uint8Array> => {
    const tree = tab.tree(root);
    const bytes = await readAll(await open(tree, 'unet/w.safetensors'));
    tree.close?.();
    return bytes;
  };

  it('is noticed after a day, all files of the model at once, and not before', async () => {
    await load(browser.tab());
    change();
    browser.time += DAY - 60_000;
    browser.requests.length = 0;
    expectBytes(await read(browser.tab()), weights);
    expect(browser.requests).toEqual([]);
    browser.time += 60_000;
    const tree = browser.tab().tree(root);
    await open(tree, 'config.json');
    expect(browser.requests.map(({ url }) => url.slice(root.length)).sort()).toEqual([
      'absent.json',
      'config.json',
      'unet/w.safetensors',
    ]);
    expectBytes(await readAll(await open(tree, 'unet/w.safetensors')), next);
    tree.close?.();
    await vi.waitFor(async () => expect(await dataFiles()).toHaveLength(2));
  });

  it('is used as it was while there is no network', async () => {
    await load(browser.tab());
    change();
    browser.time += 2 * DAY;
    browser.online = false;
    expectBytes(await read(browser.tab()), weights);
    browser.online = true;
    const tree = browser.tab().tree(root);
    await open(tree, 'config.json'); // the change is seen …
    browser.online = false;
    expectBytes(await readAll(await open(tree, 'unet/w.safetensors')), weights); // … and cannot be had
  });

  it('keeps its old version for those who read it', async () => {
    const reading = browser.tab().tree(root);
    const old = await open(reading, 'unet/w.safetensors');
    await old.read(0, old.size);
    change();
    browser.time += 2 * DAY;
    expectBytes(await read(browser.tab()), next);
    expectBytes(await readAll(old), weights);
    expect(await dataFiles()).toHaveLength(2);
    reading.close?.();
    await vi.waitFor(async () => expect(await dataFiles()).toHaveLength(1));
  });

  it('is noticed where the clock was set back, and never written over what is being read', async () => {
    const reading = browser.tab().tree(root);
    const old = await open(reading, 'unet/w.safetensors');
    const before = browser.time;
    const at = (): number => browser.time; // stands still, so that versions can have the same time
    const tab = (): ModelStore => browser.tab({ deps: { now: at } });
    await tab().tree(root).open('config.json');
    expectBytes(await readAll(old), weights);
    browser.time += 2 * DAY;
    change();
    expectBytes(await read(tab()), next);
    browser.time = before - DAY;
    const third = patternBytes(2_300_000, 7);
    server.files.set(served('unet/w.safetensors'), { bytes: third, etag: '"w3"' });
    const tree = tab().tree(root);
    await open(tree, 'config.json');
    expectBytes(await readAll(await open(tree, 'unet/w.safetensors')), third);
    expectBytes(await readAll(old), weights);
  });

  it('is looked at when asked for always, never, and never where it cannot change', async () => {
    const always = browser.tab({ revalidate: 'always' });
    await load(always);
    change();
    expectBytes(await read(always), next);
    server.files.set(served('unet/w.safetensors'), { bytes: weights, etag: '"w3"' });
    browser.time += 9 * DAY;
    expectBytes(await read(browser.tab({ revalidate: 'never' })), next);
    root = newModel();
    server.files.set(served('unet/w.safetensors'), {
      bytes: weights,
      etag: '"1"',
      headers: { 'cache-control': 'public, immutable, max-age=31536000' },
    });
    await load(browser.tab());
    browser.time += 9 * DAY;
    browser.requests.length = 0;
    await read(browser.tab());
    expect(browser.requests.map(({ url }) => url).filter((url) => url.includes('w.safetensors'))).toEqual([]);
  });

  it('is seen at once when it appears, while the weights are not there: it may be what the model lacked', async () => {
    const has = async (): Promise<boolean> => (await browser.tab().tree(root).open('late.json')) !== undefined;
    expect(await has()).toBe(false);
    server.files.set(served('late.json'), { bytes: config });
    expect(await has()).toBe(true);
  });

  it('is seen when it appears', async () => {
    await load(browser.tab());
    server.files.set(served('absent.json'), { bytes: config });
    browser.time += DAY;
    expectBytes(await readAll(await open(browser.tab().tree(root), 'absent.json')), config);
  });
});

it('a page in the place of a file is asked for again at each opening, and stands for it only while there is no network', async () => {
  const page = { bytes: utf8('<!doctype html>'), headers: { 'content-type': 'text/html' } };
  const text = async (): Promise<string> => {
    const tree = browser.tab().tree(root);
    const bytes = await readAll(await open(tree, 'late.json'));
    tree.close?.();
    return new TextDecoder().decode(bytes);
  };
  server.files.set(served('late.json'), page);
  expect(await text()).toBe('<!doctype html>');
  browser.online = false;
  expect(await text()).toBe('<!doctype html>');
  browser.online = true;
  server.files.set(served('late.json'), { bytes: config });
  expect(await text()).toBe('{"a": 1}');
  browser.requests.length = 0;
  expect(await text()).toBe('{"a": 1}');
  expect(browser.requests).toEqual([]);
});

it('progress is told although the clock is set back', async () => {
  const start = browser.time;
  const told: number[] = [];
  const tab = browser.tab({ deps: { now: () => start - 60_000 * told.length } });
  tab.subscribe(({ bytes }) => told.push(bytes));
  await readAll(await open(tab.tree(root), 'unet/w.safetensors'));
  expect(new Set(told).size).toBeGreaterThan(10);
});

describe('room', () => {
  /** A disk of so many bytes, as `estimate()` tells it. */
  const estimateOf = (quota: number) => async (): Promise<StorageEstimate> => {
    const usage = (await browser.disk.list()).reduce((sum, { bytes }) => sum + bytes, 0);
    return { quota: quota + (32 << 20), usage };
  };

  it('is made by deleting what was used longest ago, but not what is pinned or in use', async () => {
    const tab = browser.tab({ estimate: estimateOf(11_000_000) });
    const addresses = [root, newModel(), newModel(), newModel(), newModel()];
    for (const address of addresses.slice(0, 4)) {
      browser.time += 1000;
      await load(tab, address);
    }
    const [pinned = '', used = '', oldest = '', kept = '', added = ''] = addresses;
    await tab.pin(tab.idOf(pinned), true);
    const tree = tab.tree(used);
    const file = await open(tree, 'unet/w.safetensors');
    await load(tab, added);
    expect((await tab.list()).map(({ address }) => address).sort()).toEqual([added, kept, pinned, used].sort());
    expect(oldest).not.toBe('');
    expectBytes(await readAll(file), weights);
    tree.close?.();
  });

  it('is made of what was left half-way where no model may go, whosever it is', async () => {
    const tab = browser.tab({ estimate: estimateOf(3_500_000) });
    const left = await leaveHalfWay(tab, root);
    expect(left).toBeGreaterThan(1_000_000);
    await tab.pin(tab.idOf(root), true);
    const other = newModel();
    await load(tab, other);
    expect((await tab.list()).map(({ address }) => address)).toEqual([other]);
    expect(await dataFiles()).toHaveLength(2); // of the other's config and weights
  });

  it('that cannot be made is a typed error, before anything is fetched', async () => {
    const tab = browser.tab({ estimate: estimateOf(2_000_000) });
    const file = await open(tab.tree(root), 'unet/w.safetensors');
    const before = server.sent();
    const problem = await problemOf(() => readAll(file));
    expect(problem.code).toBe('storageFull');
    expect(problem.message).toMatch(/needs 3 MB; the browser has \d+ MB left for this site/);
    expect(server.sent()).toBe(before);
  });

  it('that runs out on the way is made, or is a typed error that loses nothing', async () => {
    let room = 6_000_000;
    browser = createFakeBrowser(limitedDisk(() => room));
    const tab = browser.tab();
    for (const address of [root, newModel(), newModel()]) {
      await load(tab, address);
      browser.time += 1000;
    }
    expect(await tab.list()).toHaveLength(2);
    for (const { id } of await tab.list()) await tab.pin(id, true);
    const last = newModel();
    expect((await problemOf(() => load(tab, last))).code).toBe('storageFull');
    room = 9_000_000;
    await load(tab, last);
    expect(await tab.list()).toHaveLength(3);
  });
});

describe('a full disk', () => {
  it('can be read from: nothing that is written then is needed', async () => {
    let room = 1e9;
    browser = createFakeBrowser(limitedDisk(() => room));
    await load(browser.tab());
    room = 0;
    const tree = browser.tab().tree(root);
    expect(await tree.open('other.json')).toBeUndefined();
    browser.online = false;
    await load(browser.tab());
  });

  it('is what the error says, where the file cannot even be closed', async () => {
    const full = () => Promise.reject(new DOMException('no room', 'QuotaExceededError'));
    const disk: Disk = {
      ...browser.disk,
      open: async (name) => ({
        ...(await browser.disk.open(name)),
        ...(name.startsWith('d-') ? { flush: full, close: full } : {}),
      }),
    };
    expect((await problemOf(() => load(createFakeBrowser(disk).tab()))).code).toBe('storageFull');
  });
});

describe('managing', () => {
  it('lists without taking a lock, which a deletion at the same time would find taken', async () => {
    await load(browser.tab());
    const taken: string[] = [];
    const tab = browser.tab({
      locks: { ...browser.locks, tryHold: (name, work) => (taken.push(name), browser.locks.tryHold(name, work)) },
    });
    await tab.status(); // sweeps
    taken.length = 0;
    expect(await tab.list()).toHaveLength(1);
    expect(taken).toEqual([]);
  });

  it('deletes a model at once, and what is read of it when that is over', async () => {
    const tab = browser.tab();
    await load(tab);
    const tree = tab.tree(root);
    const file = await open(tree, 'unet/w.safetensors');
    expect((await tab.list())[0]).toMatchObject({ inUse: true });
    await tab.delete(tab.idOf(root));
    expect(await tab.list()).toEqual([]);
    expectBytes(await readAll(file), weights);
    expect(await dataFiles()).toHaveLength(1);
    tree.close?.();
    await vi.waitFor(async () => expect(await dataFiles()).toEqual([]));
    await tab.delete('0'.repeat(32));
  });

  it('remembers what is pinned', async () => {
    await load(browser.tab());
    const id = browser.tab().idOf(root);
    await browser.tab().pin(id, true);
    await load(browser.tab());
    expect((await browser.tab().list())[0]?.pinned).toBe(true);
    await browser.tab().pin(id, false);
    expect((await browser.tab().list())[0]?.pinned).toBe(false);
  });
});

describe('secrets', () => {
  it('of addresses and headers are sent where they belong, and never written or told', async () => {
    const host = new URL(root).host;
    const tab = browser.tab({ deps: { authorization: { [host]: 'Bearer hush-1' } } });
    const events: DownloadEvent[] = [];
    tab.subscribe((event) => events.push(event));
    const tree = tab.tree(`${root}?token=hush-2&X-Amz-Signature=hush-3`);
    expectBytes(await readAll(await open(tree, 'unet/w.safetensors')), weights);
    await open(tree, 'config.json');
    expect(browser.requests.every(({ authorization }) => authorization === 'Bearer hush-1')).toBe(true);
    expect(browser.requests.every(({ url }) => url.includes('token=hush-2'))).toBe(true);
    expect(JSON.stringify([events, await tab.list(), await tab.status()])).not.toContain('hush');
    expect(await textOfDisk(browser.disk)).not.toContain('hush');
    expect(await textOfDisk(browser.disk)).toContain(root);
    browser.online = false;
    expectBytes(await readAll(await open(browser.tab().tree(`${root}?token=new`), 'unet/w.safetensors')), weights);
  });

  it('are not sent to another host, nor in the clear', async () => {
    const asked: string[] = [];
    const tab = browser.tab({
      deps: {
        authorization: { 'other.example': 'Bearer hush', 'plain.example': 'Bearer hush' },
        fetch: (input, init) => {
          asked.push(`${new Request(input).url} ${new Headers(init?.headers).get('authorization')}`);
          return Promise.resolve(new Response(null, { status: 404 }));
        },
      },
    });
    for (const origin of ['https://evil.example', 'https://sub.other.example', 'http://plain.example']) {
      await tab.tree(`${origin}/m/`).open('x');
    }
    expect(asked.every((line) => line.endsWith(' null'))).toBe(true);
    await tab.tree('https://other.example/m/').open('x');
    expect(asked.at(-1)).toBe('https://other.example/m/x Bearer hush');
  });
});

describe('the Hub', () => {
  const address = 'https://huggingface.co/owner/repo/resolve/main/';
  /** The Hub as a page sees it: hashes only from its API. */
  const hub = (oid: string): Parameters<FakeBrowser['tab']>[0] => ({
    deps: {
      fetch: (input, init) => {
        const url = new Request(input).url;
        if (url === 'https://huggingface.co/api/models/owner/repo/paths-info/main') {
          const body: unknown = JSON.parse(typeof init?.body === 'string' ? init.body : '');
          expect(body).toEqual({ paths: ['unet/w.safetensors'] });
          const lfs = { oid, size: weights.length, pointerSize: 134 };
          return Promise.resolve(
            Response.json([{ type: 'file', path: 'unet/w.safetensors', size: weights.length, lfs }]),
          );
        }
        return fetch(url.replace(address, root), init);
      },
    },
  });

  it('says the hash, which is checked', async () => {
    const good = browser.tab(hub(sha256));
    expectBytes(await readAll(await open(good.tree(address), 'unet/w.safetensors')), weights);
    expect((await good.list())[0]?.files[0]?.verified).toBe(true);
    browser = createFakeBrowser();
    const bad = await open(browser.tab(hub('b'.repeat(64))).tree(address), 'unet/w.safetensors');
    expect((await problemOf(() => readAll(bad))).code).toBe('hashMismatch');
  });

  it('may say it in a header, too', async () => {
    const linked = (hash: string): void => {
      server.files.set(served('unet/w.safetensors'), {
        bytes: weights,
        etag: '"w1"',
        headers: { 'x-linked-etag': `"${hash}"`, 'x-linked-size': String(weights.length) },
      });
    };
    linked('c'.repeat(64));
    const bad = await open(browser.tab().tree(root), 'unet/w.safetensors');
    expect((await problemOf(() => readAll(bad))).code).toBe('hashMismatch');
    linked(sha256);
    expectBytes(await readAll(await open(browser.tab().tree(root), 'unet/w.safetensors')), weights);
    expect((await browser.tab().list())[0]?.files[0]?.verified).toBe(true);
  });
});
