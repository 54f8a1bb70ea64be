/** @file What seeded noise does at its edges; its values are among the goldens (goldens.test.ts, by test/golden-runner/run-noise.ts). */
import { describe, expect, it } from 'vitest';
import { createGenerator } from '../../../src/sampling/noise.js';

describe('createGenerator', () => {
  it('uses the low 32 bits of the seed', () => {
    expect(createGenerator(2n ** 32n + 5n).randn(64)).toEqual(createGenerator(5n).randn(64));
  });

  it('draws nothing for n = 0 and refuses what is no count', () => {
    const generator = createGenerator(1n);
    expect(generator.randn(0)).toHaveLength(0);
    expect(generator.randn(16)).toEqual(createGenerator(1n).randn(16));
    expect(() => generator.randn(-1)).toThrow(/-1 numbers/);
    expect(() => generator.randn(1.5)).toThrow(/1.5 numbers/);
  });

  it('goes on where the last draw stopped, also in the middle of the word table', () => {
    // Whole blocks of 16 draw as many words as values, so how a draw is cut does not matter; 624 words are one table.
    const whole = createGenerator(9n).randn(16 * 200);
    const parts = createGenerator(9n);
    const cut = [16, 608, 16, 640, 32, 1888].flatMap((n) => [...parts.randn(n)]);
    expect(cut).toEqual([...whole]);
  });
});
