/** @file Downloads beyond 4 GiB: places, ranges, lengths, records and resumes, over a disk and a network on which zeros take no room. */
import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Sha256 } from '../../../src/assets/download/sha256.js';
import type { Disk, DiskFile } from '../../../src/assets/store/disk.js';
import { createMemoryDisk } from '../../../src/assets/store/memory-disk.js';
import { createModelStore, type ModelStore, type StoreDeps } from '../../../src/assets/store/model-store.js';
import { expectBytes, problemOf } from './support.js';

const GIB = 2 ** 30;
/** Odd, so that no chunk ends with the file. */
const BYTES = 5 * GIB + 12_345;
const CHUNK = 64 << 20;
const URL_OF_FILE = 'https://models.example/large.safetensors';
const MARK = Uint8Array.of(1, 2, 3, 4);
/** Where the file is not zero: on both sides of 2³¹ and 2³², and at its ends. */
const PLACES = [0, 2 ** 31 - 2, 2 ** 32 - 2, 2 ** 32 + CHUNK - 1, BYTES - 4] as const;

const zeros = new Uint8Array(CHUNK);

/** Bytes of the file, without the zeros being made. */
function fileBytes(start: number, end: number): Uint8Array<ArrayBuffer> {
  const marks = PLACES.filter((place) => place < end && place + 4 > start);
  if (marks.length === 0) return zeros.subarray(0, end - start);
  const bytes = new Uint8Array(end - start);
  for (const place of marks) {
    const from = Math.max(start, place);
    bytes.set(MARK.subarray(from - place, Math.min(end, place + 4) - place), from - start);
  }
  return bytes;
}

/** Parts of the common zeros are known to be such; they are handed on as they are, so that 5 GiB take no time. */
const isZero = (bytes: Uint8Array): boolean =>
  bytes.buffer === zeros.buffer || Buffer.compare(bytes, zeros.subarray(0, bytes.length)) === 0;

interface SparseDisk extends Disk {
  /** Bytes that were written, zeros too. */
  written(): number;
}

/** Files of data hold what is not zero, and how long they are; others are in memory. */
function sparseDisk(): SparseDisk {
  const small = createMemoryDisk();
  const files = new Map<string, { length: number; readonly pieces: Map<number, Uint8Array> }>();
  let written = 0;
  const read = (name: string, start: number, end: number): Uint8Array<ArrayBuffer> => {
    const touched = [...(files.get(name)?.pieces ?? [])].filter(([at, piece]) => at < end && at + piece.length > start);
    if (touched.length === 0) return zeros.subarray(0, end - start);
    const bytes = new Uint8Array(end - start);
    for (const [at, piece] of touched) {
      const from = Math.max(start, at);
      bytes.set(piece.subarray(from - at, Math.min(end, at + piece.length) - at), from - start);
    }
    return bytes;
  };
  const open = (name: string): DiskFile => {
    const file = files.get(name) ?? { length: 0, pieces: new Map<number, Uint8Array>() };
    files.set(name, file);
    const resize = (length: number): Promise<void> => {
      for (const at of [...file.pieces.keys()]) if (at >= length) file.pieces.delete(at);
      file.length = length;
      return Promise.resolve();
    };
    return {
      bytes: () => Promise.resolve(file.length),
      read: (start, end) => Promise.resolve(read(name, start, Math.min(end, file.length))),
      write: (bytes, at) => {
        written += bytes.length;
        if (!isZero(bytes)) file.pieces.set(at, bytes.slice());
        file.length = Math.max(file.length, at + bytes.length);
        return Promise.resolve();
      },
      truncate: resize,
      reserve: (length) => (length > file.length ? resize(length) : Promise.resolve()),
      flush: () => Promise.resolve(),
      close: () => Promise.resolve(),
    };
  };
  return {
    ...small,
    written: () => written,
    list: async () => [...(await small.list()), ...[...files].map(([name, { length }]) => ({ name, bytes: length }))],
    open: (name) => (name.startsWith('d-') ? Promise.resolve(open(name)) : small.open(name)),
    view: (name) => {
      const file = files.get(name);
      if (file === undefined) return small.view(name);
      return Promise.resolve({ bytes: file.length, read: (start, end) => Promise.resolve(read(name, start, end)) });
    },
    remove: (name) => (files.delete(name) ? Promise.resolve() : small.remove(name)),
  };
}

let asked: (readonly [start: number, end: number])[] = [];
/** The network goes when this byte is asked for. */
let tornAt = Infinity;

const sparseFetch: typeof fetch = (_, init) => {
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(new Headers(init?.headers).get('range') ?? '') ?? [];
  const [start, end] = [Number(first), Math.min(BYTES, Number(last) + 1)];
  asked.push([start, end]);
  if (end > tornAt) return Promise.reject(new TypeError('torn'));
  const headers = {
    etag: '"large"',
    'content-range': `bytes ${start}-${end - 1}/${BYTES}`,
    'content-length': `${end - start}`,
  };
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(fileBytes(start, end)); // as it is: a body of bytes would be copied
      controller.close();
    },
  });
  return Promise.resolve(new Response(body, { status: 206, headers }));
};

/** Not SHA-256, which takes half a minute here: how many bytes came, and where those that are not zero were. */
function placesOfMarks(): Sha256 {
  let length = 0;
  const found: number[] = [];
  return {
    update(bytes) {
      if (!isZero(bytes)) for (const [i, byte] of bytes.entries()) if (byte !== 0) found.push(length + i);
      length += bytes.length;
    },
    digest: () =>
      createHash('sha256')
        .update(JSON.stringify([length, found]))
        .digest('hex'),
  };
}
const allMarks = PLACES.flatMap((place) => [0, 1, 2, 3].map((i) => place + i));
const EXPECTED = createHash('sha256')
  .update(JSON.stringify([BYTES, allMarks]))
  .digest('hex');

const tabOn = (disk: Disk, more: Partial<StoreDeps> = {}): ModelStore =>
  createModelStore({
    openDisk: () => Promise.resolve({ kind: 'disk', disk }),
    http: { fetch: sparseFetch, sleep: () => Promise.resolve(), now: () => 1e12 },
    tuning: { createHash: placesOfMarks, chunkBytes: CHUNK, saveBytes: CHUNK, tries: 2 },
    ...more,
  });

beforeEach(() => {
  asked = [];
  tornAt = Infinity;
});

async function expectFile(store: ModelStore): Promise<void> {
  const tree = store.tree(URL_OF_FILE);
  const file = await tree.open('large.safetensors');
  await file?.download?.();
  expect(file?.size).toBe(BYTES);
  for (const place of PLACES) expectBytes((await file?.read(place, place + 4)) ?? zeros, fileBytes(place, place + 4));
  expectBytes((await file?.read(2 ** 32 - 8, 2 ** 32 + 8)) ?? zeros, fileBytes(2 ** 32 - 8, 2 ** 32 + 8));
  tree.close?.();
  expect(await store.list()).toMatchObject([
    { bytes: BYTES, partialBytes: 0, files: [{ bytes: BYTES, sha256: EXPECTED, url: URL_OF_FILE }] },
  ]);
}

describe('a file of 5 GiB', () => {
  it('is asked for in ranges that are each of its bytes once, and stored with its length', async () => {
    const disk = sparseDisk();
    await expectFile(tabOn(disk));
    const ranges = [...asked].sort(([a], [b]) => a - b);
    expect(ranges[0]).toEqual([0, 65536]);
    for (const [i, [start]] of ranges.entries()) if (i > 0) expect(start).toBe(ranges[i - 1]?.[1]);
    expect(ranges.at(-1)?.[1]).toBe(BYTES);
    expect(disk.written()).toBe(BYTES);
    expect((await disk.list()).find(({ name }) => name.startsWith('d-'))?.bytes).toBe(BYTES);
  });

  it('is gone on with behind 4 GiB where the connection went for good', async () => {
    const disk = sparseDisk();
    tornAt = 2 ** 32 + 3 * CHUNK;
    const file = await tabOn(disk).tree(URL_OF_FILE).open('large.safetensors');
    expect((await problemOf(() => file?.download?.() ?? Promise.resolve())).code).toBe('downloadFailed');
    const [left] = await tabOn(disk).list();
    expect(left).toMatchObject({ bytes: 0, files: [] });
    expect(left?.partialBytes).toBeGreaterThan(2 ** 32 - 4 * CHUNK);
    tornAt = Infinity;
    asked = [];
    const events: number[] = [];
    const again = tabOn(disk);
    again.subscribe(({ resumedBytes }) => events.push(resumedBytes));
    await expectFile(again);
    expect(events.at(-1)).toBe(left?.partialBytes);
    const [, ...ranges] = asked; // the first asks what the server has
    expect(Math.min(...ranges.map(([start]) => start))).toBeGreaterThan(2 ** 32 - 4 * CHUNK);
    expect(ranges.reduce((sum, [start, end]) => sum + end - start, 0)).toBe(BYTES - (left?.partialBytes ?? 0));
  });

  it('is not refused for what Chromium says of any disk: 10 GiB more than is used, or whole GiB of a smaller one', async () => {
    const usage = 123_456_789;
    await expectFile(tabOn(sparseDisk(), { estimate: () => Promise.resolve({ quota: usage + 4 * GIB, usage }) }));
    const tells = tabOn(sparseDisk(), { estimate: () => Promise.resolve({ quota: 4e9, usage }) });
    const file = await tells.tree(URL_OF_FILE).open('large.safetensors');
    const problem = await problemOf(() => file?.download?.() ?? Promise.resolve());
    expect(problem.code).toBe('storageFull');
    expect(problem.message).toContain('The file needs 5369 MB; the browser has 3877 MB left for this site');
  });
});
