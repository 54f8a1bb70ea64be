/** @file What sampling costs outside the network: milliseconds a step of every rule, of noise and of guidance. Run alone with `npx tsx bench/sampling.ts`. */
import { pathToFileURL } from 'node:url';
import type { SchedulerName } from '../src/request/scheduler-names.js';
import { createGenerator, createSampler, guide, sample, type RawConfig } from '../src/sampling/index.js';

const SIZES = [
  { shape: '128×128×4', n: 128 * 128 * 4 },
  { shape: '128×128×16', n: 128 * 128 * 16 },
] as const;
const STEPS = 20;
const REPEATS = 5;

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
  ['UniPC', DIFFUSION],
  ['UniPC 3M', DIFFUSION],
  ['LCM', DIFFUSION],
  ['TCDScheduler', DIFFUSION],
  ['FlowMatchEulerDiscreteScheduler', FLOW],
  ['FlowMatchLCMScheduler', FLOW],
  ['EDMDPMSolverMultistepScheduler', EDM],
];

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

/** Median time of one call, in milliseconds. */
function timed(repeats: number, work: () => unknown): number {
  const times = Array.from({ length: repeats }, () => {
    const begin = performance.now();
    work();
    return performance.now() - begin;
  });
  return median(times);
}

/** Median time of one whole step, the network and the making of noise left out: both are stood in for by ready arrays. */
async function stepTime(name: SchedulerName, config: RawConfig, n: number): Promise<number> {
  const sampler = createSampler({ name, config, steps: STEPS });
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
  return median(times);
}

const line = (what: string, ms: number, n: number, copy: number): string =>
  `${what.padEnd(34)}${ms.toFixed(3).padStart(9)} ms ${((1e6 * ms) / n).toFixed(2).padStart(8)} ns/element ${(ms / copy).toFixed(1).padStart(8)} × copy`;

/** Lines to print: every step rule, noise and guidance at the latent sizes of 1024² pictures (4 and 16 channels). */
export async function benchSampling(): Promise<string[]> {
  const lines: string[] = [];
  for (const { shape, n } of SIZES) {
    const array = createGenerator(1n).randn(n);
    const copy = timed(51, () => array.slice());
    lines.push(`Sampling, ${shape} latents (${n} values), ${STEPS} steps, medians; a copy takes ${copy.toFixed(3)} ms`);
    for (const [name, config] of RULES) lines.push(line(name, await stepTime(name, config, n), n, copy));
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
