/** @file Names, configurations and refusals of `createSampler`; guidance. */
import { describe, expect, it } from 'vitest';
import { resolveSchedulerName, EXTRA_SCHEDULER_NAMES, SCHEDULER_NAMES } from '../../../src/request/scheduler-names.js';
import { guide, needsGuidance } from '../../../src/sampling/guidance.js';
import { createSampler, familyOf } from '../../../src/sampling/sampler.js';
import { names } from './golden-cases.js';

const base = (name: string) => names.bases[name]?.config ?? {};
const sd15 = base('sd15');
const codeOf = (code: string) => expect.objectContaining({ code }) as Error;

describe('resolveSchedulerName', () => {
  it('knows the 76 documented names, each once', () => {
    expect(SCHEDULER_NAMES).toHaveLength(76);
    expect(new Set(SCHEDULER_NAMES)).toEqual(new Set(Object.keys(names.names)));
  });

  it('takes no notice of case and spaces', () => {
    for (const name of [...SCHEDULER_NAMES, ...EXTRA_SCHEDULER_NAMES]) {
      expect(resolveSchedulerName(name)).toBe(name);
      expect(resolveSchedulerName(` ${name.toUpperCase().replaceAll(' ', '')} `)).toBe(name);
    }
  });

  it.each([
    ['Euler A', 'Euler a'],
    ['Euler Ancestral', 'Euler a'],
    ['DPM++ 3M SDE', 'DPM++ 3M SDE'],
    ['DPM++ 3M Exponential', 'DPM++ 3M Exponential'],
    ['DPMSolverMultistep', 'DPMSolverMultistepScheduler'],
    ['eulerdiscrete', 'EulerDiscreteScheduler'],
    ['DPMSolverMultistepInverseScheduler', 'DPMSolverMultistepInverse'],
  ])('%s means %s', (text, name) => {
    expect(resolveSchedulerName(text)).toBe(name);
  });

  it.each(['', ' ', 'Eular', 'scheduler', 'constructor', 'DPM+++', '__proto__'])('does not know %j', (text) => {
    expect(resolveSchedulerName(text)).toBeUndefined();
  });
});

describe('createSampler', () => {
  it.each([0, -1, 1.5, NaN, 1001, Infinity])('refuses %d steps', (steps) => {
    expect(() => createSampler({ name: 'Euler', config: sd15, steps })).toThrow(codeOf('invalidSteps'));
  });

  it('refuses a step count whose first timestep the model does not have', () => {
    const make = () => createSampler({ name: 'DDIM', config: sd15, steps: 1000 });
    expect(make).toThrow(/timestep 1000, but the model has 1000/);
  });

  it.each([
    ['num_train_timesteps', 'many'],
    ['beta_schedule', 'sigmoid'],
    ['timestep_spacing', 3],
    ['use_karras_sigmas', 'yes'],
    ['trained_betas', [0.1, 2]],
    ['prediction_type', 'noise'],
    ['sigma_max', -1],
  ])('names the key %s when its value is %j', (key, value) => {
    const make = () => createSampler({ name: 'Euler', config: { ...sd15, [key]: value }, steps: 4 });
    expect(make).toThrow(codeOf('invalidModelConfig'));
    expect(make).toThrow(new RegExp(`${key} is .*expected`));
  });

  it('ignores bad values of keys that the class does not read', () => {
    const config = { ...sd15, algorithm_type: 'unheard-of' };
    expect(createSampler({ name: 'Euler', config, steps: 4 }).steps).toBe(4);
  });

  it('refuses a model that asks for two curves at once', () => {
    const config = { ...sd15, use_beta_sigmas: true, use_karras_sigmas: true };
    expect(() => createSampler({ name: 'Euler', config, steps: 4 })).toThrow(/only one of/);
  });

  it.each([
    [{ thresholding: true }, 'DPM++ 2M', 'unsupportedScheduler', /thresholding/],
    [{ prediction_type: 'sample' }, 'Euler a', 'unsupportedScheduler', /prediction_type is sample/],
    [{ variance_type: 'learned_range' }, 'DPM++ 2M', 'unsupportedScheduler', /learned_range/],
    [{ _class_name: 'SASolverScheduler' }, 'Default', 'unsupportedScheduler', /SASolverScheduler/],
    [{ _class_name: undefined }, 'Default', 'invalidModelConfig', /_class_name/],
    [
      { _class_name: 'DPMSolverMultistepScheduler', algorithm_type: 'dpmsolver' },
      'Default',
      'invalidModelConfig',
      /sigma_min/,
    ],
    [{ _class_name: 'PNDMScheduler', skip_prk_steps: false }, 'Default', 'invalidSteps', /at least 4/],
    [{}, 'DPMSolverMultistepInverse', 'unsupportedScheduler', /inversion/],
    [{}, 'FlowMatchEulerDiscreteScheduler', 'unsupportedScheduler', /flow-matching/],
    [{}, 'EDMEulerScheduler', 'unsupportedScheduler', /EDM/],
  ] as const)('%j with %s: %s', (change, name, code, message) => {
    const make = () => createSampler({ name, config: { ...sd15, ...change }, steps: 3 });
    expect(make).toThrow(codeOf(code));
    expect(make).toThrow(message);
  });

  it('needs the size of the picture where the shift depends on it', () => {
    expect(() => createSampler({ name: 'Default', config: base('flux-dev'), steps: 4 })).toThrow(/image tokens/);
    const options = { name: 'Default', config: base('flux-dev'), steps: 4, uniformFlowGrid: true } as const;
    expect(createSampler({ ...options, mu: 0.63 }).sigmas).toEqual(
      createSampler({ ...options, imageSeqLen: 1024 }).sigmas,
    );
  });

  it('takes the spacing of the model, or of the class where the model has none', () => {
    expect(createSampler({ name: 'Euler', config: sd15, steps: 4 }).timesteps).toEqual([999, 666, 333, 0]);
    expect(createSampler({ name: 'Euler', config: base('sdxl'), steps: 4 }).timesteps).toEqual([751, 501, 251, 1]);
    expect(createSampler({ name: 'Euler', config: base('turbo'), steps: 4 }).timesteps).toEqual([999, 749, 499, 249]);
  });

  it("puts a name's curve in the place of the model's", () => {
    // diffusers 0.42.1: DPMSolverMultistepScheduler.from_config(sd15, use_exponential_sigmas=True), FlowMatchEulerDiscreteScheduler.from_config(schnell,
    // use_beta_sigmas=True), both with use_karras_sigmas=False.
    const karras = (config: object) => ({ ...config, use_karras_sigmas: true });
    const exponential = createSampler({ name: 'DPM++ 2M Exponential', config: karras(sd15), steps: 3 });
    [14.6146469, 0.652896047, 0.0291675348, 0].forEach((sigma, i) =>
      expect(exponential.sigmas[i]).toBeCloseTo(sigma, 6),
    );
    expect(exponential.timesteps).toEqual([998, 233, 0]);
    const config = karras(base('flux-schnell'));
    const beta = createSampler({ name: 'Euler Beta', config, steps: 3, uniformFlowGrid: true });
    [1, 2 / 3, 1 / 3, 0].forEach((sigma, i) => expect(beta.sigmas[i]).toBeCloseTo(sigma, 6));
  });

  it('tells a continuous v-model ¼ ln σ, over its own range of σ', () => {
    const range = { use_karras_sigmas: true, sigma_min: 0.002, sigma_max: 700 };
    const kind = { timestep_type: 'continuous', prediction_type: 'v_prediction' };
    const sampler = createSampler({ name: 'Euler', config: { ...sd15, ...range, ...kind }, steps: 5 });
    expect(sampler.sigmas[0]).toBeCloseTo(700, 3);
    expect(sampler.sigmas[4]).toBeCloseTo(0.002, 9);
    sampler.timesteps.forEach((t, i) => expect(t).toBeCloseTo(0.25 * Math.log(sampler.sigmas[i] ?? NaN), 5));
  });

  it('leaves out the timesteps whose λ is below lambda_min_clipped', () => {
    const config = {
      _class_name: 'DPMSolverMultistepScheduler',
      beta_schedule: 'squaredcos_cap_v2',
      lambda_min_clipped: -5.1,
    };
    const [first = NaN] = createSampler({ name: 'Default', config, steps: 10 }).timesteps;
    // λ of the cosine schedule in closed form (Nichol & Dhariwal 2021, eq. 17).
    const lambda = (t: number) => {
      const root =
        Math.cos((((t + 1) / 1000 + 0.008) / 1.008) * (Math.PI / 2)) / Math.cos((0.008 / 1.008) * (Math.PI / 2));
      return Math.log(root / Math.sqrt(1 - root * root));
    };
    expect(lambda(first)).toBeGreaterThan(-5.1);
    expect(lambda(first + 1)).toBeLessThan(-5.1);
  });

  it('runs a consistency model for more steps than its grid has, on a finer one', () => {
    const sampler = createSampler({ name: 'LCM', config: sd15, steps: 60 });
    expect([sampler.timesteps.length, sampler.timesteps[0], sampler.timesteps[1]]).toEqual([60, 999, 989]);
  });

  it('gives σ/α of the levels also where a class steps between timesteps', () => {
    const [ddim, euler] = (['DDIM', 'Euler'] as const).map((name) =>
      createSampler({ name, config: base('sdxl'), steps: 10 }),
    );
    expect(ddim?.sigmas).toHaveLength(11);
    ddim?.sigmas.slice(0, 10).forEach((sigma, i) => expect(sigma / (euler?.sigmas[i] ?? NaN)).toBeCloseTo(1, 6));
  });
});

describe('familyOf', () => {
  it('reads the family off the configuration', () => {
    for (const { family, config } of Object.values(names.bases))
      expect(familyOf(config)).toBe(family === 'sd' ? 'diffusion' : family);
  });
});

describe('guide', () => {
  it('is uncond + s·(cond − uncond) with float32 roundings', () => {
    const f = Math.fround;
    const [u, c] = [f(0.1), f(0.7)];
    const [mixed] = guide(Float32Array.of(u), Float32Array.of(c), 7.3);
    expect(mixed).toBe(f(u + f(f(7.3) * f(c - u))));
    expect([...guide(Float32Array.of(1, -2), Float32Array.of(3, 2), 2)]).toEqual([5, 6]);
  });

  it('refuses branches of different lengths', () => {
    expect(() => guide(new Float32Array(3), new Float32Array(4), 2)).toThrow(/3 and 4/);
  });

  it('is off up to a scale of 1', () => {
    expect([0, 0.5, 1, 1.0001, 7].map(needsGuidance)).toEqual([false, false, false, true, true]);
  });
});
