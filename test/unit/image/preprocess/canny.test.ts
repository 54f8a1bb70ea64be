/** @file Canny against OpenCV's, pixel by pixel. */
import { describe, expect, it } from 'vitest';
import { canny } from '../../../../src/image/preprocess/canny.js';
import { readAbout, readGray, readPicture } from './support.js';

interface CannyCase {
  readonly picture: string;
  readonly low: number;
  readonly high: number;
  readonly edges: string;
  readonly count: number;
}

const FOLDER = 'opencv-canny';

describe("canny finds OpenCV's edges, every pixel of them", async () => {
  const { cases } = await readAbout<{ readonly cases: readonly CannyCase[] }>(FOLDER);

  it.each(cases)('$edges ($count edge pixels)', async ({ picture, low, high, edges, count }) => {
    const expected = await readGray(FOLDER, edges);
    const { rgb, width, height } = canny(await readPicture(FOLDER, picture), { low, high });
    expect([width, height]).toEqual([expected.width, expected.height]);
    const wrong = expected.values.reduce(
      (sum, value, i) => sum + (rgb.slice(3 * i, 3 * i + 3).every((v) => v === value) ? 0 : 1),
      0,
    );
    expect(wrong).toBe(0);
    expect(expected.values.filter((value) => value === 255)).toHaveLength(count);
  });

  it('has cases with and without edges, of every threshold order', () => {
    expect(cases.some(({ count }) => count === 0) && cases.some(({ count }) => count > 500)).toBe(true);
    expect(new Set(cases.map(({ count }) => count)).size).toBeGreaterThan(10);
  });

  it('cuts fractions of thresholds off, as OpenCV does', async () => {
    const picture = await readPicture(FOLDER, 'soft.png');
    expect(canny(picture, { low: 50.9, high: 120.9 })).toEqual(canny(picture, { low: 50, high: 120 }));
  });
});
