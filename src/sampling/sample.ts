/**
 * @file The loop around every step rule: scaling of inputs and outputs, progress, abort, NaN checks, noise, previews.
 * The network is a function it is given; this file knows no model.
 */
import { assert, fail, throwIfAborted } from '../base/errors.js';
import {
  allFinite,
  arraysOf,
  combiner,
  computeInto,
  requireFinite,
  settled,
  sum,
  type Allocate,
  type Combine,
  type Latent,
  type Sum,
  type Vector,
} from './latent.js';
import type { Level } from './level.js';
import type { Generator } from './noise.js';
import { createRecycler } from './recycler.js';
import type { Env, Memory } from './rules/rule.js';
import type { Sampler } from './sampler.js';
import { createSumKernel } from './sum-kernel.js';

/** Where a run stands. */
export interface Place {
  /** Number of this evaluation in this run, 0-based. */
  readonly evaluation: number;
  /** Number of the step in the whole schedule, 0-based. */
  readonly step: number;
}

/** One evaluation and what came of it. Arrays are the run's own: read them at once, do not write them; later steps write over them. */
export interface EvaluationEvent<L extends Latent> extends Place {
  readonly timestep: number;
  /** What the network was given: the latent, scaled. */
  readonly input: L;
  /** What it returned. */
  readonly output: L;
  /** The clean latent it implies, for previews. */
  readonly denoised: L;
  /** The latent after it: what the next evaluation, or the end of the run, has. */
  readonly sample: L;
}

export interface Run<L extends Latent> {
  /** Without `begin`: unit normal noise. With it: the latents at that step's noise level, taken as they are. */
  readonly latents: L;
  /**
   * The network, guidance included: scaled latent → its raw output, of the same length. Must not write into `input`, and
   * gives the array it returns away: multistep rules keep it.
   */
  readonly predict: (input: L, timestep: number, place: Place) => Promise<L>;
  /** The picture's generator, from which its start noise was drawn. */
  readonly generator: Pick<Generator, 'randn'>;
  readonly signal?: AbortSignal | undefined;
  /** First step to run, 0…steps. The rule's memory starts empty there. */
  readonly begin?: number | undefined;
  /** One past the last step to run, `begin`…steps; all by default. */
  readonly end?: number | undefined;
  readonly onEvaluation?: ((event: EvaluationEvent<L>) => void) | undefined;
  /**
   * Other latents in place of those of each step, e.g. with known parts put back (inpainting); must not write into them.
   * `next` is the level that the next step starts at; `undefined` after the last step of the schedule.
   */
  readonly afterStep?: ((latents: L, at: { readonly step: number; readonly next: Level | undefined }) => L) | undefined;
}

export interface SampleResult<L extends Latent> {
  readonly latents: L;
  /** How often the network was evaluated. */
  readonly evaluations: number;
}

/** Noise for the rules: float32 draws of the generator, in the run's precision. */
function noiseSource<L extends Latent>(take: Allocate<L>, n: number, { randn }: Pick<Generator, 'randn'>): () => L {
  return () => {
    const noise = take(n);
    noise.set(randn(n));
    return noise;
  };
}

function checkedRange(steps: number, begin: number, end: number): void {
  const inside = Number.isInteger(begin) && Number.isInteger(end) && begin >= 0 && begin <= end && end <= steps;
  assert(inside, `steps ${begin} to ${end} of a schedule of ${steps}`);
}

/** An evaluation whose following latent is not known yet. */
interface Pending<L extends Latent> extends Place {
  readonly timestep: number;
  readonly input: L;
  readonly output: L;
  readonly estimate: Sum<L>;
}

const describe = (sampler: Sampler, { step, evaluation, timestep }: Place & { readonly timestep: number }): string =>
  `step ${step + 1} of ${sampler.steps} (evaluation ${evaluation + 1}, timestep ${timestep})`;

/** Linear combinations, and whether a latent is finite: the last one combined was looked at on the way. */
interface Arithmetic<L extends Latent> {
  readonly combine: Combine<L>;
  /** Writes a sum into `out` and returns it. */
  readonly combineInto: (out: L, terms: Sum<L>) => L;
  readonly isFinite: (x: L) => boolean;
}

function arithmetic<L extends Latent>(take: Allocate<L>): Arithmetic<L> {
  const add = createSumKernel();
  let proven: L | undefined;
  const combineInto = (out: L, terms: Sum<L>): L => {
    proven = computeInto(out, terms, add) ? out : undefined;
    return out;
  };
  return {
    combine: combiner(take, combineInto),
    combineInto,
    isFinite: (x) => x === proven || allFinite(x),
  };
}

/** The network as the rules see it: D(x; level) = c_skip·x + c_out·F(c_in·x; timestep). */
function denoiser<L extends Latent>(scratch: L, numbers: Arithmetic<L>, sampler: Sampler, run: Run<L>) {
  const { combine, combineInto, isFinite } = numbers;
  let evaluation = 0;
  let pending: Pending<L> | undefined;

  /** c_in·x. The scaled input is needed until the network has answered, so one array serves the whole run. */
  const scaled = (x: Vector<L>, cIn: number): L =>
    cIn === 1 ? settled(x, combine) : combineInto(scratch, sum([cIn, x]));
  /** Reports the last evaluation once the latent after it is known. */
  const settle = (x: Vector<L>, step: number): void => {
    if (pending === undefined || run.onEvaluation === undefined) return;
    const sample = settled(x, combine);
    check(sample, step);
    const { estimate, ...event } = pending;
    run.onEvaluation({ ...event, sample, denoised: combine([1, estimate]) });
    pending = undefined;
  };
  /** Whatever is not finite in an output is not finite in the latents after it: one check a step, then the question whose. */
  const check = (sample: L, step: number): void => {
    if (isFinite(sample)) return;
    if (pending !== undefined) requireFinite(pending.output, `Network output of ${describe(sampler, pending)}`);
    requireFinite(sample, `Latents of step ${step + 1} of ${sampler.steps} (${sampler.className})`);
  };
  const denoise = async (x: Vector<L>, level: Level, step: number): Promise<Sum<L>> => {
    settle(x, step);
    throwIfAborted(run.signal);
    const { timestep } = level;
    const { cIn, cSkip, cOut } = sampler.precondition(level);
    const place = { evaluation, step };
    const input = scaled(x, cIn);
    check(input, step);
    const answer = await run.predict(input, timestep, place);
    const output = answer === input ? combine([1, answer]) : answer; // the input's array will be used again
    throwIfAborted(run.signal);
    if (output.length !== input.length) {
      const where = describe(sampler, { ...place, timestep });
      throw fail('runtimeFailed', `Network output of ${where}: ${output.length} values, expected ${input.length}.`);
    }
    evaluation += 1;
    const estimate = sum<L>([cSkip, x], [cOut, output]);
    pending = { ...place, timestep, input, output, estimate };
    return estimate;
  };
  /** Arrays that the next report needs. */
  const inUse = (): readonly L[] =>
    pending === undefined ? [] : [pending.input, pending.output, ...arraysOf(pending.estimate)];
  return { denoise, settle, check, inUse, evaluations: () => evaluation };
}

/** `sample` in the precision of `allocate`. */
export async function sampleWith<L extends Latent>(
  allocate: Allocate<L>,
  sampler: Sampler,
  run: Run<L>,
): Promise<SampleResult<L>> {
  const { begin = 0, end = sampler.steps } = run;
  checkedRange(sampler.steps, begin, end);
  const n = run.latents.length;
  const arrays = createRecycler(allocate, n);
  const numbers = arithmetic(arrays.take);
  const { combine } = numbers;
  const network = denoiser(allocate(n), numbers, sampler, run);
  const noise = noiseSource(arrays.take, n, run.generator);
  let x = run.begin === undefined ? combine([sampler.initNoiseSigma, run.latents]) : run.latents;
  let memory: Memory<L> = [];
  for (const interval of sampler.intervals.slice(begin, end)) {
    const step = interval.index;
    const env: Env<L> = { combine, noise, denoise: (latent, level) => network.denoise(latent, level, step) };
    const [next, past] = await sampler.rule.step(x, interval, env, memory);
    network.check(next, step);
    x = run.afterStep?.(next, { step, next: interval.levels[step + 1] }) ?? next;
    memory = past;
    arrays.keepOnly(new Set([x, ...network.inUse(), ...memory.flatMap((p) => [...arraysOf(p.x), ...arraysOf(p.m)])]));
  }
  network.settle(x, end - 1);
  throwIfAborted(run.signal);
  return { latents: x, evaluations: network.evaluations() };
}

/**
 * Runs a sampler over the steps [begin, end) in float32.
 *
 * Noise is drawn from `generator` in the order in which diffusers draws it. The signal is looked at around every evaluation.
 * Throws `aborted`, `notFinite` (saying step and stage) and whatever `predict` throws.
 *
 * @example
 * const generator = createGenerator(42n);
 * const { latents } = await sample(sampler, { latents: generator.randn(4 * 64 * 64), generator, predict });
 */
export function sample(sampler: Sampler, run: Run<Float32Array>): Promise<SampleResult<Float32Array>> {
  return sampleWith((n) => new Float32Array(n), sampler, run);
}
