/** @file The loop: abort, NaN and length checks, ranges, what the hooks see, and its errors. */
import { describe, expect, it } from 'vitest';
import type { SchedulerName } from '../../../src/request/scheduler-names.js';
import { createGenerator } from '../../../src/sampling/noise.js';
import { sample, sampleWith, type EvaluationEvent, type Run } from '../../../src/sampling/sample.js';
import { createSampler, type Sampler } from '../../../src/sampling/sampler.js';
import { closedFormModel, names } from './golden-cases.js';

const sd15 = names.bases['sd15']?.config ?? {};
const samplerOf = (name: SchedulerName, steps: number): Sampler => createSampler({ name, config: sd15, steps });
const predict = (input: Float32Array, timestep: number): Promise<Float32Array> =>
  Promise.resolve(Float32Array.from(closedFormModel(input, timestep)));

function start(overrides: Partial<Run<Float32Array>> = {}): Run<Float32Array> {
  const generator = createGenerator(7n);
  return { latents: generator.randn(64), generator, predict, ...overrides };
}

const codeOf = (code: string) => expect.objectContaining({ code }) as Error;

describe('abort', () => {
  it('stops before the first evaluation when already aborted', async () => {
    let calls = 0;
    const counting = (x: Float32Array) => Promise.resolve((calls++, x));
    const run = sample(samplerOf('Euler', 4), start({ signal: AbortSignal.abort(), predict: counting }));
    await expect(run).rejects.toThrow(codeOf('aborted'));
    expect(calls).toBe(0);
  });

  it.each(['Euler', 'Heun', 'DPM++ 2M SDE', 'PNDMScheduler'] as const)(
    'stops %s during an evaluation',
    async (name) => {
      const controller = new AbortController();
      let calls = 0;
      const run = sample(
        samplerOf(name, 6),
        start({
          signal: controller.signal,
          predict: (x) => {
            if (++calls === 3) controller.abort();
            return Promise.resolve(x);
          },
        }),
      );
      await expect(run).rejects.toThrow(codeOf('aborted'));
      expect(calls).toBe(3);
    },
  );
});

describe('checks', () => {
  it.each([NaN, Infinity, -Infinity])('reports %s in a network output with its step', async (bad) => {
    let calls = 0;
    const run = sample(
      samplerOf('Heun', 5),
      start({
        predict: (x) =>
          Promise.resolve(x.map((v, i) => (calls > 0 && i === 9 ? bad : ((calls += i === 63 ? 1 : 0), v)))),
      }),
    );
    await expect(run).rejects.toThrow(codeOf('notFinite'));
    await expect(run).rejects.toThrow(/Network output of step 1 of 5 \(evaluation 2, timestep 749\.25\): 1 of 64/);
  });

  it.each([true, false])('reports it before the network is asked again (events are wanted: %s)', async (wanted) => {
    for (const name of ['Heun', 'KDPM2DiscreteScheduler'] as const) {
      let calls = 0;
      const denoised: Float32Array[] = [];
      const run = sample(
        samplerOf(name, 5),
        start({
          predict: (x) => Promise.resolve(x.map((v, i) => (i === 0 ? ((calls += 1), NaN) : v))),
          ...(wanted ? { onEvaluation: (event) => denoised.push(event.denoised) } : {}),
        }),
      );
      await expect(run).rejects.toThrow(/Network output of step 1 of 5 \(evaluation 1, timestep 999\): 1 of 64/);
      expect([calls, denoised.length]).toEqual([1, 0]);
    }
  });

  it('reports latents that overflow float32, naming the rule', async () => {
    const run = sample(samplerOf('Euler', 3), start({ predict: (x) => Promise.resolve(x.map(() => 3e38)) }));
    await expect(run).rejects.toThrow(/Latents of step 1 of 3 \(EulerDiscreteScheduler\)/);
  });

  it('refuses an output of another length', async () => {
    const run = sample(samplerOf('Euler', 3), start({ predict: () => Promise.resolve(new Float32Array(63)) }));
    await expect(run).rejects.toThrow(/63 values, expected 64/);
  });

  it('passes on what the network throws', async () => {
    const run = sample(samplerOf('Euler', 3), start({ predict: () => Promise.reject(new Error('no device')) }));
    await expect(run).rejects.toThrow('no device');
  });

  it.each([
    [3, 2],
    [0, 9],
    [-1, 2],
    [0.5, 2],
  ])('refuses the range %d to %d of 4 steps', async (begin, end) => {
    await expect(sample(samplerOf('Euler', 4), start({ begin, end }))).rejects.toThrow(codeOf('internalError'));
  });
});

describe('hooks', () => {
  it.each(['Euler', 'Heun', 'KDPM2AncestralDiscreteScheduler', 'PNDMScheduler', 'UniPC', 'LCM'] as const)(
    '%s: events follow the plan, and each sample is what the next evaluation sees',
    async (name) => {
      const sampler = samplerOf(name, 5);
      const events: EvaluationEvent<Float32Array>[] = [];
      const { latents, evaluations } = await sample(
        sampler,
        start({
          onEvaluation: (event) => events.push({ ...event, input: event.input.slice(), sample: event.sample.slice() }),
        }),
      );
      expect(events.map(({ timestep }) => timestep)).toEqual(sampler.timesteps);
      expect(events.map(({ evaluation }) => evaluation)).toEqual(sampler.timesteps.map((_, i) => i));
      expect(evaluations).toBe(sampler.evaluations);
      expect(events.at(-1)?.sample).toEqual(latents);
      events.slice(1).forEach(({ input }, i) => {
        // The input is the sample before it, scaled by one factor.
        const before = events[i]?.sample ?? new Float32Array();
        const factor = (input[0] ?? NaN) / (before[0] ?? NaN);
        input.forEach((v, j) => expect(v).toBeCloseTo(factor * (before[j] ?? NaN), 4));
      });
    },
  );

  it('shows the estimate of the clean latent', async () => {
    // A network that returns the noise of a known picture: every estimate is that picture.
    const sampler = samplerOf('DDIM', 4);
    const picture = createGenerator(3n).randn(64);
    const seen: Float32Array[] = [];
    await sample(
      sampler,
      start({
        predict: (x, timestep) => {
          const level = sampler.intervals.find(({ from }) => from.timestep === timestep)?.from;
          if (level === undefined) throw new Error(`no level ${timestep}`);
          return Promise.resolve(x.map((v, i) => (v - level.alpha * (picture[i] ?? NaN)) / level.sigma));
        },
        onEvaluation: ({ denoised }) => seen.push(denoised.slice()),
      }),
    );
    expect(seen).toHaveLength(4);
    for (const denoised of seen) denoised.forEach((v, i) => expect(v).toBeCloseTo(picture[i] ?? NaN, 4));
  });

  it('lets the latents be changed between steps, telling the next level', async () => {
    const sampler = samplerOf('Euler', 3);
    const nexts: (number | undefined)[] = [];
    const { latents } = await sample(
      sampler,
      start({
        afterStep: (x, { next }) => {
          nexts.push(next?.sigma);
          return next === undefined ? x.map(() => 0.5) : x;
        },
      }),
    );
    expect(nexts).toEqual([sampler.sigmas[1], sampler.sigmas[2], undefined]);
    expect(new Set(latents)).toEqual(new Set([0.5]));
  });

  it('does not write into the latents it is given', async () => {
    const run = start();
    const before = run.latents.slice();
    await sample(samplerOf('DPM++ 2M', 5), run);
    expect(run.latents).toEqual(before);
  });

  it.each(['Euler a', 'Heun', 'LMS', 'DPM++ 3M SDE', 'UniPC 3M', 'PNDMScheduler', 'LCM'] as const)(
    '%s needs no more arrays the longer the run, and none that the network gave it is written over',
    async (name) => {
      const made = async (steps: number): Promise<number> => {
        let count = 0;
        const allocate = (n: number): Float32Array => {
          count++;
          return new Float32Array(n);
        };
        const outputs: (readonly [output: Float32Array, copy: Float32Array])[] = [];
        const predict = (x: Float32Array, timestep: number): Promise<Float32Array> => {
          const output = Float32Array.from(closedFormModel(x, timestep));
          outputs.push([output, output.slice()]);
          return Promise.resolve(output);
        };
        await sampleWith<Float32Array>(allocate, samplerOf(name, steps), start({ predict }));
        for (const [output, copy] of outputs) expect(output).toEqual(copy);
        return count;
      };
      expect(await made(12)).toBeLessThan(16);
      expect(await made(40)).toBeLessThan(16);
    },
  );
});
