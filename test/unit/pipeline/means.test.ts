/** @file What is tried after a failure: less memory by and by, once more range, twice another device, and nothing for other errors. */
import { describe, expect, it } from 'vitest';
import { fail } from '../../../src/base/errors.js';
import type { Way, Ways } from '../../../src/pipeline/fit.js';
import { learnedMemory, otherMeans, withinMemory, type Means } from '../../../src/pipeline/means.js';

const half: Means = {
  dtype: 'float16',
  frugal: false,
  bands: false,
  streamed: false,
  losses: 0,
  warnings: ['earlier'],
};

/** What is tried next; fails the test where nothing is. */
function other(error: unknown, means: Means, worn?: boolean): Means {
  const next = otherMeans(error, means, worn);
  if (next === undefined) throw new Error('there is no other way');
  return next;
}

describe('otherMeans', () => {
  const full = fail('outOfMemory', 'full');
  const lost = fail('deviceLost', 'gone');

  it('goes to float32 when float16 overflowed, and says so', () => {
    const means = other(fail('notFinite', 'NaN'), half);
    expect(means).toMatchObject({ dtype: 'float32', frugal: false });
    expect(means.warnings).toEqual(['earlier', expect.stringContaining('float32') as string]);
  });

  it('loads networks in turn when memory ran out; then keeps no block and decodes in bands, each once', () => {
    const inTurn = other(full, half);
    expect(inTurn).toMatchObject({ dtype: 'float16', frugal: true, bands: false, streamed: false });
    const least = other(full, inTurn);
    expect(least).toMatchObject({ dtype: 'float16', frugal: true, bands: true, streamed: true });
    expect(least.warnings).toEqual(['earlier', expect.stringContaining('in turn'), expect.stringContaining('bands')]);
    expect(otherMeans(full, least)).toBeUndefined();
    // What was predicted to need bands may still have blocks that can go.
    const inBands = other(full, { ...inTurn, bands: true });
    expect(inBands).toMatchObject({ streamed: true, warnings: inTurn.warnings });
  });

  it('begins on an empty device, with the same means, where earlier tasks had left something on the full one', () => {
    const again = other(full, half, true);
    expect(again).toEqual({ ...half, warnings: ['earlier', expect.stringContaining('empty device') as string] });
    expect(other(full, again)).toMatchObject({ frugal: true });
    expect(other(lost, half, true)).toMatchObject({ losses: 1, frugal: false });
  });

  it('does everything again where the device was lost, twice, and says so once', () => {
    const [once, both] = [other(lost, half), other(lost, other(lost, half))];
    expect([once.losses, both.losses]).toEqual([1, 2]);
    expect(both.warnings).toEqual(['earlier', expect.stringContaining('lost') as string]);
    expect(otherMeans(lost, both)).toBeUndefined();
    expect(other(full, both)).toMatchObject({ frugal: true, losses: 2 });
  });

  it('gives up where float32 itself is not finite, and for everything else', () => {
    expect(otherMeans(fail('notFinite', 'NaN'), { ...half, dtype: 'float32' })).toBeUndefined();
    expect(otherMeans(fail('aborted', 'stop'), half)).toBeUndefined();
    expect(otherMeans(new TypeError('bug'), half)).toBeUndefined();
  });
});

describe('withinMemory', () => {
  const way = (frugal: boolean, bands: boolean, peak: number): Way => ({
    frugal,
    bands,
    plan: { networks: [], weights: 0, activations: 0, peak, peakIn: '' },
  });
  const ways: Ways = [way(false, false, 15), way(false, true, 10), way(true, false, 8), way(true, true, 6)];
  const chosen = (available: number, means = half) => {
    const { frugal, bands } = withinMemory(means, ways, available);
    return { frugal, bands };
  };

  it('takes the fastest way that there is room for, and the smallest where there is none', () => {
    expect(chosen(15)).toEqual({ frugal: false, bands: false });
    expect(chosen(14)).toEqual({ frugal: false, bands: true });
    expect(chosen(9)).toEqual({ frugal: true, bands: false });
    expect(chosen(7)).toEqual({ frugal: true, bands: true });
    expect(chosen(1)).toEqual({ frugal: true, bands: true });
  });

  it('gives back nothing that was given up before, and says what it gives up more', () => {
    expect(chosen(15, { ...half, frugal: true })).toEqual({ frugal: true, bands: false });
    expect(chosen(15, { ...half, bands: true })).toEqual({ frugal: false, bands: true });
    expect(withinMemory(half, ways, 15)).toEqual({ ...half, streamed: true }); // there are no blocks
    expect(withinMemory(half, ways, 7).warnings).toEqual([
      'earlier',
      expect.stringContaining('in turn'),
      expect.stringContaining('bands'),
    ]);
    expect(withinMemory({ ...half, frugal: true }, ways, 7).warnings).toHaveLength(2);
  });

  it('keeps no block where that is the way that there is room for, or was asked for, and says so of networks without blocks', () => {
    const flux: Ways = [...ways, { ...way(true, true, 3), streamed: true }];
    const streamed = (available: number, means = half) => withinMemory(means, flux, available).streamed;
    expect([15, 6, 5, 1].map((available) => streamed(available))).toEqual([false, false, true, true]);
    expect(streamed(15, { ...half, streamed: true })).toBe(true);
    expect(withinMemory(half, ways, 1).streamed).toBe(true);
  });

  it('keeps bands that were asked for where the device decodes in parts anyway', () => {
    const cut: Ways = [way(false, false, 9), way(true, false, 5)];
    expect(withinMemory(half, cut, 9)).toMatchObject({ frugal: false, bands: true, warnings: ['earlier'] });
    expect(withinMemory({ ...half, bands: true }, cut, 9)).toMatchObject({ frugal: false, bands: true });
    expect(withinMemory({ ...half, bands: true }, cut, 5)).toMatchObject({ frugal: true, bands: true });
  });
});

describe('learnedMemory', () => {
  const full = fail('outOfMemory', 'full');
  it('is what was on the GPU when it ran out, or less', () => {
    expect(learnedMemory(full, 8, undefined)).toBe(8);
    expect(learnedMemory(full, 8, 6)).toBe(6);
    expect(learnedMemory(full, 5, 6)).toBe(5);
  });
  it('is not learned from other failures, nor where nobody counts', () => {
    expect(learnedMemory(fail('deviceLost', 'gone'), 8, undefined)).toBeUndefined();
    expect(learnedMemory(full, undefined, 7)).toBe(7);
    expect(learnedMemory(full, 0, undefined)).toBeUndefined();
  });
});
