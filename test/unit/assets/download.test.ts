/** @file Downloads from a server with every bad habit: what ends up in the file is the file, or there is a typed error. */
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  openMisbehavingServer,
  patternBytes,
  type Asked,
  type Fault,
  type MisbehavingServer,
  type ServedFile,
} from '../../../scripts/lib/misbehaving-server.js';
import {
  download,
  HEAD_BYTES,
  type Downloaded,
  type DownloadOptions,
  type DownloadProgress,
  type PartialFile,
} from '../../../src/assets/download/download.js';
import { probe } from '../../../src/assets/download/probe.js';
import { countBytes } from '../../../src/assets/download/ranges.js';
import { createMemoryDisk } from '../../../src/assets/store/memory-disk.js';
import { expectBytes, problemOf } from './support.js';

const SIZE = 400_000;
const file = patternBytes(SIZE);
const sha256 = createHash('sha256').update(file).digest('hex');
const MODIFIED = 'Tue, 01 Sep 2026 08:00:00 GMT';

let server: MisbehavingServer;
beforeAll(async () => void (server = await openMisbehavingServer()));
afterAll(() => server.close());
const waits: number[] = [];
beforeEach(() => {
  server.log.length = 0;
  waits.length = 0;
});

const deps = {
  fetch,
  random: () => 0.5,
  sleep: (ms: number): Promise<void> => {
    waits.push(ms);
    return Promise.resolve();
  },
};
const tuning = { chunkBytes: 65536, parallel: 3, saveBytes: 65536 };

interface Run extends Partial<Pick<DownloadOptions, 'partial' | 'expected' | 'onProgress' | 'tuning'>> {
  readonly signal?: AbortSignal;
  readonly stallMs?: number;
  /** What is on the disk already. */
  readonly before?: Uint8Array<ArrayBuffer>;
}

interface Result {
  readonly downloaded: Downloaded;
  readonly bytes: Uint8Array;
  /** What the server was asked for, in bytes. */
  readonly asked: number;
}

let paths = 0;
let disk = createMemoryDisk();
let notes: (PartialFile | undefined)[] = [];

async function run(served: ServedFile, { signal, stallMs, before, ...options }: Run = {}): Promise<Result> {
  const path = `/f${paths++}`;
  server.files.set(path, served);
  const call = { deps: { ...deps, ...(stallMs ? { stallMs } : {}) }, url: new URL(server.origin + path), signal };
  disk = createMemoryDisk();
  notes = [];
  const opened = await disk.open('x');
  if (before !== undefined) await opened.write(before, 0);
  const found = await probe(call, HEAD_BYTES);
  if (found.kind === 'absent') throw new Error('absent');
  const note = (partial: PartialFile | undefined): Promise<void> => {
    notes.push(partial);
    return Promise.resolve();
  };
  const downloaded = await download({ call, file: opened, found, note, tuning, ...options });
  return { downloaded, bytes: await stored(), asked: askedBytes(path) };
}

function askedBytes(path: string): number {
  const ranges = server.log.flatMap((asked) => (asked.path === path && asked.range ? [asked.range] : []));
  return ranges.reduce((sum, [start, end]) => sum + Math.min(end, SIZE) - start, 0);
}

async function stored(): Promise<Uint8Array> {
  return (await (await disk.view('x'))?.read(0, SIZE * 2)) ?? new Uint8Array(0);
}

/** A fault for the first `times` requests after the probe. */
const faulty =
  (fault: Fault, times = 1): ((asked: Asked) => Fault | undefined) =>
  ({ nth }) =>
    nth >= 1 && nth <= times ? fault : undefined;

const REFUSED: Fault = { kind: 'status', status: 416 };
/** What a network answers that wants a login first. */
const LOGIN: Fault = { kind: 'status', status: 200, headers: { 'content-type': 'text/html; charset=utf-8' } };

describe('download', () => {
  it('fetches a file in parallel ranges and says what it is', async () => {
    const progress: DownloadProgress[] = [];
    const { downloaded, bytes } = await run(
      { bytes: file, etag: '"1"' },
      { onProgress: (event) => progress.push(event) },
    );
    expectBytes(bytes, file);
    expect(downloaded).toMatchObject({ bytes: SIZE, sha256, resumedBytes: 0 });
    const ranges = server.log.map(({ range }) => range);
    expect(ranges[0]).toEqual([0, 65536]);
    expect(ranges.slice(1).sort((a, b) => (a?.[0] ?? 0) - (b?.[0] ?? 0))).toEqual(
      [1, 2, 3, 4, 5, 6].map((i) => [i * 65536, Math.min((i + 1) * 65536, SIZE)]),
    );
    expect(progress.at(-1)).toEqual({ state: 'verifying', bytes: SIZE, totalBytes: SIZE, resumedBytes: 0 });
    const counts = progress.map((event) => event.bytes);
    expect(counts).toEqual([...counts].sort((a, b) => a - b));
  });

  it.each([0, 1, 65535, 65536, 65537])('fetches a file of %d bytes', async (length) => {
    const bytes = patternBytes(length, 3);
    const result = await run({ bytes, etag: '"1"' });
    expectBytes(result.bytes, bytes);
    expect(result.downloaded.sha256).toBe(createHash('sha256').update(bytes).digest('hex'));
  });

  it.each<readonly [string, Partial<ServedFile>]>([
    ['a connection that breaks', { fault: faulty({ kind: 'cut', after: 30_000 }, 4) }],
    ['503', { fault: faulty({ kind: 'status', status: 503 }, 4) }],
    ['408', { fault: faulty({ kind: 'status', status: 408 }, 2) }],
    ['an answer that is empty', { fault: faulty({ kind: 'short', by: 1e9 }, 2) }],
    ['an answer shorter than announced', { fault: faulty({ kind: 'short', by: 100 }, 3) }],
    ['less than was asked for', { fault: faulty({ kind: 'less', bytes: 10_000 }, 9) }],
    ['an answer longer than asked for', { fault: faulty({ kind: 'short', by: -100 }) }],
    ['an answer of another place', { fault: faulty({ kind: 'shifted', by: 5 }) }],
    ['a server that forgets about ranges', { fault: faulty({ kind: 'whole' }) }],
    ['a server without ranges', { ranges: false }],
    ['a server without ranges and lengths', { ranges: false, lengths: 'hidden' }],
    ['a server that hides lengths', { lengths: 'hidden' }],
    ['a server that answers ranges with 416', { fault: ({ range }) => (range ? REFUSED : undefined) }],
    [
      'a server that answers short ranges with 416',
      { fault: ({ range }) => (range && range[1] < 1e9 ? REFUSED : undefined) },
    ],
    ['a server that compresses parts', { bytes: gzipSync(file), headers: { 'content-encoding': 'gzip' } }],
    ['parts between lines', { fault: () => ({ kind: 'multipart' }) }],
    ['a login page for a while', { fault: faulty(LOGIN, 2) }],
    [
      'a server without ranges whose connection breaks',
      { ranges: false, fault: faulty({ kind: 'cut', after: 9e4 }, 3) },
    ],
  ])('copes with %s', async (_, served) => {
    const { downloaded, bytes } = await run({ bytes: file, etag: '"1"', ...served });
    expectBytes(bytes, file);
    expect(downloaded.sha256).toBe(sha256);
  });

  it('gives a silent connection up, at its beginning and in the middle', async () => {
    const fault = ({ nth }: Asked): Fault | undefined =>
      nth === 1 || nth === 2 ? { kind: 'stall', after: (nth - 1) * 20_000 } : undefined;
    const { bytes } = await run({ bytes: file, etag: '"1"', fault }, { stallMs: 150 });
    expectBytes(bytes, file);
  });

  it('waits longer after each failure in a row, and as long as the server says', async () => {
    const fault = ({ nth }: Asked): Fault | undefined => {
      if (nth === 2) return { kind: 'status', status: 429, headers: { 'retry-after': '9' } };
      return nth === 1 || nth === 3 ? { kind: 'status', status: 500 } : undefined;
    };
    await run({ bytes: file, etag: '"1"', fault }, { tuning: { ...tuning, parallel: 1 } });
    expect(waits).toEqual([500, 9000, 2000]);
  });

  it('gives up after failures in a row, not after failures in all', async () => {
    // each request brings a little and breaks: 8 times more failures than are allowed in a row
    const crumbs = await run(
      { bytes: file, etag: '"1"', fault: ({ nth }) => (nth > 0 ? { kind: 'cut', after: 8000 } : undefined) },
      { tuning: { ...tuning, tries: 2 } },
    );
    expectBytes(crumbs.bytes, file);
    const problem = await problemOf(() =>
      run(
        { bytes: file, etag: '"1"', fault: ({ nth }) => (nth > 0 ? { kind: 'status', status: 502 } : undefined) },
        { tuning: { ...tuning, tries: 2, parallel: 1 } },
      ),
    );
    expect(problem.code).toBe('downloadFailed');
    expect(problem.message).toContain('the server answered 502 (after 2 tries)');
  });

  it('keeps what it has where a login page comes for good', async () => {
    const fault = ({ nth }: Asked): Fault | undefined => (nth > 3 ? LOGIN : undefined);
    const problem = await problemOf(() =>
      run({ bytes: file, etag: '"1"', fault }, { tuning: { ...tuning, parallel: 1, tries: 3 } }),
    );
    expect(problem).toMatchObject({ code: 'downloadFailed', message: expect.stringContaining('login') as string });
    expect(countBytes(notes.at(-1)?.done ?? [])).toBe(4 * 65536);
  });

  it.each([401, 403])('ends at once at %d, and keeps what it has', async (status) => {
    const fault = ({ range }: Asked): Fault | undefined =>
      (range?.[0] ?? 0) >= 300_000 ? { kind: 'status', status } : undefined;
    const problem = await problemOf(() =>
      run({ bytes: file, etag: '"1"', fault }, { tuning: { ...tuning, parallel: 1 } }),
    );
    expect(problem.code).toBe('accessDenied');
    expect(countBytes(notes.at(-1)?.done ?? [])).toBe(327_680); // the chunks before the one that was refused
    expect(waits).toEqual([]);
  });

  it('follows redirects at each request', async () => {
    server.files.set('/real', { bytes: file, etag: '"1"' });
    const moved = { kind: 'status', status: 302, headers: { location: '/real' } } as const;
    const { bytes } = await run({ bytes: file, fault: () => moved });
    expectBytes(bytes, file);
  });
});

describe('resuming', () => {
  const half = 200_000;
  const partial = (version: PartialFile['version']): PartialFile => ({
    version,
    done: [
      [0, half],
      [300_000, 350_000],
    ],
  });
  const before = Uint8Array.from(file, (byte, i) => (i < half || (i >= 300_000 && i < 350_000) ? byte : 0));

  it.each([
    ['a strong ETag', { etag: '"1"' }],
    ['a date', { modified: MODIFIED }],
    ['a weak ETag and a date', { etag: 'W/"1"', modified: MODIFIED }],
  ])('fetches only what is missing when the version is the same by %s', async (_, version) => {
    const { downloaded, bytes, asked } = await run(
      { bytes: file, ...version },
      { before, partial: partial({ size: SIZE, ...version }) },
    );
    expectBytes(bytes, file);
    expect(downloaded).toMatchObject({ sha256, resumedBytes: 250_000 });
    expect(asked).toBe(HEAD_BYTES + 150_000);
  });

  it.each([
    ['another ETag', { etag: '"2"' }, { etag: '"1"' }],
    ['another date', { modified: MODIFIED }, { modified: 'Wed, 02 Sep 2026 08:00:00 GMT' }],
    ['a weak ETag alone', { etag: 'W/"1"' }, { etag: 'W/"1"' }],
    ['nothing that tells', {}, {}],
  ])('begins anew with %s', async (_, now, then) => {
    const { downloaded, bytes } = await run(
      { bytes: file, ...now },
      { before: patternBytes(SIZE, 9), partial: partial({ size: SIZE, ...then }) },
    );
    expectBytes(bytes, file);
    expect(downloaded.resumedBytes).toBe(0);
  });

  it('begins anew when the length is another, the disk has lost bytes, or the server has lost its ranges', async () => {
    const etag = '"1"';
    for (const options of [
      { before: patternBytes(SIZE, 9), partial: partial({ size: SIZE + 1, etag }) },
      { before: file.slice(0, 340_000), partial: partial({ size: SIZE, etag }) },
    ]) {
      const { downloaded, bytes } = await run({ bytes: file, etag }, options);
      expectBytes(bytes, file);
      expect(downloaded.resumedBytes).toBe(0);
    }
    const streamed = await run(
      { bytes: file, etag, ranges: false },
      { before: patternBytes(SIZE, 9), partial: partial({ size: SIZE, etag }) },
    );
    expectBytes(streamed.bytes, file);
  });

  it('never puts two versions together: the file changes in the middle', async () => {
    const next = patternBytes(SIZE, 5);
    const path = `/f${paths}`;
    const fault = ({ nth }: Asked): undefined => {
      if (nth === 4) server.files.set(path, { bytes: next, etag: '"2"' });
    };
    const { downloaded, bytes } = await run({ bytes: file, etag: '"1"', fault });
    expectBytes(bytes, next);
    expect(downloaded.sha256).toBe(createHash('sha256').update(next).digest('hex'));
  });

  it('takes one stream from servers that never agree: it is of one version, which is noted', async () => {
    let count = 0;
    const path = `/f${paths}`;
    const fault = (): undefined => {
      server.files.set(path, { bytes: file, etag: `"${count++}"`, fault });
    };
    const { bytes, downloaded } = await run({ bytes: file, etag: '"x"', fault });
    expectBytes(bytes, file);
    expect(downloaded.found.version).toEqual({ size: SIZE, etag: `"${count - 2}"` }); // set for the last request by the one before
  });

  it('notes what has arrived when it is aborted, and goes on from there', async () => {
    const abort = new AbortController();
    const onProgress = ({ bytes }: DownloadProgress): void => {
      if (bytes > 250_000) abort.abort();
    };
    const served = { bytes: file, etag: '"1"' };
    const problem = await problemOf(() => run(served, { signal: abort.signal, onProgress }));
    expect(problem.code).toBe('aborted');
    const left = notes.at(-1);
    const kept = countBytes(left?.done ?? []);
    expect(kept).toBeGreaterThan(200_000);
    const { downloaded, bytes, asked } = await run(served, { before: new Uint8Array(await stored()), partial: left });
    expectBytes(bytes, file);
    expect(downloaded.resumedBytes).toBe(kept);
    expect(asked).toBe(HEAD_BYTES + missingBytes(left));
  });

  it('notes nothing that is not flushed', async () => {
    const memory = createMemoryDisk();
    let flushed: Uint8Array = new Uint8Array(0);
    const opened = await memory.open('x');
    const call = { deps, url: new URL(`${server.origin}/flush`) };
    server.files.set('/flush', { bytes: file, etag: '"1"' });
    const found = await probe(call, HEAD_BYTES);
    if (found.kind === 'absent') throw new Error('absent');
    const flush = async (): Promise<void> => {
      flushed = await opened.read(0, SIZE);
    };
    const note = (left: PartialFile | undefined): Promise<void> => {
      for (const [start, end] of left?.done ?? []) {
        expectBytes(flushed.subarray(start, end), file.subarray(start, end));
      }
      return Promise.resolve();
    };
    await download({ call, file: { ...opened, flush }, found, note, tuning: { ...tuning, saveBytes: 20_000 } });
    expectBytes(flushed, file);
  });
});

it('notes one thing after the other, and nothing once it is over', async () => {
  const call = { deps, url: new URL(`${server.origin}/slow`) };
  server.files.set('/slow', {
    bytes: file,
    etag: '"1"',
    fault: ({ nth }) => (nth === 4 ? { kind: 'whole' } : undefined),
  });
  const opened = await createMemoryDisk().open('x');
  const found = await probe(call, HEAD_BYTES);
  if (found.kind === 'absent') throw new Error('absent');
  let [writing, most] = [0, 0];
  const note = async (): Promise<void> => {
    most = Math.max(most, ++writing);
    await new Promise((resolve) => setTimeout(resolve, 30));
    writing--;
  };
  await download({ call, file: opened, found, note, tuning: { ...tuning, saveBytes: 20_000 } });
  expect([most, writing]).toEqual([1, 0]);
});

function missingBytes(partial: PartialFile | undefined): number {
  const done = partial?.done ?? [];
  const inHead = done.reduce((sum, [start, end]) => sum + Math.max(0, Math.min(end, HEAD_BYTES) - start), 0);
  return SIZE - countBytes(done) - (HEAD_BYTES - inHead);
}

describe('verifying', () => {
  it('accepts the hash that is expected', async () => {
    expectBytes((await run({ bytes: file, etag: '"1"' }, { expected: { sha256, bytes: SIZE } })).bytes, file);
  });

  it('refuses another hash, and leaves nothing to be gone on from', async () => {
    const fault = ({ range }: Asked): Fault | undefined =>
      (range?.[0] ?? 0) > 0 ? { kind: 'flip', at: 200_000 } : undefined;
    const problem = await problemOf(() => run({ bytes: file, etag: '"1"', fault }, { expected: { sha256 } }));
    expect(problem.code).toBe('hashMismatch');
    expect(problem.message).toContain(sha256);
    expect(notes.at(-1)).toBeUndefined();
    expect(await stored()).toHaveLength(0);
  });

  it('refuses another length before it fetches anything', async () => {
    const path = `/f${paths}`;
    const problem = await problemOf(() => run({ bytes: file, etag: '"1"' }, { expected: { bytes: SIZE - 1 } }));
    expect(problem.code).toBe('hashMismatch');
    expect(askedBytes(path)).toBe(HEAD_BYTES);
  });

  it('refuses another length that shows only at the end', async () => {
    const served = { bytes: file, ranges: false, lengths: 'hidden' } as const;
    expect((await problemOf(() => run(served, { expected: { bytes: SIZE + 1 } }))).code).toBe('hashMismatch');
  });

  it('fetches everything again when what it resumed from was bad', async () => {
    const { downloaded, bytes } = await run(
      { bytes: file, etag: '"1"' },
      {
        before: patternBytes(SIZE, 9),
        partial: { version: { size: SIZE, etag: '"1"' }, done: [[0, 300_000]] },
        expected: { sha256 },
      },
    );
    expectBytes(bytes, file);
    expect(downloaded.resumedBytes).toBe(0);
  });
});
