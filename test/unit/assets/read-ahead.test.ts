/** @file Reading ahead: the same bytes for any reads, few fetches, and one reader's abort is not another's. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { memorySource } from '../../../src/assets/byte-source.js';
import { readAhead } from '../../../src/assets/read-ahead.js';
import type { ByteSource } from '../../../src/assets/source.js';
import { fail } from '../../../src/base/errors.js';
import { problemOf } from './support.js';

const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i % 251);

/** A source that counts its reads. */
function counted(): { readonly source: ByteSource; readonly reads: [number, number][] } {
  const reads: [number, number][] = [];
  const inner = memorySource('s', bytes);
  const read: ByteSource['read'] = (start, end, signal, onBytes) => {
    reads.push([start, end]);
    return inner.read(start, end, signal, onBytes);
  };
  return { source: { ...inner, read }, reads };
}

describe('readAhead', () => {
  it('gives the same bytes as the source', async () => {
    const range = fc.tuple(fc.nat(1000), fc.nat(1000)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
    await fc.assert(
      fc.asyncProperty(
        fc.array(range),
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 3 }),
        async (ranges, blockBytes, keep) => {
          const source = readAhead(memorySource('s', bytes), { blockBytes, keep });
          const parts = await Promise.all(ranges.map(([start, end]) => source.read(start, end)));
          parts.forEach((part, i) => expect(part).toEqual(bytes.subarray(...(ranges[i] ?? []))));
        },
      ),
    );
  });

  it('fetches a block once for many small reads, also at the same time', async () => {
    const { source, reads } = counted();
    const ahead = readAhead(source, { blockBytes: 100, keep: 2 });
    await Promise.all(Array.from({ length: 20 }, (_, i) => ahead.read(i * 10, i * 10 + 10)));
    expect(reads).toEqual([
      [0, 100],
      [100, 200],
    ]);
    await ahead.read(50, 60);
    expect(reads).toHaveLength(2);
    await ahead.read(950, 1000); // drops the block used longest ago: the second
    await ahead.read(0, 10);
    expect(reads).toHaveLength(3);
    await ahead.read(100, 110);
    expect(reads.slice(2)).toEqual([
      [900, 1000],
      [100, 200],
    ]);
  });

  it('passes long reads through, and empty ones by', async () => {
    const { source, reads } = counted();
    const ahead = readAhead(source, { blockBytes: 100, keep: 2 });
    await ahead.read(5, 505);
    await ahead.read(7, 7);
    expect(reads).toEqual([[5, 505]]);
  });

  it('gives copies, so that a reader may transfer what it gets', async () => {
    const ahead = readAhead(memorySource('s', bytes), { blockBytes: 100, keep: 2 });
    const first = await ahead.read(0, 10);
    structuredClone(first, { transfer: [first.buffer] });
    expect(await ahead.read(0, 10)).toEqual(bytes.subarray(0, 10));
  });

  it('reports what is fetched, to the read that caused it', async () => {
    const ahead = readAhead(memorySource('s', bytes), { blockBytes: 100, keep: 2 });
    const seen: number[] = [];
    await ahead.read(0, 10, undefined, (n) => seen.push(n));
    await ahead.read(10, 20, undefined, (n) => seen.push(n));
    expect(seen).toEqual([100]);
  });

  it('survives the abort of the reader that began a shared block, and forgets failed blocks', async () => {
    const controller = new AbortController();
    let calls = 0;
    const source: ByteSource = {
      ...memorySource('s', bytes),
      read: (start, end, signal) =>
        new Promise((resolve, reject) => {
          calls++;
          if (calls > 1) resolve(bytes.subarray(start, end));
          signal?.addEventListener('abort', () => reject(fail('aborted', 'The task was aborted.')));
        }),
    };
    const ahead = readAhead(source, { blockBytes: 100, keep: 2 });
    const first = problemOf(() => ahead.read(0, 10, controller.signal));
    const second = ahead.read(10, 20);
    controller.abort();
    expect((await first).code).toBe('aborted');
    expect(await second).toEqual(bytes.subarray(10, 20));
    expect(calls).toBe(2);
  });

  it('passes failures on, and tries again at the next read', async () => {
    let calls = 0;
    const inner = memorySource('s', bytes);
    const flaky: ByteSource = {
      ...inner,
      read: (...range) => (calls++ === 0 ? Promise.reject(fail('downloadFailed', 'x')) : inner.read(...range)),
    };
    const ahead = readAhead(flaky, { blockBytes: 100, keep: 2 });
    expect((await problemOf(() => ahead.read(0, 10))).code).toBe('downloadFailed');
    expect(await ahead.read(0, 10)).toEqual(bytes.subarray(0, 10));
  });
});
