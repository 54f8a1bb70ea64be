/** @file Every accepted scheduler name against diffusers' runs, by the golden runner's own code; and that this code can fail. */
import { describe, expect, it } from 'vitest';
import { SCHEDULER_NAMES } from '../../../src/request/scheduler-names.js';
import { createSampler } from '../../../src/sampling/sampler.js';
import { describeOutcome, isWithin } from '../../golden-runner/report.js';
import { runNoise } from '../../golden-runner/run-noise.js';
import { runSchedulerTables } from '../../golden-runner/run-scheduler-tables.js';
import { runVariant, schedulerVariants } from '../../golden-runner/run-schedulers.js';
import { namesOf, requestsOf } from '../../golden-runner/scheduler-goldens.js';
import { book, goldenFolder, goldens, names } from './golden-cases.js';

const variants = schedulerVariants(goldens);

describe('goldens', () => {
  it.each(variants)('%s', async (variant) => {
    const outcome = await runVariant(goldens, variant);
    expect(outcome.status, describeOutcome(outcome)).toBe('passed');
  });

  it('tables', async () => {
    const outcome = await runSchedulerTables(goldens);
    expect(outcome.status, describeOutcome(outcome)).toBe('passed');
    expect(outcome.comparisons.length).toBeGreaterThanOrEqual(15);
  });

  it('noise', async () => {
    const outcome = await runNoise(goldenFolder);
    expect(outcome.status, describeOutcome(outcome)).toBe('passed');
    const { randn, batches, mt19937 } = JSON.parse(
      new TextDecoder().decode(await goldenFolder.read('noise/noise.json')),
    ) as Record<string, unknown[]>; // our own test data
    const least = (randn?.length ?? NaN) + 3 * (batches?.length ?? NaN) + 3 * (mt19937?.length ?? NaN);
    expect(outcome.comparisons.length).toBeGreaterThan(least);
  });
});

describe('the runner', () => {
  /** The goldens with one case altered. */
  const altered = (id: string, change: Partial<(typeof book.cases)[number]>) => ({
    ...goldens,
    book: { ...book, cases: book.cases.filter((c) => c.id === id).map((c) => ({ ...c, ...change })) },
  });
  const failures = async (id: string, change: Partial<(typeof book.cases)[number]>): Promise<readonly string[]> => {
    const variant = book.cases.find((c) => c.id === id)?.variant ?? '';
    const { status, comparisons } = await runVariant(altered(id, change), variant);
    expect(status).toBe('failed');
    return comparisons.filter((c) => !isWithin(c)).map(({ name }) => name);
  };

  it('compares runs: another seed is found at the first latent', async () => {
    const [first = ''] = await failures('ddim/sd15/5', { seed: 1 });
    expect(first).toBe('DDIM: ddim/sd15/5 after evaluation 0');
  });

  it('compares tables, start, noise and the float64 end', async () => {
    const found = async (change: Parameters<typeof failures>[1]): Promise<string> =>
      (await failures('euler-a/sd15/5', change)).join('; ');
    expect(await found({ evals: 6 })).toMatch(/evaluations/);
    expect(await found({ initNoiseSigma: 15 })).toMatch(/initNoiseSigma/);
    expect(await found({ noiseAt: [0, 1, 2, 3] })).toMatch(/evaluations with noise/);
    expect(await found({ initNoiseSigma64: 14.7 })).toMatch(/float64 after evaluation 4/);
    expect(await found({ steps: 4 })).toMatch(/timesteps .length 4, golden 5.*sigmas/);
  });

  it('compares image to image and the hand-off', async () => {
    expect((await failures('img2img/heun/sd15/10/0.6', { imageSeed: 1 })).join()).toMatch(/start.*end/);
    expect((await failures('img2img/heun/sd15/10/0.6', { strength: 0.5 })).join()).toMatch(/begin/);
    expect((await failures('refiner/unipc-2/20/index15', { splitIndex: 14 })).join()).toMatch(/hand-off.*end/);
  });

  it('says of a case that it cannot run why', async () => {
    const { status, message } = await runVariant(altered('ddim/sd15/5', { base: 'nowhere' }), 'ddim');
    expect(status).toBe('failed');
    expect(message).toMatch(/nowhere/);
  });

  it('finds the names of every case, the ones beyond the list too', () => {
    const nameless = variants.filter((variant) => {
      const c = book.cases.find((candidate) => candidate.variant === variant);
      return c === undefined || requestsOf(goldens, c).every(({ name }) => name === 'Default');
    });
    expect(nameless.every((variant) => variant.startsWith('x-'))).toBe(true);
    expect(namesOf(goldens, 'dpmpp-single-sde-trailing', 'sd15')).toEqual(['DPM++ SDE Uniform']);
    expect(namesOf(goldens, 'dpmpp-3m-sde-beta', 'sd15')).toEqual(['DPM++ 3M SDE Beta']);
    expect([...namesOf(goldens, 'unipc-2', 'sd15')].sort()).toEqual(['UniPC', 'UniPC 2M', 'UniPCMultistepScheduler']);
  });
});

describe('names', () => {
  const FAMILIES = ['sd', 'flow', 'edm'] as const;
  const baseOf = { sd: 'sd15', flow: 'flow3', edm: 'edm' } as const;

  it('every accepted name of a family has a golden run', () => {
    for (const name of SCHEDULER_NAMES.filter((n) => n !== 'Default'))
      for (const family of FAMILIES) {
        const variant = names.names[name]?.[family]?.variant;
        if (variant !== undefined) expect(variants, name).toContain(variant);
      }
  });

  it.each(SCHEDULER_NAMES)('%s is accepted and refused where the goldens say so', (name) => {
    for (const family of FAMILIES) {
      const config = names.bases[baseOf[family]]?.config ?? {};
      const make = () => createSampler({ name, config, steps: 4 });
      if (names.names[name]?.accepted.includes(family) === true) expect(make().steps).toBe(4);
      else expect(make).toThrow(expect.objectContaining({ code: 'unsupportedScheduler' }));
    }
  });

  it('says of each name whether it is stochastic', () => {
    for (const family of FAMILIES)
      for (const name of SCHEDULER_NAMES) {
        const stochastic = names.names[name]?.[family]?.stochastic;
        if (stochastic === undefined) continue;
        const config = names.bases[baseOf[family]]?.config ?? {};
        expect(createSampler({ name, config, steps: 3 }).stochastic, name).toBe(stochastic);
      }
  });

  it('Default is the class that the model names', () => {
    for (const family of FAMILIES)
      for (const { base, variant } of names.defaults[family]) {
        const config = names.bases[base]?.config ?? {};
        const own = book.configs[`${variant}/${base}`]?.class;
        // "euler" on turbo and "lcm" on sd15 are other models' defaults with the same configuration.
        if (own === undefined || own !== config['_class_name']) continue;
        expect(createSampler({ name: 'Default', config, steps: 2, imageSeqLen: 256 }).className).toBe(own);
      }
  });
});
