/** @file The tables behind the schedules, beyond the goldens: training betas, the beta distribution, spacings, timesteps of σ. */
import { describe, expect, it } from 'vitest';
import { betaQuantile } from '../../../src/sampling/beta-quantile.js';
import { completeConfig } from '../../../src/sampling/config.js';
import { sigmaToTimestep } from '../../../src/sampling/curves.js';
import { noiseSchedule } from '../../../src/sampling/noise-schedule.js';
import { linspace, roundHalfEven } from '../../../src/sampling/numeric.js';
import { createSampler } from '../../../src/sampling/sampler.js';
import { names } from './golden-cases.js';
import { openGolden } from './safetensors-reader.js';

const tables = openGolden('schedulers/tables.safetensors');
const stored = (name: string): Float64Array => tables.read(name).values;
const SD = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' } as const;

describe('the noise schedule', () => {
  it('ends at zero signal where the solver has ᾱ, and just above where it has σ', () => {
    const config = completeConfig({}, {}, { ...SD, rescale_betas_zero_snr: true });
    expect(noiseSchedule(config, true).alphasCumprod[999]).toBe(2 ** -24);
    expect(noiseSchedule(config, false).alphasCumprod[999]).toBe(0);
  });

  it('takes trained betas as they are', () => {
    const trained = completeConfig({}, {}, { trained_betas: [...stored('zero_snr/betas')] });
    const { alphasCumprod } = noiseSchedule(trained, false);
    expect([...alphasCumprod.slice(0, 999)]).toEqual([...stored('zero_snr/alphas_cumprod').slice(0, 999)]);
    expect(() => noiseSchedule(completeConfig({}, {}, { trained_betas: [0.1, 0.2] }), false)).toThrow(/2 values/);
  });

  it('follows the cosine of Nichol & Dhariwal, whose ᾱ is known in closed form', () => {
    const { alphasCumprod } = noiseSchedule(completeConfig({}, {}, { beta_schedule: 'squaredcos_cap_v2' }), false);
    const exact = (t: number) =>
      Math.cos((((t + 0.008) / 1.008) * Math.PI) / 2) ** 2 / Math.cos((0.008 / 1.008) * (Math.PI / 2)) ** 2;
    for (const i of [0, 99, 499, 899]) expect(alphasCumprod[i]).toBeCloseTo(exact((i + 1) / 1000), 5);
  });
});

describe('betaQuantile', () => {
  it('inverts distributions with a closed form, asymmetric ones too', () => {
    for (const p of [1e-9, 0.01, 0.3, 0.5, 0.77, 0.999, 1 - 1e-9]) {
      expect(betaQuantile(p, 1, 1)).toBeCloseTo(p, 13); // uniform
      expect(betaQuantile(p, 3, 1)).toBeCloseTo(Math.cbrt(p), 13); // I = x³
      expect(betaQuantile(p, 1, 4)).toBeCloseTo(1 - (1 - p) ** 0.25, 13); // I = 1 − (1 − x)⁴
      expect(betaQuantile(p, 0.5, 0.5)).toBeCloseTo(Math.sin((Math.PI * p) / 2) ** 2, 13); // arcsine
    }
    expect([betaQuantile(0, 0.6, 0.6), betaQuantile(1, 0.6, 0.6)]).toEqual([0, 1]);
  });
});

describe('spacing', () => {
  it('rounds half to even, as numpy does', () => {
    expect([166.5, 812.5, 0.5, 1.5, -0.5, 2.4, 2.6].map(roundHalfEven)).toEqual([166, 812, 0, 2, -0, 2, 3]);
  });

  it('keeps to the number of steps where numpy’s arange gives one too many', () => {
    const wanted = [...openGolden('schedulers/edge.safetensors').read('trailing/wanted/61').values];
    const config = names.bases['turbo']?.config ?? {};
    expect(createSampler({ name: 'DDIM', config, steps: 61 }).timesteps).toEqual(wanted);
    expect(createSampler({ name: 'DPM++ 2M Uniform', config, steps: 61 }).timesteps).toEqual(wanted);
  });

  it('linspace holds its ends', () => {
    expect(linspace(0, 999, 1)).toEqual([0]);
    expect(linspace(0, 1, 0)).toEqual([]);
    expect(linspace(0, 0.3, 4)[3]).toBe(0.3);
  });
});

describe('sigmaToTimestep', () => {
  const { sigmas, logSigmas } = noiseSchedule(completeConfig({}, {}, SD), true);

  it('gives the training timesteps back', () => {
    for (const t of [1, 10, 500, 998]) expect(sigmaToTimestep(sigmas[t] ?? NaN, logSigmas)).toBeCloseTo(t, 2);
  });

  it('stays within the training range', () => {
    expect([0, 1e-12, 1e9].map((sigma) => sigmaToTimestep(sigma, logSigmas))).toEqual([0, 0, 999]);
  });
});
