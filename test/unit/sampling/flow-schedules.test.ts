/** @file The scheduler names of flow-matching models (FLUX.1, HiDream-I1) against diffusers: schedules, and steps with given velocities. */
import { describe, expect, it } from 'vitest';
import { resolveSchedulerName } from '../../../src/request/scheduler-names.js';
import type { RawConfig } from '../../../src/sampling/config.js';
import { sample } from '../../../src/sampling/sample.js';
import { createSampler, type Sampler } from '../../../src/sampling/sampler.js';
import { distance, maxAbs } from './golden-cases.js';
import { goldenJson, openGolden } from './safetensors-reader.js';
import * as TOL from '../../golden-runner/scheduler-tolerances.js';

interface ScheduleRow {
  readonly model: string;
  readonly scheduler: string;
  readonly tokens: number;
  readonly steps: number;
  readonly sigmas: readonly number[];
  /** Whole timesteps only; fractional ones are 1000·σ. */
  readonly timesteps?: readonly number[];
}

const FOLDER = 'unit/flow-schedules';
const rows = goldenJson<readonly ScheduleRow[]>(`${FOLDER}/schedules.json`);
const book = goldenJson<{
  readonly models: Readonly<Record<string, { readonly config: RawConfig }>>;
  readonly trajectories: readonly (Omit<ScheduleRow, 'sigmas'> & {
    readonly key: string;
    readonly stochastic: boolean;
  })[];
}>(`${FOLDER}/case.json`);
const tensors = openGolden(`${FOLDER}/tensors.safetensors`);

function samplerOf({ model, scheduler, tokens, steps }: Omit<ScheduleRow, 'sigmas'>): Sampler {
  const name = resolveSchedulerName(scheduler);
  if (name === undefined) throw new Error(`${scheduler} is no scheduler`);
  const config = book.models[model]?.config ?? {};
  return createSampler({ name, config, steps, imageSeqLen: tokens, uniformFlowGrid: model.startsWith('flux') });
}

describe('flow schedules', () => {
  it.each([...new Set(rows.map(({ model, scheduler }) => `${model}/${scheduler}`))])('%s', (key) => {
    for (const row of rows.filter(({ model, scheduler }) => `${model}/${scheduler}` === key)) {
      const sampler = samplerOf(row);
      const what = `${key}, ${row.tokens} tokens, ${row.steps} steps`;
      expect(sampler.sigmas).toHaveLength(row.sigmas.length);
      row.sigmas.forEach((sigma, i) => {
        expect(Math.abs(sigma - (sampler.sigmas[i] ?? NaN)), what).toBeLessThanOrEqual(TOL.SIGMA * sigma);
      });
      const timesteps = row.timesteps ?? row.sigmas.slice(0, -1).map((sigma) => 1000 * sigma);
      timesteps.forEach((t, i) => {
        const off = Math.abs(t - (sampler.timesteps[i] ?? NaN));
        expect(off, what).toBeLessThanOrEqual(row.timesteps === undefined ? TOL.TIMESTEP : 0);
      });
    }
  });
});

describe('flow trajectories', () => {
  it.each(book.trajectories)('$key', async (trajectory) => {
    const sampler = samplerOf(trajectory);
    const stored = (what: string): Float32Array => Float32Array.from(tensors.read(`${trajectory.key}/${what}`).values);
    const [start, velocities, states] = [stored('x0'), stored('velocity'), stored('x')];
    const noises = trajectory.stochastic ? stored('noise') : new Float32Array();
    const part = (all: Float32Array, i: number): Float32Array => all.slice(i * start.length, (i + 1) * start.length);
    let draws = 0;
    const seen: Float32Array[] = [];
    await sample(sampler, {
      latents: start,
      generator: { randn: () => part(noises, draws++) },
      predict: (_, __, { evaluation }) => Promise.resolve(part(velocities, evaluation)),
      onEvaluation: (event) => seen.push(event.sample.slice()),
    });
    expect(sampler.stochastic).toBe(trajectory.stochastic);
    expect(seen).toHaveLength(trajectory.steps);
    seen.forEach((x, i) => {
      const want = part(states, i);
      expect(distance(x, want), `step ${i}`).toBeLessThanOrEqual(1e-5 * Math.max(1, maxAbs(want)));
    });
  });
});
