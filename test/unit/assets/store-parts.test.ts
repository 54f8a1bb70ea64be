/** @file The store's small parts: records that cannot be torn, schemas, locks, identities, ranges, speed; files beyond 4 GiB; the soak. */
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCrashingDisk, PowerFailure } from '../../../scripts/lib/crashing-disk.js';
import { createFolderDisk } from '../../../scripts/lib/folder-disk.js';
import { randomFrom, soakDownloads } from '../../../scripts/lib/soak-downloads.js';
import {
  addRange,
  countBytes,
  cutRanges,
  firstGap,
  missingRanges,
  parseRanges,
} from '../../../src/assets/download/ranges.js';
import { createRate, secondsLeft } from '../../../src/assets/download/rate.js';
import { identityOf } from '../../../src/assets/store/identity.js';
import { createLocks, takeLease } from '../../../src/assets/store/locks.js';
import { createMemoryDisk } from '../../../src/assets/store/memory-disk.js';
import { createModelStore } from '../../../src/assets/store/model-store.js';
import { openBrowserDisk } from '../../../src/assets/store/open-disk.js';
import { names, type FileRecord } from '../../../src/assets/store/records.js';
import { prepareDisk } from '../../../src/assets/store/schema.js';
import { readRecord, removeRecord, writeRecord } from '../../../src/assets/store/slots.js';
import { problemOf } from './support.js';

describe('records', () => {
  it('are what was written last', async () => {
    const disk = createMemoryDisk();
    expect(await readRecord(disk, 'r')).toBeUndefined();
    for (let i = 0; i < 5; i++) {
      await writeRecord(disk, 'r', { i, text: 'é\n' });
      expect(await readRecord(disk, 'r')).toEqual({ i, text: 'é\n' });
    }
    await removeRecord(disk, 'r');
    expect(await disk.list()).toEqual([]);
  });

  it('are the old or the new one after a crash at any byte', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(200), fc.nat(), async (at, seed) => {
        const disk = createCrashingDisk(randomFrom(seed));
        const first = disk.boot();
        await writeRecord(first, 'r', 'one');
        await writeRecord(first, 'r', 'two');
        disk.crashAfter(at);
        const outcome = await writeRecord(first, 'r', 'three').then(
          () => 'written',
          (error: unknown) => (error instanceof PowerFailure ? 'killed' : Promise.reject(new Error(String(error)))),
        );
        const after = await readRecord(outcome === 'written' ? first : disk.boot(), 'r');
        expect(outcome === 'written' ? ['three'] : ['two', 'three']).toContain(after);
      }),
    );
  });
});

describe('schemas', () => {
  it('leaves a newer store alone, and works without', async () => {
    const disk = createMemoryDisk();
    await writeRecord(disk, 'schema', { schema: 99 });
    await writeRecord(disk, 'f-x', { kind: 'from the future' });
    const before = await disk.list();
    const store = createModelStore({ openDisk: () => Promise.resolve({ kind: 'disk', disk }), http: { fetch } });
    expect(await store.status()).toMatchObject({
      kind: 'none',
      reason: expect.stringContaining('schema 99') as string,
    });
    expect(await disk.list()).toEqual(before);
  });

  it('brings an older one up to date, step by step, also after a crash', async () => {
    const disk = createMemoryDisk();
    await writeRecord(disk, 'schema', { schema: 1 });
    const steps: number[] = [];
    let fails = true;
    const migrations = [1, 2].map((from) => (): Promise<void> => {
      steps.push(from);
      return from === 2 && fails ? Promise.reject(new Error('cut off')) : Promise.resolve();
    });
    await expect(prepareDisk(disk, { schema: 3, migrations })).rejects.toThrow('cut off');
    fails = false;
    expect(await prepareDisk(disk, { schema: 3, migrations })).toBeUndefined();
    expect(steps).toEqual([1, 2, 2]);
    expect(await readRecord(disk, 'schema')).toEqual({ schema: 3 });
    expect(await prepareDisk(disk)).toContain('newer version');
  });
});

describe('locks', () => {
  it('let one in alone, or several together, in order', async () => {
    const locks = createLocks();
    const log: string[] = [];
    const work = (name: string) => async (): Promise<void> => {
      log.push(`+${name}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
      log.push(`-${name}`);
    };
    await Promise.all([
      locks.hold('x', work('a')),
      locks.hold('x', work('b'), { shared: true }),
      locks.hold('x', work('c'), { shared: true }),
      locks.hold('x', work('d')),
      locks.hold('y', work('e')),
    ]);
    expect(log.filter((line) => !line.endsWith('e'))).toEqual(['+a', '-a', '+b', '+c', '-b', '-c', '+d', '-d']);
    expect(log.indexOf('+e')).toBeLessThan(log.indexOf('-a'));
  });

  it('can be tried, left, and kept', async () => {
    const locks = createLocks();
    const release = await takeLease(locks, 'x');
    expect(await locks.tryHold('x', () => Promise.resolve(1))).toBeUndefined();
    const leave = new AbortController();
    const waiting = problemOf(() => locks.hold('x', () => Promise.resolve(), { signal: leave.signal }));
    leave.abort();
    expect((await waiting).code).toBe('aborted');
    const together = await takeLease(locks, 'x');
    await together();
    await release();
    expect(await locks.tryHold('x', () => Promise.resolve(1))).toEqual({ value: 1 });
    const held: boolean[] = [];
    for (const shared of [true, false]) {
      await locks.hold('x', async () => void held.push(await locks.anyHeld(['y', 'x']), await locks.anyHeld(['y'])), {
        shared,
      });
    }
    expect([...held, await locks.anyHeld(['x'])]).toEqual([true, false, true, false, false]);
    await expect(locks.hold('x', () => Promise.reject(new Error('work')))).rejects.toThrow('work');
    expect(await locks.tryHold('x', () => Promise.resolve(2))).toEqual({ value: 2 });
  });
});

describe('identities', () => {
  const id = (url: string): string => identityOf(new URL(url));
  it.each([
    ['https://a.example/f?x=1&token=s', 'https://a.example/f?x=1'],
    ['https://u:p@a.example/f#part', 'https://a.example/f'],
    ['https://a.example/f?b=2&a=1', 'https://a.example/f?a=1&b=2'],
    [
      'https://a.example/f?X-Amz-Signature=s&X-Amz-Date=d&Expires=9&Signature=s&Key-Pair-Id=k&Policy=p',
      'https://a.example/f',
    ],
    ['https://a.example/f?sv=1&se=2&sr=b&sp=r&sig=s', 'https://a.example/f'],
  ])('%s is %s', (a, b) => expect(id(a)).toBe(id(b)));
  it.each([
    ['https://a.example/f', 'https://a.example/g'],
    ['https://a.example/f', 'http://a.example/f'],
    ['https://a.example/f?version=1', 'https://a.example/f?version=2'],
    ['https://a.example/f?type=Model&format=SafeTensor', 'https://a.example/f'],
  ])('%s is not %s', (a, b) => expect(id(a)).not.toBe(id(b)));
});

describe('ranges', () => {
  const range = fc.tuple(fc.nat(60), fc.nat(60)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
  it('are the set of their bytes', () => {
    fc.assert(
      fc.property(fc.array(range, { maxLength: 12 }), fc.integer({ min: 1, max: 20 }), (added, chunk) => {
        const set = new Set(added.flatMap(([start, end]) => Array.from({ length: end - start }, (_, i) => start + i)));
        const ranges = added.reduce<ReturnType<typeof addRange>>(addRange, []);
        const bytes = ranges.flatMap(([start, end]) => Array.from({ length: end - start }, (_, i) => start + i));
        expect(bytes).toEqual([...set].sort((a, b) => a - b));
        expect(countBytes(ranges)).toBe(set.size);
        expect(parseRanges(JSON.parse(JSON.stringify(ranges)), 60)).toEqual(ranges); // sorted, and none touch
        const missing = missingRanges(ranges, 60);
        expect(countBytes(missing)).toBe(60 - set.size);
        const all = [...missing, ...ranges].reduce<ReturnType<typeof addRange>>(addRange, []);
        expect(all).toEqual([[0, 60]]);
        const cut = cutRanges(missing, chunk);
        expect(countBytes(cut)).toBe(countBytes(missing));
        expect(cut.every(([start, end]) => Math.floor(start / chunk) === Math.floor((end - 1) / chunk))).toBe(true);
        const gap = Array.from({ length: 61 }, (_, i) => i).find((i) => !set.has(i));
        expect(firstGap(ranges)).toBe(gap);
      }),
    );
  });
  it.each([
    [null],
    [[[0]]],
    [[[1, 1]]],
    [[[0, 2, 3]]],
    [
      [
        [0, 2],
        [2, 3],
      ],
    ],
    [
      [
        [3, 4],
        [0, 1],
      ],
    ],
    [[[0, 61]]],
    [[[-1, 2]]],
    [[['0', 1]]],
  ])('that are none are refused: %j', (json) => expect(parseRanges(json, 60)).toBeUndefined());
});

it('speed is the mean of the last seconds', () => {
  let time = 0;
  const rate = createRate(() => time);
  expect(rate.at(0)).toBeUndefined();
  const at = (seconds: number, bytes: number): number | undefined => {
    time = seconds * 1000;
    return rate.at(bytes);
  };
  expect(at(1, 1000)).toBe(1000);
  for (let s = 2; s <= 20; s++) at(s, 1000 + (s - 1) * 500);
  expect(at(21, 11_000)).toBeCloseTo(500);
  expect(secondsLeft(11_000, 21_000, 500)).toBe(20);
  expect(secondsLeft(0, undefined, 500)).toBeUndefined();
  expect(secondsLeft(0, 10, 0)).toBeUndefined();
  expect(at(22, 0)).toBeUndefined(); // begun anew
  at(-3600, 500); // the clock was set back
  expect(at(-3599, 1500)).toBe(1000);
});

it('a browser without storage has no disk, and says what it tried', async () => {
  const choice = await openBrowserDisk({ storage: undefined, caches: undefined });
  expect(choice).toMatchObject({ kind: 'none' });
  const refused = await openBrowserDisk({
    storage: { getDirectory: () => Promise.reject(new DOMException('not in private windows', 'SecurityError')) },
    caches: { open: () => Promise.reject(new DOMException('denied', 'SecurityError')) },
  });
  expect(JSON.stringify(refused)).toContain('private file system: not in private windows; cache: denied');
});

it('a disk that is full is a disk if there is something on it', async () => {
  const full = () => Promise.reject(new DOMException('no room', 'QuotaExceededError'));
  const cacheOf = (...urls: readonly string[]): Pick<CacheStorage, 'open'> => {
    const cache = {
      put: full,
      match: () => Promise.resolve(new Response('x')),
      keys: () => Promise.resolve(urls.map((url) => new Request(url))),
    };
    return { open: () => Promise.resolve(cache as unknown as Cache) }; // no more of it is used
  };
  expect((await openBrowserDisk({ caches: cacheOf() })).kind).toBe('none');
  expect((await openBrowserDisk({ caches: cacheOf('https://darkroom.invalid/schema.a/0') })).kind).toBe('disk');
});

describe('a stored file beyond 4 GiB', () => {
  let folder = '';
  beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'darkroom-large-'))));
  afterAll(() => rm(folder, { recursive: true }));

  it('is read at any place', async () => {
    const url = 'https://models.example/large.safetensors';
    const id = identityOf(new URL(url));
    const data = names.data(id, '1');
    const bytes = 5 * 2 ** 30;
    const disk = createFolderDisk(folder);
    const file = await open(join(folder, data), 'w');
    await file.truncate(bytes); // sparse: takes no room
    const mark = Uint8Array.of(1, 2, 3, 4);
    for (const at of [2 ** 32 - 2, bytes - 4]) await file.write(mark, 0, 4, at);
    await file.close();
    const record: FileRecord = {
      kind: 'file',
      model: id,
      url,
      data,
      bytes,
      sha256: '0'.repeat(64),
      expected: false,
      version: {},
      fixed: true,
      stale: false,
      storedAt: 0,
    };
    await writeRecord(disk, names.file(id), record);
    const store = createModelStore({
      openDisk: () => Promise.resolve({ kind: 'disk', disk }),
      http: { fetch: () => Promise.reject(new TypeError('no network')) },
    });
    const source = await store.tree(url).open('large.safetensors');
    expect(source?.size).toBe(bytes);
    expect(await source?.read(2 ** 32 - 2, 2 ** 32 + 2)).toEqual(mark);
    expect(await source?.read(bytes - 4, bytes)).toEqual(mark);
  });
});

it('no file that is not whole is ever seen, whatever the server and the power do', { timeout: 300_000 }, async () => {
  const report = await soakDownloads({ count: 60, seed: 3 });
  expect(report.problems).toEqual([]);
  expect(report.kills).toBeGreaterThan(30);
  expect(report.resumedBytes).toBeGreaterThan(100_000);
});
