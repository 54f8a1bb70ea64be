/** @file Image to image and the refiner's hand-off against diffusers' runs, and their arithmetic. */
import { describe, expect, it } from 'vitest';
import { createGenerator } from '../../../src/sampling/noise.js';
import { addNoise, baseSteps, firstStepOf, noisedForStep } from '../../../src/sampling/partial-runs.js';
import { sample } from '../../../src/sampling/sample.js';
import { createSampler, evaluationTimesteps, type Sampler } from '../../../src/sampling/sampler.js';
import {
  book,
  closedFormModel,
  distance,
  fileOf,
  maxAbs,
  names,
  requestsOf,
  row,
  type GoldenCase,
} from './golden-cases.js';
import * as TOL from './tolerance.js';

const predict = (input: Float32Array, timestep: number): Promise<Float32Array> =>
  Promise.resolve(Float32Array.from(closedFormModel(input, timestep)));

function samplerOf(c: GoldenCase): Sampler {
  const [request] = requestsOf(c);
  if (request === undefined) throw new Error(`no request for ${c.id}`);
  return createSampler(request);
}

const toleranceOf = (c: GoldenCase): number => TOL.float32Tolerance(c.float32Error, maxAbs(row(c, 'x', -1)));
const timestepsOf = (c: GoldenCase, list: string): number[] => [...fileOf(c).read(`${c.id}/${list}`).values];

/** PNDM: cutting diffusers' list loses its repeated timestep; `img2img-wanted/pndm` is the run without that fault. */
const imageCases = book.cases.filter(({ kind, id }) => kind.startsWith('img2img') && id !== 'img2img/pndm/sd15/10/0.6');
const evaluationsPerStep = (c: GoldenCase): number => (/^(Heun|KDPM2)/.test(c.class) ? 2 : 1);

describe('image to image', () => {
  it.each(imageCases)('$id', async (c) => {
    const sampler = samplerOf(c);
    const begin = firstStepOf(sampler, c.strength ?? NaN);
    expect(begin * evaluationsPerStep(c)).toBe(c.begin);
    const clean = createGenerator(BigInt(c.imageSeed ?? 0)).randn(256);
    const generator = createGenerator(BigInt(c.seed));
    const latents = noisedForStep(
      sampler,
      clean.map((v) => v * Math.fround(0.8)),
      generator.randn(256),
      begin,
    );
    expect(distance(latents, row(c, 'x', 0))).toBeLessThanOrEqual(1e-5);

    const rows: Float32Array[] = [];
    const run = {
      latents,
      begin,
      generator,
      predict,
      onEvaluation: (e: { sample: Float32Array }) => rows.push(e.sample),
    };
    const result = await sample(sampler, run);
    expect(result.evaluations).toBe(c.evals);
    expect(distance(evaluationTimesteps(sampler, begin), timestepsOf(c, 'timesteps'))).toBeLessThanOrEqual(
      TOL.TIMESTEP,
    );
    expect(distance(result.latents, row(c, 'x', -1))).toBeLessThanOrEqual(toleranceOf(c));
    if (c.full) rows.forEach((x, i) => expect(distance(x, row(c, 'x', i + 1))).toBeLessThanOrEqual(toleranceOf(c)));
  });

  it('begins later the smaller the strength, and at the end for 0', () => {
    const sd = { steps: 40, family: 'diffusion' } as const;
    expect([1, 0.5, 0.3, 0.01, 0].map((strength) => firstStepOf(sd, strength))).toEqual([0, 20, 28, 40, 40]);
    // FLUX: int(N − N·strength), so 0.75 of 10 runs 8 steps where Stable Diffusion runs 7.
    expect(firstStepOf({ steps: 10, family: 'flow' }, 0.75)).toBe(2);
    expect(firstStepOf({ steps: 10, family: 'diffusion' }, 0.75)).toBe(3);
    expect(() => firstStepOf(sd, 1.2)).toThrow(/1.2/);
  });

  it('leaves the image alone where nothing is left to run', async () => {
    const sampler = createSampler({ name: 'Euler', config: names.bases['sd15']?.config ?? {}, steps: 4 });
    const image = Float32Array.of(1, -2, 3);
    const generator = createGenerator(1n);
    const latents = noisedForStep(sampler, image, generator.randn(3), 4);
    const result = await sample(sampler, { latents, begin: 4, generator, predict });
    expect([...result.latents]).toEqual([1, -2, 3]);
    expect(result.evaluations).toBe(0);
  });

  it('adds noise in the proportions of the level', () => {
    const noised = addNoise(Float32Array.of(2, 4), Float32Array.of(1, -1), { timestep: 0, alpha: 0.5, sigma: 2 });
    expect([...noised]).toEqual([3, 0]);
  });
});

describe('refiner', () => {
  const cases = book.cases.filter(({ kind, splitIndex }) => kind === 'refiner' && splitIndex !== undefined);

  it.each(cases)('$id', async (c) => {
    const sampler = samplerOf(c);
    const split = c.splitIndex ?? NaN;
    const generator = createGenerator(BigInt(c.seed));
    const base = await sample(sampler, { latents: generator.randn(256), end: split, generator, predict });
    expect(distance(base.latents, row(c, 'x', 1))).toBeLessThanOrEqual(1e-5 * maxAbs(row(c, 'x', 1)));
    const refined = await sample(sampler, { latents: base.latents, begin: split, generator, predict });
    expect(distance(refined.latents, row(c, 'x', -1))).toBeLessThanOrEqual(toleranceOf(c));
    expect(base.evaluations + refined.evaluations).toBeGreaterThanOrEqual(sampler.evaluations);
    expect(distance(evaluationTimesteps(sampler, 0, split), timestepsOf(c, 'base/timesteps'))).toBeLessThanOrEqual(
      TOL.TIMESTEP,
    );
    expect(distance(evaluationTimesteps(sampler, split), timestepsOf(c, 'refiner/timesteps'))).toBeLessThanOrEqual(
      TOL.TIMESTEP,
    );
  });

  it('takes over where the request says', () => {
    expect(baseSteps(40, { startStep: 30 })).toBe(30);
    expect(baseSteps(40, { startStep: 40 })).toBe(40);
    // The captions of the cloud's documentation: steps left to the refiner of 40.
    const left = [95, 90, 80, 70, 60, 50].map((p) => 40 - baseSteps(40, { startStepPercentage: p }));
    expect(left).toEqual([2, 4, 8, 12, 16, 20]);
    expect(baseSteps(13, {})).toBe(12); // 90 % of 13 is 11.7
    expect(baseSteps(5, { startStepPercentage: 50 })).toBe(3); // half up
  });
});
