/** @file Statistics of a GroupNorm from those of rows, in float64. Pure. */

/** What {@link affineSilu} of a norm needs: one number per channel, equal within a group. */
export interface GroupStatistics {
  readonly mean: Float32Array;
  /** 1/√(variance + eps). */
  readonly rstd: Float32Array;
}

/**
 * Mean and variance of groups of neighbouring channels (Wu & He 2018, eq. 2 and 3). All rows have the same width, so by the law of total
 * variance the mean is that of the rows' means, and the variance the mean of rows' variance + (row's mean − mean)².
 * @param moments of each band `[2·rows, channels]`: rows of means, then rows of variances
 */
export function groupStatistics(
  moments: readonly Float32Array[],
  { channels, groups, eps }: { readonly channels: number; readonly groups: number; readonly eps: number },
): GroupStatistics {
  const size = channels / groups;
  const means = new Float64Array(groups);
  const variances = new Float64Array(groups);
  const count = (moments.reduce((sum, { length }) => sum + length, 0) / 2 / channels) * size;
  const each = (visit: (group: number, mean: number, variance: number) => void): void => {
    for (const band of moments) {
      const half = band.length / 2;
      for (let i = 0; i < half; i++) visit(Math.floor((i % channels) / size), band[i] ?? NaN, band[half + i] ?? NaN);
    }
  };
  each((group, mean) => {
    means[group] = (means[group] ?? 0) + mean / count;
  });
  each((group, mean, variance) => {
    variances[group] = (variances[group] ?? 0) + (variance + (mean - (means[group] ?? 0)) ** 2) / count;
  });
  const perChannel = (of: (group: number) => number): Float32Array =>
    Float32Array.from({ length: channels }, (_, channel) => of(Math.floor(channel / size)));
  return {
    mean: perChannel((group) => means[group] ?? NaN),
    rstd: perChannel((group) => 1 / Math.sqrt((variances[group] ?? NaN) + eps)),
  };
}
