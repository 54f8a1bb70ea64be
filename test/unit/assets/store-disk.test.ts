/** @file The contract of a disk, kept by each: memory, the Cache API over a fake of it, a folder; OPFS and the real Cache API are in test/browser. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createFolderDisk } from '../../../scripts/lib/folder-disk.js';
import { createCacheDisk } from '../../../src/assets/store/cache-disk.js';
import type { Disk } from '../../../src/assets/store/disk.js';
import { createMemoryDisk } from '../../../src/assets/store/memory-disk.js';
import { expectBytes } from './support.js';

/** As much of a `Cache` as the disk uses: entries are replaced whole. */
function fakeCache(): Cache {
  const entries = new Map<string, Blob>();
  const keyOf = (url: RequestInfo | URL): string => (url instanceof Request ? url.url : url.toString());
  const cache: Pick<Cache, 'match' | 'put' | 'delete' | 'keys'> = {
    match: (url) => {
      const blob = entries.get(keyOf(url));
      return Promise.resolve(blob && new Response(blob));
    },
    put: async (url, response) => void entries.set(keyOf(url), await response.blob()),
    delete: (url) => Promise.resolve(entries.delete(keyOf(url))),
    keys: () => Promise.resolve([...entries.keys()].map((url) => new Request(url))),
  };
  return cache as Cache; // add, addAll and matchAll are not used
}

let folder = '';
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'darkroom-disk-'))));
afterAll(() => rm(folder, { recursive: true }));

let folders = 0;
const disks: Readonly<Record<string, () => Disk>> = {
  memory: createMemoryDisk,
  cache: () => createCacheDisk(fakeCache(), { pageBytes: 100 }),
  folder: () => createFolderDisk(join(folder, String(folders++))),
};

async function bytesOf(disk: Disk, name: string): Promise<Uint8Array> {
  const view = await disk.view(name);
  const bytes = (await view?.read(0, view.bytes)) ?? new Uint8Array(0);
  if (view?.blob !== undefined) expectBytes(new Uint8Array(await view.blob.arrayBuffer()), bytes);
  return bytes;
}

describe.each(Object.entries(disks))('a disk in %s', (_, makeDisk) => {
  it('has no files at first, and none after they are removed', async () => {
    const disk = makeDisk();
    expect(await disk.list()).toEqual([]);
    expect(await disk.view('a')).toBeUndefined();
    await disk.remove('a');
    const file = await disk.open('a');
    await file.write(Uint8Array.of(1, 2, 3), 0);
    await file.close();
    await (await disk.open('b')).close();
    expect([...(await disk.list())].sort((a, b) => a.bytes - b.bytes)).toEqual([
      { name: 'b', bytes: 0 },
      { name: 'a', bytes: 3 },
    ]);
    await disk.remove('a');
    expect((await disk.list()).map(({ name }) => name)).toEqual(['b']);
    expect(await disk.view('a')).toBeUndefined();
    expect((await disk.view('b'))?.bytes).toBe(0);
  });

  it('fills with zeros what lies between, and reads no further than the end', async () => {
    const disk = makeDisk();
    const file = await disk.open('a');
    await file.write(Uint8Array.of(7), 450);
    expect(await file.bytes()).toBe(451);
    expect([...(await file.read(448, 1000))]).toEqual([0, 0, 7]);
    expect(await file.read(451, 452)).toHaveLength(0);
    await file.close();
    expect((await bytesOf(disk, 'a')).filter((byte) => byte !== 0)).toEqual(Uint8Array.of(7));
    expect(await bytesOf(disk, 'a')).toHaveLength(451);
  });

  it('is what an array would be, after any writes, cuts and reopenings', async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('write' as const), at: fc.nat(400), bytes: fc.uint8Array({ maxLength: 250 }) }),
      fc.record({ kind: fc.constant('truncate' as const), length: fc.nat(500) }),
      fc.record({ kind: fc.constantFrom('flush' as const, 'reopen' as const) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        const disk = makeDisk();
        let expected = new Uint8Array(0);
        const resize = (length: number): void => {
          const next = new Uint8Array(length);
          next.set(expected.subarray(0, length));
          expected = next;
        };
        let file = await disk.open('a');
        for (const action of steps) {
          if (action.kind === 'write') {
            await file.write(new Uint8Array(action.bytes), action.at);
            if (action.bytes.length > 0) resize(Math.max(expected.length, action.at + action.bytes.length));
            expected.set(action.bytes, Math.min(action.at, expected.length));
          } else if (action.kind === 'truncate') {
            await file.truncate(action.length);
            resize(action.length);
          } else if (action.kind === 'flush') await file.flush();
          else {
            await file.close();
            file = await disk.open('a');
          }
          expect(await file.bytes()).toBe(expected.length);
          expectBytes(await file.read(0, 2000), expected);
        }
        await file.close();
        expectBytes(await bytesOf(disk, 'a'), expected);
      }),
      { numRuns: 60 },
    );
  });

  it('takes writes that come at the same time, while it is being flushed', async () => {
    const disk = makeDisk();
    const file = await disk.open('a');
    const writes = Array.from({ length: 60 }, async (_, i) => {
      await file.write(new Uint8Array(50).fill(i + 1), i * 50);
      if (i % 7 === 0) await file.flush();
    });
    await Promise.all(writes);
    await file.close();
    expectBytes(
      await bytesOf(disk, 'a'),
      Uint8Array.from({ length: 3000 }, (_, i) => Math.floor(i / 50) + 1),
    );
  });
});
