/** @file The quantile function of the beta distribution (for "beta" noise schedules). Imports nothing. */

/** ln Γ(x), x > 0. Lanczos 1964 with g = 7, n = 9 (coefficients: Godfrey 2001); relative error about 1e-15. */
function logGamma(x: number): number {
  const coefficients = [
    676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905,
    -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
  ];
  const z = x - 1;
  const series = coefficients.reduce((sum, c, i) => sum + c / (z + i + 1), 0.99999999999980993);
  const t = z + 7.5;
  return 0.5 * Math.log(2 * Math.PI) + (z + 0.5) * Math.log(t) - t + Math.log(series);
}

/** The continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method. */
function continuedFraction(x: number, a: number, b: number): number {
  let c = 1;
  let d = 1 / (1 - ((a + b) * x) / (a + 1));
  let fraction = d;
  for (let m = 1; m < 300; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / (1 + even * d);
    c = 1 + even / c;
    fraction *= d * c;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / (1 + odd * d);
    c = 1 + odd / c;
    fraction *= d * c;
    if (Math.abs(d * c - 1) < 1e-16) break;
  }
  return fraction;
}

/** Below this x the continued fraction converges fast, above it that of the other tail. */
const turningPoint = (a: number, b: number): number => (a + 1) / (a + b + 2);

/** Lower tail I_x(a, b) for x up to the turning point: `x^a (1−x)^b / (a B(a,b))` times the continued fraction. */
function lowerTail(x: number, a: number, b: number, logBeta: number): number {
  return (Math.exp(a * Math.log(x) + b * Math.log1p(-x) - logBeta) / a) * continuedFraction(x, a, b);
}

/** The x up to the turning point with I_x(a, b) = p: Newton's method on ln x against ln p, from the leading term `p = x^a / (a B)`. */
function lowerQuantile(p: number, a: number, b: number, logBeta: number): number {
  const highest = Math.log(turningPoint(a, b));
  let logX = Math.min((Math.log(p * a) + logBeta) / a, highest);
  for (let i = 0; i < 50; i++) {
    const x = Math.exp(logX);
    const tail = lowerTail(x, a, b, logBeta);
    const density = Math.exp((a - 1) * logX + (b - 1) * Math.log1p(-x) - logBeta);
    const step = (Math.log(tail / p) * tail) / (x * density);
    logX = Math.min(logX - step, highest);
    if (Math.abs(step) < 1e-15) break;
  }
  return Math.exp(logX);
}

/**
 * Quantile of the beta distribution: the x in [0, 1] with I_x(a, b) = p. Equals `scipy.stats.beta.ppf` to about 1e-14.
 *
 * @param p probability, 0…1
 * @param a first shape parameter, > 0
 * @param b second shape parameter, > 0
 * @example betaQuantile(0.5, 0.6, 0.6) // 0.5
 */
export function betaQuantile(p: number, a: number, b: number): number {
  if (p <= 0) return 0;
  if (p >= 1) return 1;
  const logBeta = logGamma(a) + logGamma(b) - logGamma(a + b);
  const below = lowerTail(turningPoint(a, b), a, b, logBeta);
  return p <= below ? lowerQuantile(p, a, b, logBeta) : 1 - lowerQuantile(1 - p, b, a, logBeta);
}
