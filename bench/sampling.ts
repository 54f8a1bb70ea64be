/** @file What sampling costs outside the network: milliseconds a step of every rule, of noise and of guidance. Run alone with `npx tsx bench/sampling.ts`. */
import { pathToFileURL } from 'node:url';
import type { SchedulerName } from '../src/request/scheduler-names.js';
import { createGenerator, createSampler, guide, sample, type RawConfig, type Sampler } from '../src/sampling/index.js';

const SIZES = [
  { shape: '128×128×4', n: 128 * 128 * 4 },
  { shape: '128×128×16', n: 128 * 128 * 16 },
] as const;
const STEPS = 20;
const REPEATS = 11;

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

function timed(repeats: number, work: () => unknown): Timing {
  return timing(
    Array.from({ length: repeats }, () => {
      const begin = performance.now();
      work();
      return performance.now() - begin;
    }),
  );
}

/** Time of one whole step, the network and the making of noise left out: both are stood in for by ready arrays. */
async function stepTime(sampler: Sampler, n: number): Promise<Timing> {
  const latents = createGenerator(1n).randn(n);
  const noise = createGenerator(2n).randn(n);
  const output = createGenerator(3n).randn(n);
  const times: number[] = [];
  for (let i = 0; i < REPEATS; i++) {
    let begin = performance.now();
    await sample(sampler, {
      latents,
      generator: { randn: () => noise },
      predict: () => Promise.resolve(output),
      afterStep: (x) => {
        const now = performance.now();
        if (i > 0) times.push(now - begin);
        begin = now;
        return x;
      },
    });
  }
  return timing(times);
}

function line(what: string, { median, tenth, least }: Timing, n: number, copy: Timing, evaluations = 1): string {
  const columns = [
    what.padEnd(33),
    `${median.toFixed(3).padStart(7)} ms (tenth ${tenth.toFixed(3).padStart(6)}, least ${least.toFixed(3).padStart(6)})`,
    `${((1e6 * median) / n).toFixed(2).padStart(6)} ns/element`,
    `${(median / copy.median).toFixed(1).padStart(6)} × copy`,
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

/** Lines to print: every step rule, noise and guidance at the latent sizes of 1024² pictures (4 and 16 channels). */
export async function benchSampling(): Promise<string[]> {
  handBufferAway();
  const lines: string[] = [];
  for (const { shape, n } of SIZES) {
    const array = createGenerator(1n).randn(n);
    const copied = new Float32Array(n);
    const copy = timed(201, () => {
      copied.set(array);
    });
    lines.push(
      `Sampling, ${shape} latents (${n} values), ${STEPS} steps, medians; copying them takes ${copy.median.toFixed(3)} ms`,
    );
    const slow: string[] = [];
    for (const [name, config] of RULES) {
      const sampler = createSampler({ name, config, steps: STEPS });
      const time = await stepTime(sampler, n);
      lines.push(line(name, time, n, copy, sampler.evaluations / STEPS));
      if (time.median > LIMIT) slow.push(name);
    }
    lines.push(`Medians above ${LIMIT} ms: ${slow.length === 0 ? 'none' : slow.join(', ')}`);
    const generator = createGenerator(1n);
    lines.push(
      line(
        'noise (randn)',
        timed(15, () => generator.randn(n)),
        n,
        copy,
      ),
    );
    lines.push(
      line(
        'guidance',
        timed(31, () => guide(array, array, 7)),
        n,
        copy,
      ),
    );
  }
  return lines;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) console.log((await benchSampling()).join('\n'));
