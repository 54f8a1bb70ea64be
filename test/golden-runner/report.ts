/** @file The outcome of one golden: every comparison in pipeline order, the worst, and where it first went wrong. */
import type { Tolerance } from './tolerances.js';

export interface Comparison {
  readonly name: string;
  /** Largest absolute difference; Infinity when lengths differ or a value is not finite. */
  readonly worst: number;
  readonly allowed: number;
}

export interface Outcome {
  readonly kind: 'noise' | 'tokens' | 'weights' | 'cases' | 'schedulers' | 'unit' | 'files';
  readonly name: string;
  /** `unsupported`: this build says with a typed error that it cannot do it yet. */
  readonly status: 'passed' | 'failed' | 'unsupported';
  readonly comparisons: readonly Comparison[];
  readonly message?: string;
  readonly seconds: number;
}

/** @param expected golden values; `got` may be any array of numbers of the same length */
export function compare(
  name: string,
  got: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: Tolerance,
): Comparison {
  if (got.length !== expected.length)
    return { name: `${name} (length ${got.length}, golden ${expected.length})`, worst: Infinity, allowed: 0 };
  let worst = 0;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const [a, b] = [got[i] ?? NaN, expected[i] ?? NaN];
    const difference = a === b ? 0 : Math.abs(a - b);
    worst = Number.isNaN(difference) ? Infinity : Math.max(worst, difference);
    if (Number.isFinite(b)) largest = Math.max(largest, Math.abs(b));
  }
  return { name, worst, allowed: tolerance.absolute + tolerance.relative * largest };
}

export function isWithin({ worst, allowed }: Comparison): boolean {
  return worst <= allowed;
}

/** The outcome of comparisons; of none, a failure. `start`: `performance.now()` at the beginning. */
export function outcomeOf(
  kind: Outcome['kind'],
  name: string,
  comparisons: readonly Comparison[],
  start: number,
): Outcome {
  const status = comparisons.length > 0 && comparisons.every(isWithin) ? 'passed' : 'failed';
  return { kind, name, status, comparisons, seconds: (performance.now() - start) / 1000 };
}

/** How near to its limit: 1 is at the limit; exact comparisons are 0 or infinite. */
function strain({ worst, allowed }: Comparison): number {
  if (worst === 0) return 0;
  return allowed === 0 ? Infinity : worst / allowed;
}

/** The comparison nearest to its limit, or furthest beyond it. */
export function worstOf(comparisons: readonly Comparison[]): Comparison | undefined {
  return comparisons.reduce<Comparison | undefined>(
    (a, b) => (a === undefined || strain(b) > strain(a) ? b : a),
    undefined,
  );
}

/** One line for people: status, worst deviation with its place, and the first place out of tolerance. */
export function describeOutcome(outcome: Outcome): string {
  const { kind, name, status, comparisons, message, seconds } = outcome;
  // Pixels off by the one step that every case allows say nothing; anything else is more telling.
  const worst = worstOf(comparisons.filter((c) => !(c.name.endsWith('pixels') && isWithin(c)))) ?? worstOf(comparisons);
  const parts = [
    status.toUpperCase().padEnd(11),
    `${kind}/${name}`.padEnd(44),
    `${comparisons.length} checks`.padStart(11),
  ];
  if (worst !== undefined)
    parts.push(`worst ${worst.worst.toExponential(2)} of ${worst.allowed.toExponential(2)} at ${worst.name}`);
  const first = comparisons.find((c) => !isWithin(c));
  if (first !== undefined)
    parts.push(`FIRST OUT at ${first.name}: ${first.worst.toExponential(3)} > ${first.allowed.toExponential(2)}`);
  if (message !== undefined) parts.push(message);
  parts.push(`${seconds.toFixed(1)} s`);
  return parts.join('  ');
}
