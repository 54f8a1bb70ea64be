/** @file The arithmetic of image to image and of the refiner's hand-off; the runs themselves are among the goldens (goldens.test.ts). */
import { describe, expect, it } from 'vitest';
import { createGenerator } from '../../../src/sampling/noise.js';
import { addNoise, baseSteps, firstStepOf, noisedForStep } from '../../../src/sampling/partial-runs.js';
import { sample } from '../../../src/sampling/sample.js';
import { createSampler } from '../../../src/sampling/sampler.js';
import { closedFormModel, names } from './golden-cases.js';

const predict = (input: Float32Array, timestep: number): Promise<Float32Array> =>
  Promise.resolve(Float32Array.from(closedFormModel(input, timestep)));

describe('image to image', () => {
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
