/**
 * @file Scheduler goldens: every case of a folder (whole runs, image to image, the refiner's hand-off) and its tables, in float32
 * against diffusers and in float64 against its formulas. One outcome a variant. Runs anywhere.
 */
import { createGenerator } from '../../src/sampling/noise.js';
import { firstStepOf, noisedForStep } from '../../src/sampling/partial-runs.js';
import { sample, sampleWith, type Run } from '../../src/sampling/sample.js';
import {
  assembleSampler,
  createSampler,
  designSampler,
  evaluationTimesteps,
  type Sampler,
  type SamplerRequest,
} from '../../src/sampling/sampler.js';
import type { Level } from '../../src/sampling/level.js';
import { roundHalfEven } from '../../src/sampling/numeric.js';
import { dynamicShift } from '../../src/sampling/flow-shift.js';
import { compare, outcomeOf, worstOf, type Comparison, type Outcome } from './report.js';
import {
  baseOf,
  closedFormModel,
  configDifferences,
  COUNT,
  isZeroSnr,
  namesOf,
  optionalFile,
  requestsOf,
  rows,
  storedTables,
  tensor,
  type SchedulerCase,
  type SchedulerGoldens,
  type TensorFile,
} from './scheduler-goldens.js';
import * as TOL from './scheduler-tolerances.js';

/** Names of the outcomes that a folder gives, in its own order. */
export function schedulerVariants({ book }: SchedulerGoldens): readonly string[] {
  return [...new Set(book.cases.map(({ variant }) => variant))];
}

/** Every case of one variant, for every scheduler name that means it. */
export async function runVariant(goldens: SchedulerGoldens, variant: string): Promise<Outcome> {
  const start = performance.now();
  const comparisons: Comparison[] = [];
  try {
    comparisons.push(...configurationsOf(goldens, variant), ...alikeOf(goldens, variant));
    for (const c of goldens.book.cases.filter((candidate) => candidate.variant === variant))
      comparisons.push(...(await runCase(goldens, c)));
    comparisons.push(...splitsOf(goldens, variant));
    return outcomeOf('schedulers', variant, comparisons, start);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { ...outcomeOf('schedulers', variant, comparisons, start), status: 'failed', message };
  }
}

const EXACT = { absolute: 0, relative: 0 } as const;
const within = (absolute: number) => ({ absolute, relative: 0 });

/** Largest magnitude. */
const maxAbs = (values: ArrayLike<number>): number => compare('', values, new Float64Array(values.length), EXACT).worst;

/** Element by element, each within its own limit: the one nearest to it, or furthest beyond. */
function compareEach(
  name: string,
  got: readonly number[],
  want: ArrayLike<number>,
  limit: (value: number, i: number) => number,
): Comparison {
  const whole = compare(name, got, want, EXACT);
  if (got.length !== want.length) return whole;
  const each = got.map((value, i) => compare(name, [value], [want[i] ?? NaN], within(limit(want[i] ?? NaN, i))));
  return worstOf(each) ?? whole;
}

async function runCase(goldens: SchedulerGoldens, c: SchedulerCase): Promise<readonly Comparison[]> {
  const file = await goldens.file(c.class);
  const out: Comparison[] = [];
  for (const [i, request] of requestsOf(goldens, c).entries()) {
    const what = request.name === 'Default' ? c.id : `${request.name}: ${c.id}`;
    const sampler = createSampler(request);
    switch (c.kind) {
      case 'txt2img':
        out.push(...tablesOf(what, file, c, sampler));
        if (cutOffElsewhere(sampler, tensor(file, `${c.id}/timesteps`))) break; // the model is asked about another timestep
        out.push(...(await runFloat32(what, file, c, sampler)));
        if (i === 0) out.push(...(await runFloat64(what, goldens, file, c, request)));
        break;
      case 'img2img':
      case 'img2img-wanted':
        // Cutting PNDM's list loses its repeated timestep in diffusers; `img2img-wanted` is the run without that fault.
        if (c.kind === 'img2img-wanted' || c.class !== 'PNDMScheduler')
          out.push(...(await runImageToImage(what, file, c, sampler)));
        break;
      case 'refiner':
        out.push(...(await runHandOff(what, file, c, sampler)));
    }
  }
  return out;
}

const float32Model = (input: Float32Array, timestep: number): Promise<Float32Array> =>
  Promise.resolve(Float32Array.from(closedFormModel(input, timestep)));

/** The levels of all evaluations, with the relative error that float32 leaves in diffusers' σ there. */
function visited({ className, intervals, rule }: Sampler): readonly (Level & { readonly error: number })[] {
  const cancels = className === 'KDPM2AncestralDiscreteScheduler';
  return intervals.flatMap((interval, i) =>
    rule
      .visits(interval, i)
      .map((level, k) => ({ ...level, error: cancels && k > 0 ? TOL.cancelledMidpoint(interval) : 0 })),
  );
}

/**
 * Curves of flow schedules, which diffusers lacks, are computed in float64 in these goldens, and int(1000σ) of σ = 0.999 is 998 for some: 1 is allowed
 * where 1000σ is a whole number but for rounding and ours is that number. (FLUX.1's goldens, of float32 ends, have 999.)
 */
function cutOff({ sigmas, timesteps, config }: Sampler, i: number): number {
  const exact = 1000 * (sigmas[i] ?? NaN);
  const isWhole = Math.abs(exact - Math.round(exact)) < 1e-4;
  return config.use_flow_sigmas && isWhole && timesteps[i] === Math.round(exact) ? 1 : 0;
}

const cutOffElsewhere = (sampler: Sampler, golden: ArrayLike<number>): boolean =>
  sampler.timesteps.some((t, i) => t !== golden[i] && cutOff(sampler, i) > 0);

function tablesOf(what: string, file: TensorFile, c: SchedulerCase, sampler: Sampler): readonly Comparison[] {
  const zeroSnr = isZeroSnr(sampler);
  const sigmaLimit = zeroSnr ? TOL.SIGMA_ZERO_SNR : TOL.SIGMA;
  const wholeOrNot = c.timestepType === 'int64' ? 0 : zeroSnr ? TOL.TIMESTEP_ZERO_SNR : TOL.TIMESTEP;
  const levels = visited(sampler);
  const { sigmas } = storedTables(file, c, sampler);
  const scales = file.get(`${c.id}/scale`);
  const out = [
    compare(`${what} evaluations`, [sampler.evaluations], [c.evals], EXACT),
    compareEach(
      `${what} timesteps`,
      sampler.timesteps,
      tensor(file, `${c.id}/timesteps`),
      (t, i) => wholeOrNot + TOL.timestepError(t, levels[i]?.error ?? 0) + cutOff(sampler, i),
    ),
    compareEach(`${what} initNoiseSigma`, [sampler.initNoiseSigma], [c.initNoiseSigma], (init) => sigmaLimit * init),
  ];
  if (sigmas.length > 0) out.push(compareEach(`${what} sigmas`, sampler.sigmas, sigmas, (sigma) => sigmaLimit * sigma));
  if (scales !== undefined) {
    const cIn = levels.map((level) => sampler.precondition(level).cIn);
    // c_in = 1/√(1 + σ²) is less sensitive than σ the smaller σ is: by 1 − c_in².
    const limit = (scale: number, i: number): number =>
      scale * (sigmaLimit + (1 - scale ** 2) * (levels[i]?.error ?? 0));
    out.push(compareEach(`${what} input scales`, cIn, scales, limit));
  }
  if (typeof c.mu === 'number' && c.imageSeqLen !== undefined)
    out.push(compare(`${what} mu`, [dynamicShift(sampler.config, c.imageSeqLen)], [c.mu], within(1e-12)));
  return out;
}

/** A generator that notes after which evaluation it was asked. */
function watched(seed: number, evaluation: () => number) {
  const generator = createGenerator(BigInt(seed));
  const at: number[] = [];
  return {
    latents: generator.randn(COUNT),
    randn: (n: number): Float32Array => {
      if (at.at(-1) !== evaluation()) at.push(evaluation());
      return generator.randn(n);
    },
    at,
  };
}

async function runFloat32(
  what: string,
  file: TensorFile,
  c: SchedulerCase,
  sampler: Sampler,
): Promise<readonly Comparison[]> {
  const seen: Float32Array[] = [];
  const generator = watched(c.seed, () => seen.length);
  const { latents } = await sample(sampler, {
    latents: generator.latents,
    generator,
    predict: float32Model,
    onEvaluation: (event) => seen.push(event.sample.slice()),
  });
  const tolerance = TOL.float32Tolerance(c.float32Error, c.maxAbs);
  const want = rows(file, `${c.id}/x`);
  const trajectory = c.full ? rowsAgainst(what, seen, want, tolerance) : [];
  return [
    ...trajectory,
    compare(`${what} end`, latents, want.at(-1) ?? [], within(tolerance)),
    compare(`${what} evaluations with noise`, generator.at, c.noiseAt.flat(), EXACT),
  ];
}

/** The latents after each evaluation; `want` has those before the first one too. */
function rowsAgainst(
  what: string,
  seen: readonly Float32Array[],
  want: readonly Float64Array[],
  tolerance: number,
): readonly Comparison[] {
  const after = want.slice(1);
  return [
    compare(`${what} latents stored`, [seen.length], [after.length], EXACT),
    ...after.map((row, i) => {
      const limit = Math.max(tolerance, TOL.rowTolerance(maxAbs(want[i] ?? []), maxAbs(row)));
      return compare(`${what} after evaluation ${i}`, seen[i] ?? [], row, within(limit));
    }),
  ];
}

/** The formulas alone: the stored float32 tables, everything else in float64. */
async function runFloat64(
  what: string,
  goldens: SchedulerGoldens,
  file: TensorFile,
  c: SchedulerCase,
  request: SamplerRequest,
): Promise<readonly Comparison[]> {
  const plain = designSampler(request);
  const tables = storedTables(file, c, plain);
  // Rules on ᾱ have no stored sigmas; the rescaled table itself is stored.
  const betas =
    isZeroSnr(plain) && tables.sigmas.length === 0
      ? (await optionalFile(goldens, 'tables')).get('zero_snr/betas')
      : undefined;
  const config = { ...request.config, trained_betas: [...(betas ?? [])], rescale_betas_zero_snr: false };
  const design = betas === undefined ? plain : designSampler({ ...request, config });
  const sampler = { ...assembleSampler(design, tables), initNoiseSigma: c.initNoiseSigma64 };
  const generator = createGenerator(BigInt(c.seed));
  const seen: Float64Array[] = [];
  await sampleWith<Float64Array>((n) => new Float64Array(n), sampler, {
    latents: Float64Array.from(generator.randn(COUNT)),
    generator,
    predict: (input, timestep) => Promise.resolve(closedFormModel(input, timestep)),
    onEvaluation: (event) => seen.push(event.sample.slice()),
  });
  const want = rows(file, `${c.id}/x64`);
  const last = seen.slice(want.length === c.evals + 1 ? -c.evals : -1);
  return want.slice(-last.length).map((row, i) => {
    const limit = TOL.FORMULA * Math.max(1, maxAbs(row), i === last.length - 1 ? c.maxAbs : 0);
    return compare(`${what} float64 after evaluation ${c.evals - last.length + i}`, last[i] ?? [], row, within(limit));
  });
}

/** Times order, as diffusers counts it: classes that evaluate twice a step list their timesteps so. */
const listed = (c: SchedulerCase): number => (/^(Heun|KDPM2)/.test(c.class) ? 2 : 1);

async function runImageToImage(
  what: string,
  file: TensorFile,
  c: SchedulerCase,
  sampler: Sampler,
): Promise<readonly Comparison[]> {
  const begin = firstStepOf(sampler, c.strength ?? NaN);
  const image = createGenerator(BigInt(c.imageSeed ?? 0)).randn(COUNT);
  const seen: Float32Array[] = [];
  const generator = watched(c.seed, () => seen.length);
  const latents = noisedForStep(
    sampler,
    image.map((v) => v * Math.fround(0.8)),
    generator.latents,
    begin,
  );
  const run = { latents, begin, generator, predict: float32Model };
  const result = await sample(sampler, { ...run, onEvaluation: (event) => seen.push(event.sample.slice()) });
  const want = rows(file, `${c.id}/x`);
  const end = want.at(-1) ?? new Float64Array();
  const tolerance = TOL.float32Tolerance(c.float32Error, maxAbs(end));
  const timesteps = evaluationTimesteps(sampler, begin);
  return [
    compare(`${what} begin`, [begin * listed(c)], [c.begin ?? NaN], EXACT),
    compare(`${what} timesteps`, timesteps, tensor(file, `${c.id}/timesteps`), within(TOL.TIMESTEP)),
    compare(`${what} start`, latents, want[0] ?? [], within(1e-5 * Math.max(1, maxAbs(want[0] ?? [])))),
    ...(c.full ? rowsAgainst(what, seen, want, tolerance) : []),
    compare(`${what} end`, result.latents, end, within(tolerance)),
    compare(`${what} evaluations with noise`, generator.at, c.noiseAt.flat(), EXACT),
  ];
}

/**
 * The step at which a refiner case takes over; undefined where diffusers, cutting by timestep, stops inside a step or has the
 * refiner repeat an evaluation.
 */
function handOffStep(c: SchedulerCase, sampler: Sampler): number | undefined {
  if (c.splitIndex !== undefined) return c.splitIndex;
  const split = (c.begin ?? NaN) / listed(c);
  const whole = Number.isInteger(split) && evaluationTimesteps(sampler, 0, split).length === c.baseEvals;
  return whole ? split : undefined;
}

async function runHandOff(
  what: string,
  file: TensorFile,
  c: SchedulerCase,
  sampler: Sampler,
): Promise<readonly Comparison[]> {
  const split = handOffStep(c, sampler);
  if (split === undefined) return [];
  const generator = createGenerator(BigInt(c.seed));
  const run: Pick<Run<Float32Array>, 'generator' | 'predict'> = { generator, predict: float32Model };
  const base = await sample(sampler, { ...run, latents: generator.randn(COUNT), end: split });
  const refined = await sample(sampler, { ...run, latents: base.latents, begin: split });
  const [, handed = new Float64Array(), end = new Float64Array()] = rows(file, `${c.id}/x`);
  return [
    ...(['base', 'refiner'] as const).map((part) => {
      const timesteps = part === 'base' ? evaluationTimesteps(sampler, 0, split) : evaluationTimesteps(sampler, split);
      return compare(
        `${what} ${part} timesteps`,
        timesteps,
        tensor(file, `${c.id}/${part}/timesteps`),
        within(TOL.TIMESTEP),
      );
    }),
    compare(`${what} hand-off`, base.latents, handed, within(TOL.float32Tolerance(c.float32Error, maxAbs(handed)))),
    compare(`${what} end`, refined.latents, end, within(TOL.float32Tolerance(c.float32Error, maxAbs(end)))),
  ];
}

/** Keys of the completed configuration that differ from diffusers', for each base. */
function configurationsOf(goldens: SchedulerGoldens, variant: string): readonly Comparison[] {
  return Object.entries(goldens.book.configs).flatMap(([id, { config }]) => {
    const [own, base = ''] = id.split('/');
    if (own !== variant) return [];
    return requestsOf(goldens, { variant, base, steps: 1 }).map((request) => {
      const differing = configDifferences(designSampler(request), config);
      return compare(`${request.name}: ${id} configuration ${differing.join(', ')}`, [differing.length], [0], EXACT);
    });
  });
}

/** Bases that diffusers schedules alike are stored once: ours must be alike too. */
function alikeOf(goldens: SchedulerGoldens, variant: string): readonly Comparison[] {
  return Object.entries(goldens.book.sameAs).flatMap(([id, other]) => {
    const [own, base = ''] = id.split('/');
    const [, otherBase = ''] = other.split('/');
    const [name] = own === variant ? namesOf(goldens, variant, otherBase) : [];
    if (name === undefined) return [];
    const made = (at: string): Sampler => createSampler({ name, config: baseOf(goldens.names, at).config, steps: 20 });
    const [a, b] = [made(base), made(otherBase)];
    return [
      compare(`${id} timesteps as ${other}`, a.timesteps, b.timesteps, EXACT),
      compare(`${id} sigmas as ${other}`, a.sigmas, b.sigmas, EXACT),
    ];
  });
}

/** How many timesteps of ours lie above diffusers' cut. */
function splitsOf(goldens: SchedulerGoldens, variant: string): readonly Comparison[] {
  return goldens.book.refinerSplits
    .filter((split) => split.variant === variant)
    .map(({ steps, denoisingEnd, timesteps, baseEvals }) => {
      const [request] = requestsOf(goldens, { variant, base: 'sdxl', steps });
      if (request === undefined) throw new Error(`no request for ${variant}`);
      const sampler = createSampler(request);
      const range = sampler.config.num_train_timesteps;
      const cut = roundHalfEven(range - denoisingEnd * range);
      const above = sampler.timesteps.filter((t) => t >= cut).length;
      const what = `sdxl/${steps} timesteps in all and above ${denoisingEnd}`;
      return compare(what, [sampler.timesteps.length, above], [timesteps, baseEvals], EXACT);
    });
}
