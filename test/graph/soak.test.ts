/** @file A short soak on the CPU: what `npm run soak` does for hours. And the line that judges it. */
import { describe, expect, it } from 'vitest';
import { fitLine } from '../../scripts/lib/soak-line.js';
import { soakInNode } from '../../scripts/lib/soak-node.js';

describe('a soak', () => {
  it('of 12 pictures: none fails, the reference picture keeps its bytes, and nothing grows', async () => {
    const { problems, pictures, aborted, lines } = await soakInNode({ set: 'tiny', pictures: 12, seed: 4 });
    expect(problems).toEqual([]);
    expect(pictures).toBeGreaterThanOrEqual(12);
    expect(aborted).toBeGreaterThan(0);
    expect(Object.keys(lines)).toEqual(expect.arrayContaining(['heapBytes', 'outsideBytes', 'handles']));
  });
});

describe('the line through what was measured', () => {
  const line = (slope: number, noise: readonly number[]) =>
    fitLine(
      Array.from({ length: 9 }, (_, x) => ({ x, y: 100 + slope * x + (noise[x % noise.length] ?? 0) })),
      8,
    );

  it('is flat where values only jump about, and not where they rise', () => {
    expect(line(0, [0, 5, -5])).toMatchObject({ flat: true, peak: 105 });
    expect(line(2, [0, 1, -1])).toMatchObject({ flat: false });
    expect(line(2, [0]).slope).toBe(2);
    expect(line(2, [0]).rise).toBe(16);
    expect(line(-3, [0])).toMatchObject({ flat: true, slope: -3 });
  });

  it('is not moved by one high value', () => {
    expect(line(0, [0, 0, 0, 0, 0, 0, 0, 0, 500])).toMatchObject({ flat: true, slope: 0, peak: 600 });
  });

  it('of too few points is none', () => {
    expect(
      fitLine(
        [
          { x: 0, y: 1 },
          { x: 1, y: 1 },
        ],
        8,
      ).flat,
    ).toBe(false);
  });
});
