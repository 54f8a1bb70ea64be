/** @file Unit goldens of flow schedules: sigmas and timesteps of every scheduler name, and steps along given velocities. */
import { resolveSchedulerName } from '../../src/request/scheduler-names.js';
import type { RawConfig } from '../../src/sampling/config.js';
import { sample } from '../../src/sampling/sample.js';
import { createSampler, type Sampler } from '../../src/sampling/sampler.js';
import { readGoldenJson, readTensors, type GoldenFolder } from './files.js';
import { compare, type Comparison } from './report.js';
import { SIGMA, TIMESTEP } from './scheduler-tolerances.js';

interface Schedule {
  readonly model: string;
  readonly scheduler: string;
  readonly tokens: number;
  readonly steps: number;
}

interface ScheduleRow extends Schedule {
  readonly sigmas: readonly number[];
  /** Whole timesteps only; fractional ones are 1000·σ. */
  readonly timesteps?: readonly number[];
}

interface Book {
  readonly models: Readonly<Record<string, { readonly config: RawConfig }>>;
  readonly trajectories: readonly (Schedule & { readonly key: string; readonly stochastic: boolean })[];
}

const readBook = async (folder: GoldenFolder, path: string): Promise<Book> =>
  (await readGoldenJson(folder, `${path}/case.json`)) as Book;

function samplerOf({ models }: Book, { model, scheduler, tokens, steps }: Schedule): Sampler {
  const name = resolveSchedulerName(scheduler);
  if (name === undefined) throw new Error(`${scheduler} is no scheduler`);
  const config = models[model]?.config ?? {};
  return createSampler({ name, config, steps, imageSeqLen: tokens, uniformFlowGrid: model.startsWith('flux') });
}

export async function compareSchedules(folder: GoldenFolder, path: string): Promise<readonly Comparison[]> {
  const book = await readBook(folder, path);
  const rows = (await readGoldenJson(folder, `${path}/schedules.json`)) as readonly ScheduleRow[];
  return rows.flatMap((row) => {
    const { sigmas, timesteps } = samplerOf(book, row);
    const what = `${row.model} ${row.scheduler}, ${row.tokens} tokens, ${row.steps} steps`;
    const exact = row.sigmas.slice(0, -1).map((sigma) => 1000 * sigma);
    return [
      compare(`${what}: sigmas`, sigmas, row.sigmas, { absolute: 0, relative: SIGMA }),
      row.timesteps === undefined
        ? compare(`${what}: timesteps`, timesteps, exact, { absolute: TIMESTEP, relative: 0 })
        : compare(`${what}: timesteps`, timesteps, row.timesteps, { absolute: 0, relative: 0 }),
    ];
  });
}

export async function compareTrajectories(folder: GoldenFolder, path: string): Promise<readonly Comparison[]> {
  const book = await readBook(folder, path);
  const tensors = await readTensors(folder, `${path}/tensors.safetensors`);
  const out: Comparison[] = [];
  for (const trajectory of book.trajectories) {
    const stored = (what: string): Float32Array => Float32Array.from(tensors.get(`${trajectory.key}/${what}`) ?? []);
    const [start, velocities, states] = [stored('x0'), stored('velocity'), stored('x')];
    const noises = trajectory.stochastic ? stored('noise') : new Float32Array();
    const part = (all: Float32Array, i: number): Float32Array => all.slice(i * start.length, (i + 1) * start.length);
    let draws = 0;
    const seen: Float32Array[] = [];
    await sample(samplerOf(book, trajectory), {
      latents: start,
      generator: { randn: () => part(noises, draws++) },
      predict: (_, __, { evaluation }) => Promise.resolve(part(velocities, evaluation)),
      onEvaluation: (event) => seen.push(event.sample.slice()),
    });
    const tolerance = { absolute: 1e-5, relative: 1e-5 };
    out.push(compare(`${trajectory.key}: steps`, [seen.length], [trajectory.steps], { absolute: 0, relative: 0 }));
    seen.forEach((x, i) => out.push(compare(`${trajectory.key}: step ${i}`, x, part(states, i), tolerance)));
  }
  return out;
}
