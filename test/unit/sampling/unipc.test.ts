/** @file UniPC's corrector where the latents were changed after a step: it starts where the step started, not at what was put there. */
import { expect, it } from 'vitest';
import { combiner } from '../../../src/sampling/latent.js';
import { rectifiedFlow, type Interval } from '../../../src/sampling/level.js';
import type { Env, Memory } from '../../../src/sampling/rules/rule.js';
import { unipc } from '../../../src/sampling/rules/unipc.js';
import { distance } from './golden-cases.js';

const levels = [0.9, 0.6, 0.35, 0.2].map((sigma, i) => rectifiedFlow(sigma, 900 - i));
const intervals = levels.slice(1).map((to, index): Interval => {
  const from = levels[index] ?? to;
  return { from, to, via: [], index, levels: levels.slice(0, -1) };
});
const estimates = [
  [0.5, -0.25],
  [0.4, -0.125],
  [0.6, 0.25],
].map((values) => Float64Array.from(values));
const start = Float64Array.of(0.3, -1.7);
const putThere = Float64Array.of(7, 8);

/** UniPC-1 in x̂₀ with B(h) = eʰ − 1, written out (Zhao et al. 2023, §3.1). */
function byHand(): number[] {
  return [...start].map((x0, i) => {
    let [x, m] = [x0, estimates[0]?.[i] ?? NaN];
    for (const [j, { from, to }] of intervals.entries()) {
      const h = Math.log(to.alpha / to.sigma) - Math.log(from.alpha / from.sigma);
      const predicted = (to.sigma / from.sigma) * x - to.alpha * Math.expm1(-h) * m;
      const after = estimates[j + 1]?.[i];
      if (after === undefined) return predicted;
      // The corrected latent starts the next step; what was put in place of the predicted one only served the evaluation.
      x = predicted - to.alpha * Math.expm1(-h) * 0.5 * (after - m);
      m = after;
    }
    return NaN;
  });
}

it('corrects from where the step began', async () => {
  const rule = unipc({ order: 1, form: 'data', basis: 'bh2', lowerOrderFinal: false, uncorrected: [] });
  let evaluation = 0;
  const env: Env<Float64Array> = {
    combine: combiner<Float64Array>((n) => new Float64Array(n)),
    noise: () => new Float64Array(2),
    denoise: () => Promise.resolve([[1, estimates[evaluation++] ?? new Float64Array(2)]] as const),
  };
  let x: Float64Array = start;
  let memory: Memory<Float64Array> = [];
  for (const [j, interval] of intervals.entries()) {
    [x, memory] = await rule.step(x, interval, env, memory);
    if (j < intervals.length - 1) x = putThere;
  }
  expect(distance(x, byHand())).toBeLessThanOrEqual(1e-15 * 8);
});
