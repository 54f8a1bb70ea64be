/**
 * @file What sampling costs outside the network: milliseconds a step of every rule, of noise and of guidance. Run alone with
 * `npx tsx bench/sampling.ts`.
 *
 * Everything is measured in rounds, a run of each rule in each, so that what else the machine does meets all rules alike.
 */
import { loadavg } from 'node:os';
import { pathToFileURL } from 'node:url';
import type { SchedulerName } from '../src/request/scheduler-names.js';
import { createGenerator, createSampler, guide, sample, type RawConfig, type Sampler } from '../src/sampling/index.js';

const SIZES = [
  { shape: '128×128×4', n: 128 * 128 * 4 },
  { shape: '128×128×16', n: 128 * 128 * 16 },
] as const;
const STEPS = 20;
/** Rounds that are not counted, in which the engine compiles; and those that are. */
const WARM_UP = 3;
const ROUNDS = 30;

/** What a step of any rule may take at the larger size, in milliseconds. */
const LIMIT = 2;

const DIFFUSION: RawConfig = {
  _class_name: 'PNDMScheduler',
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  steps_offset: 1,
  skip_prk_steps: true,
};
const FLOW: RawConfig = { _class_name: 'FlowMatchLCMScheduler', shift: 3 };
const EDM: RawConfig = { _class_name: 'EDMDPMSolverMultistepScheduler' };

/** One name of each step rule. */
const RULES: readonly (readonly [name: SchedulerName, config: RawConfig])[] = [
  ['Euler', DIFFUSION],
  ['Euler a', DIFFUSION],
  ['DDIM', DIFFUSION],
  ['DDPMScheduler', DIFFUSION],
  ['PNDMScheduler', DIFFUSION],
  ['IPNDMScheduler', DIFFUSION],
  ['Heun', DIFFUSION],
  ['KDPM2DiscreteScheduler', DIFFUSION],
  ['KDPM2AncestralDiscreteScheduler', DIFFUSION],
  ['LMS', DIFFUSION],
  ['DEISMultistepScheduler', DIFFUSION],
  ['DPM++', DIFFUSION],
  ['DPM++ SDE', DIFFUSION],
  ['DPM++ 2M', DIFFUSION],
  ['DPM++ 2M SDE', DIFFUSION],
  ['DPM++ 3M', DIFFUSION],
  ['DPM++ 3M SDE', DIFFUSION],
  ['UniPC', DIFFUSION],
  ['UniPC 3M', DIFFUSION],
  ['LCM', DIFFUSION],
  ['TCDScheduler', DIFFUSION],
  ['FlowMatchEulerDiscreteScheduler', FLOW],
  ['FlowMatchLCMScheduler', FLOW],
  ['EDMDPMSolverMultistepScheduler', EDM],
];

/** Times of many calls, in milliseconds: the middle one, and two that a busy machine disturbs less. */
interface Timing {
  readonly median: number;
  /** A tenth of the calls took less. */
  readonly tenth: number;
  readonly least: number;
}

function timing(times: readonly number[]): Timing {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor(sorted.length * share)] ?? NaN;
  return { median: at(0.5), tenth: at(0.1), least: at(0) };
}

function timed(work: () => unknown): number {
  const begin = performance.now();
  work();
  return performance.now() - begin;
}

/** Ready arrays, which stand in for the network and for making noise. */
interface Arrays {
  readonly latents: Float32Array;
  readonly noise: Float32Array;
  readonly output: Float32Array;
}

/** Times of the steps of one run, in milliseconds: all that a step does but the network and the making of noise. */
async function stepTimes(sampler: Sampler, { latents, noise, output }: Arrays): Promise<readonly number[]> {
  const times: number[] = [];
  let begin = performance.now();
  await sample(sampler, {
    latents,
    generator: { randn: () => noise },
    predict: () => Promise.resolve(output),
    afterStep: (x) => {
      const now = performance.now();
      times.push(now - begin);
      begin = now;
      return x;
    },
  });
  return times;
}

/** Something to measure: once a round it tells the times of what it did. */
interface Subject {
  readonly what: string;
  readonly round: () => Promise<readonly number[]>;
  /** Evaluations of the network a step. */
  readonly evaluations: number;
}

const once = (what: string, work: () => unknown): Subject => ({
  what,
  round: () => Promise.resolve([timed(work)]),
  evaluations: 1,
});

function ruleSubjects(arrays: Arrays): readonly Subject[] {
  return RULES.map(([name, config]) => {
    const sampler = createSampler({ name, config, steps: STEPS });
    return { what: name, round: () => stepTimes(sampler, arrays), evaluations: sampler.evaluations / STEPS };
  });
}

/** Everything measured, in the order given. */
async function measure(subjects: readonly Subject[]): Promise<readonly (Subject & Timing)[]> {
  const measured = subjects.map((subject) => ({ subject, times: [] as number[] }));
  for (let round = 0; round < WARM_UP + ROUNDS; round++)
    for (const { subject, times } of measured) {
      const now = await subject.round();
      if (round >= WARM_UP) times.push(...now);
    }
  return measured.map(({ subject, times }) => ({ ...subject, ...timing(times) }));
}

function line({ what, median, tenth, least, evaluations }: Subject & Timing, n: number, copy: number): string {
  const columns = [
    what.padEnd(33),
    `${median.toFixed(3).padStart(7)} ms (tenth ${tenth.toFixed(3).padStart(6)}, least ${least.toFixed(3).padStart(6)})`,
    `${((1e6 * median) / n).toFixed(2).padStart(6)} ns/element`,
    `${(median / copy).toFixed(1).padStart(6)} × copy`,
    ...(evaluations > 1.5 ? [`${(median / evaluations).toFixed(3).padStart(7)} ms/evaluation`] : []),
  ];
  return columns.join(' ');
}

/**
 * From the first buffer that is handed to another thread on, as every page does, the engine looks at each access to an array
 * whether its buffer is still there: a third more time (Node 20). So it shall be here.
 */
function handBufferAway(): void {
  const buffer = new ArrayBuffer(8);
  structuredClone(buffer, { transfer: [buffer] });
}

/** Lines to print of latents of `n` values. */
async function benchSize(shape: string, n: number): Promise<readonly string[]> {
  const generator = createGenerator(1n);
  const arrays: Arrays = { latents: generator.randn(n), noise: generator.randn(n), output: generator.randn(n) };
  const copied = new Float32Array(n);
  const rules = ruleSubjects(arrays);
  const load = (): string => (loadavg()[0] ?? NaN).toFixed(1);
  const before = load();
  const [copy, ...timings] = await measure([
    once('copy', () => {
      copied.set(arrays.latents);
    }),
    ...rules,
    once('noise (randn)', () => generator.randn(n)),
    once('guidance', () => guide(arrays.latents, arrays.output, 7)),
  ]);
  const copying = copy?.median ?? NaN;
  const slow = timings.slice(0, rules.length).filter(({ median }) => median > LIMIT);
  return [
    `Sampling, ${shape} latents (${n} values), medians of ${ROUNDS} runs of ${STEPS} steps; copying them takes ${copying.toFixed(3)} ms; load ${before} before, ${load()} after`,
    ...timings.map((timed) => line(timed, n, copying)),
    `Rules with medians above ${LIMIT} ms: ${slow.length === 0 ? 'none' : slow.map(({ what }) => what).join(', ')}`,
  ];
}

/** Lines to print: every step rule, noise and guidance at the latent sizes of 1024² pictures (4 and 16 channels). */
export async function benchSampling(): Promise<string[]> {
  handBufferAway();
  const lines: string[] = [];
  for (const { shape, n } of SIZES) lines.push(...(await benchSize(shape, n)));
  return lines;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) console.log((await benchSampling()).join('\n'));
