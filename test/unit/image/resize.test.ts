/** @file Resizing against pictures that Pillow resized (test/golden/unit/pillow-resize): every value the same. */
import { readFileSync } from 'node:fs';
import { inflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { resize, type ResizeFilter } from '../../../src/image/resize.js';

interface Golden {
  readonly sources: Readonly<Record<string, string>>;
  readonly cases: readonly {
    readonly from: readonly [number, number];
    readonly to: readonly [number, number];
    readonly filter: ResizeFilter;
    readonly rgb: string;
  }[];
}

const golden = JSON.parse(
  readFileSync(new URL('../../golden/unit/pillow-resize/resize.json', import.meta.url), 'utf8'),
) as Golden;
const unpack = (text = ''): Uint8Array => new Uint8Array(inflateSync(Buffer.from(text, 'base64')));

describe('resize', () => {
  it('has cases of every filter, larger, smaller and in one direction', () => {
    expect(new Set(golden.cases.map(({ filter }) => filter)).size).toBe(4);
    expect(golden.cases.length).toBeGreaterThanOrEqual(16);
  });

  it.each(golden.cases)('$from → $to by $filter', ({ from: [width, height], to, filter, rgb }) => {
    const source = { width, height, rgb: unpack(golden.sources[`${width}x${height}`]) };
    const resized = resize(source, to[0], to[1], filter);
    expect([resized.width, resized.height]).toEqual(to);
    expect(Buffer.compare(resized.rgb, unpack(rgb))).toBe(0);
  });

  it('gives back the very picture where the size is right', () => {
    const picture = { width: 3, height: 2, rgb: Uint8Array.from({ length: 18 }, (_, i) => i * 14) };
    expect(resize(picture, 3, 2, 'lanczos')).toBe(picture);
  });

  it.each([
    [0, 5],
    [5, -1],
    [2.5, 5],
    [NaN, 5],
  ])('refuses %d×%d', (width, height) => {
    expect(() => resize({ width: 1, height: 1, rgb: new Uint8Array(3) }, width, height, 'box')).toThrow(
      /expected sides of at least 1/,
    );
  });
});
