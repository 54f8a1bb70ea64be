/** @file The rule of `seed`: a 63-bit number that JavaScript's numbers cannot hold exactly. */
import { leaf } from './checkers.js';
import type { Place } from './place.js';
import type { Rule } from './rules.js';

/** 2^63 − 1, the largest seed. */
export const MAX_SEED = 9223372036854775807n;

/** The largest value that the cloud documents: 2^63 as JavaScript prints it. Values up to it count as {@link MAX_SEED}. */
const DOCUMENTED_MAX = 9223372036854776000n;

/** 2^63 − 1 has 19 digits; more (leading zeros apart) are too large in any case. */
const DECIMAL = /^0*[0-9]{1,19}$/;
const LONGEST = 100;

/** A seed, 1 … 2^63−1, as number, bigint or decimal string. Warns when a number may have lost digits before it got here. */
export function seed(): Rule<bigint> {
  return leaf(
    'integer',
    () => ({
      expected: `an integer from 1 to ${MAX_SEED} (above 2^53 − 1 as bigint or decimal string)`,
      min: 1,
      max: String(MAX_SEED),
    }),
    (value, _, place) => {
      const whole = toWhole(value);
      if (whole === undefined || whole < 1n || whole > DOCUMENTED_MAX) return undefined;
      warnOfChange(value, whole, place);
      return whole > MAX_SEED ? MAX_SEED : whole;
    },
  );
}

function toWhole(value: unknown): bigint | undefined {
  if (typeof value === 'bigint') return value;
  if (typeof value === 'number') return Number.isInteger(value) ? BigInt(value) : undefined;
  if (typeof value === 'string' && value.length <= LONGEST && DECIMAL.test(value)) return BigInt(value);
  return undefined;
}

function warnOfChange(value: unknown, whole: bigint, place: Place): void {
  const { warnings } = place.scope;
  if (whole > MAX_SEED) {
    warnings.push(`'${place.label}' ${whole} is above 2^63 − 1 and became ${MAX_SEED}.`);
  } else if (typeof value === 'number' && !Number.isSafeInteger(value)) {
    warnings.push(
      `'${place.label}' ${whole} is a number above 2^53 − 1, so its last digits may have been rounded before it ` +
        'arrived; send large seeds as decimal strings.',
    );
  }
}
