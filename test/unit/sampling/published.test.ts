/**
 * @file The numbers printed in diffusers' own scheduler tests (huggingface/diffusers, tests/schedulers/), which use other
 * settings than the goldens: linear betas, 1100 training timesteps, clipping, schedules that end at σ_min.
 */
import { describe, expect, it } from 'vitest';
import type { RawConfig } from '../../../src/sampling/config.js';
import { createGenerator } from '../../../src/sampling/noise.js';
import { addNoise } from '../../../src/sampling/partial-runs.js';
import type { Step } from '../../../src/sampling/rules/rule.js';
import { sample } from '../../../src/sampling/sample.js';
import { createSampler, type Sampler } from '../../../src/sampling/sampler.js';

/** `dummy_sample_deter`: element [b, c, h, w] of shape (4, 3, 8, 8) counts along (c, h, w, b). */
const COUNT = 4 * 3 * 8 * 8;
const place = (i: number): number => (i % 192) * 4 + Math.floor(i / 192);
const dummySample = Float32Array.from({ length: COUNT }, (_, i) => place(i) / COUNT);
const dummyNoise = Float32Array.from({ length: COUNT }, (_, i) => (COUNT - 1 - place(i)) / COUNT);

/** `dummy_model`: x·t/(t + 1). */
const predict = (x: Float32Array, t: number): Promise<Float32Array> => Promise.resolve(x.map((v) => (v * t) / (t + 1)));

interface Published {
  readonly test: string;
  readonly config: RawConfig;
  readonly steps?: number;
  readonly eta?: number;
  /** `test_full_loop_with_noise`: starts at this step from the noised sample. */
  readonly begin?: number;
  /** Sum of magnitudes, to `within`, or their mean, to 1e-3. */
  readonly sum?: number;
  /** 1e-2 as in diffusers, unless float32 itself is further off there. */
  readonly within?: number;
  readonly mean?: number;
}

const linear = { beta_start: 0.0001, beta_end: 0.02, beta_schedule: 'linear' };
const on = (_class_name: string, config: RawConfig, more: RawConfig = {}): RawConfig => ({
  _class_name,
  ...config,
  ...more,
});
const SIGMAS = { ...linear, num_train_timesteps: 1100 };
const V = { prediction_type: 'v_prediction' };
const KARRAS = { use_karras_sigmas: true };
const DPM = {
  ...linear,
  solver_order: 2,
  algorithm_type: 'dpmsolver++',
  solver_type: 'midpoint',
  lower_order_final: false,
  final_sigmas_type: 'sigma_min',
};
const SINGLE = { ...DPM, lower_order_final: false };
const UNIPC = { ...linear, solver_order: 2, final_sigmas_type: 'sigma_min' };
const LATENT = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' };

const PUBLISHED: readonly Published[] = [
  { test: 'euler no_noise', config: on('EulerDiscreteScheduler', SIGMAS), sum: 10.0807 },
  { test: 'euler v_prediction', config: on('EulerDiscreteScheduler', SIGMAS, V), sum: 0.0002 },
  { test: 'euler karras', config: on('EulerDiscreteScheduler', SIGMAS, KARRAS), sum: 124.52299499511719 },
  { test: 'euler with_noise', config: on('EulerDiscreteScheduler', SIGMAS), begin: 8, sum: 57062.9297 },
  { test: 'euler_ancestral no_noise', config: on('EulerAncestralDiscreteScheduler', SIGMAS), sum: 152.3192 },
  { test: 'euler_ancestral v_prediction', config: on('EulerAncestralDiscreteScheduler', SIGMAS, V), sum: 108.4439 },
  {
    test: 'euler_ancestral with_noise',
    config: on('EulerAncestralDiscreteScheduler', SIGMAS),
    begin: 8,
    sum: 56163.0508,
  },
  { test: 'lms no_noise', config: on('LMSDiscreteScheduler', SIGMAS), sum: 1006.388 },
  { test: 'lms v_prediction', config: on('LMSDiscreteScheduler', SIGMAS, V), sum: 0.0017 },
  { test: 'lms karras', config: on('LMSDiscreteScheduler', SIGMAS, KARRAS), sum: 3812.9927 },
  { test: 'ddim no_noise', config: on('DDIMScheduler', linear), sum: 172.0067 },
  { test: 'ddim v_prediction', config: on('DDIMScheduler', linear, V), sum: 52.5302 },
  { test: 'ddim set_alpha_to_one', config: on('DDIMScheduler', { ...linear, beta_start: 0.01 }), sum: 149.8295 },
  {
    test: 'ddim no set_alpha_to_one',
    config: on('DDIMScheduler', { ...linear, beta_start: 0.01, set_alpha_to_one: false }),
    sum: 149.0784,
  },
  { test: 'ddim with_noise', config: on('DDIMScheduler', linear), begin: 8, sum: 354.5418 },
  { test: 'ddpm no_noise', config: on('DDPMScheduler', linear), steps: 1000, sum: 258.9606 },
  { test: 'ddpm v_prediction', config: on('DDPMScheduler', linear, V), steps: 1000, sum: 202.0296 },
  {
    test: 'ddpm with_noise',
    config: on('DDPMScheduler', linear),
    steps: 1000,
    begin: 998,
    sum: 387.9466,
    within: 0.05,
  },
  { test: 'pndm no_noise', config: on('PNDMScheduler', linear), sum: 198.1318 },
  { test: 'pndm v_prediction', config: on('PNDMScheduler', linear, V), sum: 67.3986 },
  {
    test: 'pndm set_alpha_to_one',
    config: on('PNDMScheduler', { ...linear, beta_start: 0.01, set_alpha_to_one: true }),
    sum: 230.0399,
  },
  { test: 'pndm no set_alpha_to_one', config: on('PNDMScheduler', { ...linear, beta_start: 0.01 }), sum: 186.9482 },
  { test: 'dpm_multi no_noise', config: on('DPMSolverMultistepScheduler', DPM), mean: 0.3301 },
  { test: 'dpm_multi v_prediction', config: on('DPMSolverMultistepScheduler', DPM, V), mean: 0.2251 },
  { test: 'dpm_multi karras v', config: on('DPMSolverMultistepScheduler', DPM, { ...V, ...KARRAS }), mean: 0.2096 },
  {
    test: 'dpm_multi lu v',
    config: on('DPMSolverMultistepScheduler', DPM, { ...V, use_lu_lambdas: true }),
    mean: 0.1554,
  },
  { test: 'dpm_multi with_noise', config: on('DPMSolverMultistepScheduler', DPM), begin: 5, sum: 318.4111 },
  { test: 'dpm_single no_noise', config: on('DPMSolverSinglestepScheduler', SINGLE), mean: 0.2791 },
  { test: 'dpm_single karras', config: on('DPMSolverSinglestepScheduler', SINGLE, KARRAS), mean: 0.2248 },
  { test: 'dpm_single v_prediction', config: on('DPMSolverSinglestepScheduler', SINGLE, V), mean: 0.1453 },
  {
    test: 'dpm_single karras v',
    config: on('DPMSolverSinglestepScheduler', SINGLE, { ...V, ...KARRAS }),
    mean: 0.0649,
  },
  { test: 'dpm_single with_noise', config: on('DPMSolverSinglestepScheduler', SINGLE), begin: 5, sum: 269.2187 },
  { test: 'unipc no_noise', config: on('UniPCMultistepScheduler', UNIPC), mean: 0.2464 },
  { test: 'unipc karras', config: on('UniPCMultistepScheduler', UNIPC, KARRAS), mean: 0.2925 },
  { test: 'unipc v_prediction', config: on('UniPCMultistepScheduler', UNIPC, V), mean: 0.1014 },
  { test: 'unipc karras v', config: on('UniPCMultistepScheduler', UNIPC, { ...V, ...KARRAS }), mean: 0.1966 },
  { test: 'unipc with_noise', config: on('UniPCMultistepScheduler', UNIPC), begin: 8, sum: 315.5757 },
  { test: 'deis no_noise', config: on('DEISMultistepScheduler', { ...linear, solver_order: 2 }), mean: 0.23916 },
  { test: 'deis v_prediction', config: on('DEISMultistepScheduler', { ...linear, solver_order: 2 }, V), mean: 0.091 },
  {
    test: 'deis with_noise',
    config: on('DEISMultistepScheduler', { ...linear, solver_order: 2 }),
    begin: 8,
    sum: 315.3016,
  },
  { test: 'lcm onestep', config: on('LCMScheduler', LATENT), steps: 1, sum: 18.7097 },
  { test: 'lcm multistep', config: on('LCMScheduler', LATENT), sum: 197.7616 },
  { test: 'tcd onestep', config: on('TCDScheduler', LATENT), steps: 1, eta: 0, sum: 29.8715 },
  { test: 'tcd multistep', config: on('TCDScheduler', LATENT), eta: 0, sum: 181.204 },
  { test: 'edm_euler no_noise', config: on('EDMEulerScheduler', { num_train_timesteps: 256 }), sum: 34.1855 },
];

/**
 * Those tests hand the scaled model input to `step` where the sample belongs. So do these, for rules with one evaluation a
 * step; for Heun and KDPM2 that cannot be said in terms of a rule, and their numbers are left out.
 */
function steppingFromInputs(sampler: Sampler): Sampler {
  const { rule, precondition } = sampler;
  const step: Step = (x, interval, env, memory) =>
    rule.step(env.combine([precondition(interval.from).cIn, x]), interval, env, memory);
  return { ...sampler, rule: { ...rule, step }, precondition: (level) => ({ ...precondition(level), cIn: 1 }) };
}

const onExploding = (config: RawConfig): boolean => /^(Euler|LMS)/.test(String(config['_class_name']));

describe('diffusers’ own test numbers', () => {
  it.each(PUBLISHED)('$test', async ({ config, steps = 10, eta, begin, sum, within = 1e-2, mean }) => {
    const plain = createSampler({ name: 'Default', config, steps, eta });
    const sampler = onExploding(config) ? steppingFromInputs(plain) : plain;
    const level = begin === undefined ? undefined : sampler.intervals[begin]?.from;
    const scaled = dummySample.map((v) => v * sampler.initNoiseSigma);
    const run =
      level === undefined ? { latents: dummySample } : { latents: addNoise(scaled, dummyNoise, level), begin };
    const result = await sample(sampler, { ...run, generator: createGenerator(0n), predict });
    const total = result.latents.reduce((acc, v) => acc + Math.abs(v), 0);
    if (sum !== undefined) expect(Math.abs(total - sum)).toBeLessThan(within);
    if (mean !== undefined) expect(Math.abs(total / COUNT - mean)).toBeLessThan(1e-3);
  });
});
