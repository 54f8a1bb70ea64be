/** @file Group statistics from rows, against the definition applied to all values at once in float64. */
import { describe, expect, it } from 'vitest';
import { groupStatistics } from '../../../src/pipeline/banded-statistics.js';
import { noise } from '../runtime/fake-weight-file.js';

const [CHANNELS, GROUPS, WIDTH, EPS] = [6, 2, 9, 1e-6];

/** A row of one channel, whose mean and level differ from those of others. */
const rowOf = (row: number, channel: number): Float32Array =>
  noise(1 + row * CHANNELS + channel, WIDTH, 1 + channel).map((x) => x + 5 * channel - 3 * row);

/** As a band of these rows is measured. */
function momentsOf(rows: readonly number[]): Float32Array {
  const each = (of: (values: Float32Array) => number): number[] =>
    rows.flatMap((row) => Array.from({ length: CHANNELS }, (_, channel) => of(rowOf(row, channel))));
  return Float32Array.from([...each(meanOf), ...each(varianceOf)]);
}

const meanOf = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => a + b, 0) / values.length;
const varianceOf = (values: ArrayLike<number>): number => {
  const mean = meanOf(values);
  return meanOf(Array.from(values, (x) => (x - mean) ** 2));
};

describe('group statistics', () => {
  it.each([
    [[[0, 1, 2, 3, 4]]],
    [
      [
        [0, 1],
        [2, 3, 4],
      ],
    ],
    [[[0], [1], [2], [3], [4]]],
  ])('are those of all values, in bands of rows %j', (bands) => {
    const { mean, rstd } = groupStatistics(bands.map(momentsOf), { channels: CHANNELS, groups: GROUPS, eps: EPS });
    for (let channel = 0; channel < CHANNELS; channel++) {
      const first = channel < 3 ? 0 : 3;
      const all = [0, 1, 2, 3, 4].flatMap((row) => [0, 1, 2].flatMap((i) => [...rowOf(row, first + i)]));
      expect(mean[channel]).toBeCloseTo(meanOf(all), 5);
      expect(rstd[channel]).toBeCloseTo(1 / Math.sqrt(varianceOf(all) + EPS), 6);
    }
  });

  it('say so when a value is not finite', () => {
    const moments = momentsOf([0, 1]);
    moments[0] = NaN;
    const { mean } = groupStatistics([moments], { channels: CHANNELS, groups: GROUPS, eps: EPS });
    expect(mean[0]).toBeNaN();
    expect(mean[3]).not.toBeNaN();
  });
});
