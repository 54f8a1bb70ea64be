/** @file The tables of the scheduler goldens that belong to no case: training schedules, the beta distribution, FLUX's shift, odd step counts. */
import { betaQuantile } from '../../src/sampling/beta-quantile.js';
import { completeConfig, type ConfigPart } from '../../src/sampling/config.js';
import { dynamicShift } from '../../src/sampling/flow-shift.js';
import { noiseSchedule } from '../../src/sampling/noise-schedule.js';
import { trailing } from '../../src/sampling/spacing.js';
import { compare, outcomeOf, type Comparison, type Outcome } from './report.js';
import { optionalFile, tensor, type SchedulerGoldens, type TensorFile } from './scheduler-goldens.js';
import * as TOL from './scheduler-tolerances.js';

const EXACT = { absolute: 0, relative: 0 } as const;
const within = (absolute: number) => ({ absolute, relative: 0 });

/** What `tables.safetensors` was made with (`make/schedulers.py`, `tables`). */
const SCALED_LINEAR: ConfigPart = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' };
const SCHEDULES: Readonly<Record<string, ConfigPart>> = {
  scaled_linear: SCALED_LINEAR,
  zero_snr: { ...SCALED_LINEAR, rescale_betas_zero_snr: true },
};

export async function runSchedulerTables(goldens: SchedulerGoldens): Promise<Outcome> {
  const start = performance.now();
  const tables = await optionalFile(goldens, 'tables');
  const edge = await optionalFile(goldens, 'edge');
  const comparisons = [
    ...Object.entries(SCHEDULES).flatMap(([name, part]) => trainingSchedule(tables, name, part)),
    ...betaQuantiles(tables),
    ...goldens.book.fluxShift.map(({ imageSeqLen, mu }) =>
      compare(
        `mu of ${imageSeqLen} tokens`,
        [dynamicShift(completeConfig({}, {}, {}), imageSeqLen)],
        [mu],
        within(1e-12),
      ),
    ),
    ...trailingCounts(edge),
  ];
  return outcomeOf('schedulers', 'tables', comparisons, start);
}

/** ᾱ to the bit where nothing was rescaled; a rescaled one has √ᾱ's subtracted from each other, whose last bits differ. */
function trainingSchedule(tables: TensorFile, name: string, part: ConfigPart): readonly Comparison[] {
  if (!tables.has(`${name}/alphas_cumprod`)) return [];
  const { alphasCumprod, sigmas, logSigmas } = noiseSchedule(completeConfig({}, {}, part), true);
  const isRescaled = part.rescale_betas_zero_snr === true;
  const limit = isRescaled ? TOL.SIGMA_ZERO_SNR : TOL.SIGMA;
  const stored = (what: string): Float64Array => tensor(tables, `${name}/${what}`);
  const relative = (what: string, got: Float32Array): Comparison => {
    const want = stored(what);
    const ratios = Float64Array.from(got, (value, i) => value / (want[i] ?? NaN));
    return compare(
      `${name} ${what}`,
      ratios,
      ratios.map(() => 1),
      within(limit),
    );
  };
  return [
    isRescaled
      ? relative('alphas_cumprod', alphasCumprod)
      : compare(`${name} alphas_cumprod`, alphasCumprod, stored('alphas_cumprod'), EXACT),
    relative('sigmas', sigmas),
    compare(`${name} log_sigmas`, logSigmas, stored('log_sigmas'), within(2 * limit)),
  ];
}

/** `beta_ppf/A_B`: scipy's quantiles of Beta(A, B) at `beta_ppf/p`. */
function betaQuantiles(tables: TensorFile): readonly Comparison[] {
  const p = tables.get('beta_ppf/p') ?? new Float64Array();
  return [...tables].flatMap(([name, want]) => {
    const [, a, b] = /^beta_ppf\/([\d.]+)_([\d.]+)$/.exec(name) ?? [];
    if (a === undefined || b === undefined) return [];
    return [
      compare(
        name,
        p.map((value) => betaQuantile(value, Number(a), Number(b))),
        want,
        within(1e-13),
      ),
    ];
  });
}

/** `trailing/wanted/N`: the timesteps where numpy's arange gives one too many. */
function trailingCounts(edge: TensorFile): readonly Comparison[] {
  return [...edge].flatMap(([name, want]) => {
    const [, count] = /^trailing\/wanted\/(\d+)$/.exec(name) ?? [];
    const steps = Number(count);
    return count === undefined ? [] : [compare(name, trailing(1000, 1000 / steps, steps), want, EXACT)];
  });
}
