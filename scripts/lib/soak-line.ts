/** @file Numbers that were measured again and again: the line through them, and whether it is flat. Pure. */

export interface Point {
  /** Pictures made so far. */
  readonly x: number;
  readonly y: number;
}

export interface Line {
  readonly slope: number;
  /** The highest value. */
  readonly peak: number;
  /** How far the line rises from its first point to its last. */
  readonly rise: number;
  readonly flat: boolean;
}

/**
 * The slope is the median of those of all pairs of points (Theil 1950, Sen 1968, doi:10.1080/01621459.1968.10480934): a single high value does
 * not move it.
 * @param allowed how much the line may rise over all points and be called flat
 */
export function fitLine(points: readonly Point[], allowed: number): Line {
  const slopes = points.flatMap((a, i) => points.slice(i + 1).map((b) => (b.y - a.y) / (b.x - a.x)));
  const slope = median(slopes);
  const rise = slope * ((points.at(-1)?.x ?? 0) - (points[0]?.x ?? 0));
  return {
    slope,
    rise,
    peak: points.reduce((most, { y }) => Math.max(most, y), 0),
    flat: points.length >= 3 && rise <= allowed,
  };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}
