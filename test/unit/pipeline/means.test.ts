/** @file What is tried after a failure: once less memory, once more range, twice another device, and nothing for other errors. */
import { describe, expect, it } from 'vitest';
import { fail } from '../../../src/base/errors.js';
import { otherMeans, type Means } from '../../../src/pipeline/means.js';

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
