/** @file What is tried after a failure: once less memory, once more range, twice another device, and nothing for other errors. */
import { describe, expect, it } from 'vitest';
import { fail } from '../../../src/base/errors.js';
import type { Way, Ways } from '../../../src/pipeline/fit.js';
import { learnedMemory, otherMeans, withinMemory, type Means } from '../../../src/pipeline/means.js';

const half: Means = { dtype: 'float16', frugal: false, bands: false, losses: 0, warnings: ['earlier'] };

describe('otherMeans', () => {
  it('goes to float32 when float16 overflowed, and says so', () => {
    const means = otherMeans(fail('notFinite', 'NaN'), half);
    expect(means).toMatchObject({ dtype: 'float32', frugal: false });
    expect(means.warnings).toEqual(['earlier', expect.stringContaining('float32') as string]);
  });

  it('loads networks in turn when memory ran out, then decodes in bands, each once', () => {
    const full = fail('outOfMemory', 'full');
    const inTurn = otherMeans(full, half);
    expect(inTurn).toMatchObject({ dtype: 'float16', frugal: true, bands: false });
    const inBands = otherMeans(full, inTurn);
    expect(inBands).toMatchObject({ dtype: 'float16', frugal: true, bands: true });
    expect(inBands.warnings).toEqual(['earlier', expect.stringContaining('in turn'), expect.stringContaining('bands')]);
    expect(() => otherMeans(full, inBands)).toThrow('full');
  });

  it('does everything again where the device was lost, twice, and says so once', () => {
    const lost = fail('deviceLost', 'gone');
    const [once, both] = [otherMeans(lost, half), otherMeans(lost, otherMeans(lost, half))];
    expect([once.losses, both.losses]).toEqual([1, 2]);
    expect(both.warnings).toEqual(['earlier', expect.stringContaining('lost') as string]);
    expect(() => otherMeans(lost, both)).toThrow('gone');
    expect(otherMeans(fail('outOfMemory', 'full'), both)).toMatchObject({ frugal: true, losses: 2 });
  });

  it('gives up where float32 itself is not finite, and for everything else', () => {
    expect(() => otherMeans(fail('notFinite', 'NaN'), { ...half, dtype: 'float32' })).toThrow('NaN');
    expect(() => otherMeans(fail('aborted', 'stop'), half)).toThrow('stop');
    const foreign = new TypeError('bug');
    expect(() => otherMeans(foreign, half)).toThrow(foreign);
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
    expect(withinMemory(half, ways, 15)).toEqual(half);
    expect(withinMemory(half, ways, 7).warnings).toEqual([
      'earlier',
      expect.stringContaining('in turn'),
      expect.stringContaining('bands'),
    ]);
    expect(withinMemory({ ...half, frugal: true }, ways, 7).warnings).toHaveLength(2);
  });

  it('keeps bands that were asked for where the device decodes in parts anyway', () => {
    const cut: Ways = [way(false, false, 9), way(true, false, 5)];
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
