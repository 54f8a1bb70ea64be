/** @file The plan of a FLUX.1 request: published settings, who is heard first, sizes, and everything that is refused at once. */
import { describe, expect, it } from 'vitest';
import { DarkroomError } from '../../../src/base/errors.js';
import type { ModelCard } from '../../../src/models/card.js';
import { LATENT_RGB } from '../../../src/models/families.js';
import { parseAutoencoderKLConfig } from '../../../src/models/configs/autoencoder-kl.js';
import { parseFluxTransformerConfig } from '../../../src/models/configs/flux-transformer.js';
import { checkFluxTask, makeFluxPlan, type PlannedFlux } from '../../../src/pipeline/flux/plan.js';
import { parseRequest } from '../../../src/request/facade.js';
import type { ImageInferenceTask } from '../../../src/request/task.js';

const vae = {
  config: parseAutoencoderKLConfig({
    latent_channels: 16,
    block_out_channels: [32, 32, 32, 32],
    down_block_types: Array(4).fill('DownEncoderBlock2D'),
    up_block_types: Array(4).fill('UpDecoderBlock2D'),
  }),
};
const model = (guidance_embeds: boolean, card?: ModelCard): PlannedFlux => ({
  architecture: 'flux',
  card,
  transformer: { config: parseFluxTransformerConfig({ guidance_embeds }) },
  vae,
});
const [dev, schnell] = [model(true), model(false)];

function task(request: object = {}): ImageInferenceTask {
  const parsed = parseRequest(
    { positivePrompt: 'a fox', model: 'flux', ...request },
    { newUUID: () => crypto.randomUUID() },
  );
  if (parsed.taskType !== 'imageInference') throw new Error('not a picture');
  return parsed;
}
const plan = (of: PlannedFlux, request: object = {}) => makeFluxPlan(task(request), of, () => 7n);

describe('the settings of a silent request', () => {
  it('are the published ones of dev and schnell', () => {
    expect(plan(dev)).toMatchObject({ width: 1024, height: 1024, steps: 28, CFGScale: 3.5, flux: { textTokens: 512 } });
    expect(plan(schnell)).toMatchObject({ width: 1024, height: 1024, steps: 4, flux: { textTokens: 256 } });
    expect(plan(dev)).toMatchObject({
      scheduler: 'Default',
      seeds: [7n],
      guidance: 'off',
      guided: false,
      warnings: [],
    });
    expect(plan(dev).latent).toEqual({ channels: 16, height: 128, width: 128 });
  });

  it('are those of the card, and of the request before that', () => {
    const card: ModelCard = {
      air: 'a:1@1',
      name: 'a fine-tune',
      family: 'flux',
      defaults: { width: 768, steps: 12, CFGScale: 2, scheduler: 'Euler Beta' },
      latentRgb: LATENT_RGB.flux,
    };
    const of = model(true, card);
    expect(plan(of)).toMatchObject({ width: 768, height: 1024, steps: 12, CFGScale: 2, scheduler: 'Euler Beta' });
    expect(plan(of, { width: 512, steps: 3, CFGScale: 0 })).toMatchObject({ width: 512, steps: 3, CFGScale: 0 });
  });
});

describe('guidance', () => {
  it('of any scale is one pass, and never a warning for dev', () => {
    for (const CFGScale of [0, 1, 3.5, 50])
      expect(plan(dev, { CFGScale })).toMatchObject({ CFGScale, guidance: 'off', warnings: [] });
  });

  it('does nothing in schnell, which is said', () => {
    expect(plan(schnell, { CFGScale: 7 }).warnings).toEqual([expect.stringContaining('CFGScale has no effect')]);
    expect(plan(schnell, { CFGScale: 1 }).warnings).toEqual([]);
  });

  it('by a negative prompt must be asked for', () => {
    const negativePrompt = 'blurry';
    const ignored = plan(dev, { negativePrompt, CFGScale: 1 });
    expect(ignored).toMatchObject({ negativePrompt: undefined, guided: false });
    expect(ignored.warnings).toEqual([expect.stringContaining('trueCFGScale')]);
    const asked = plan(dev, { negativePrompt, trueCFGScale: 2.5 });
    expect(asked).toMatchObject({ negativePrompt, guided: true, guidance: 'sequential', flux: { trueCFGScale: 2.5 } });
    expect(asked.warnings).toEqual([]);
    expect(plan(dev, { negativePrompt, trueCFGScale: 1 })).toMatchObject({
      guided: false,
      flux: { trueCFGScale: undefined },
    });
  });
});

describe('what cannot be', () => {
  it('is refused all at once', () => {
    const request = {
      vae: 'other',
      promptWeighting: 'compel',
      embeddings: [{ model: 'words' }],
      refiner: { model: 'refiner' },
      scheduler: 'Euler a',
    };
    let problem: unknown;
    try {
      checkFluxTask(task(request));
    } catch (error) {
      problem = error;
    }
    expect(problem).toBeInstanceOf(DarkroomError);
    const errors = problem instanceof DarkroomError ? problem.errors : [];
    expect(errors.map(({ code, parameter }) => `${code} ${parameter}`)).toEqual([
      'unsupportedParameter vae',
      'unsupportedParameter embeddings',
      'unsupportedParameter promptWeighting',
      'invalidRefiner refiner',
      'unsupportedScheduler scheduler',
    ]);
  });

  it('is not what asks for nothing', () => {
    expect(() => checkFluxTask(task({ embeddings: [{ model: 'words', weight: 0 }], controlNet: [] }))).not.toThrow();
  });

  it('is a size that is no whole number of tokens', () => {
    const odd = { ...task(), width: 1032, height: 1000 };
    expect(() => makeFluxPlan(odd, dev, () => 1n)).toThrow(
      expect.objectContaining({
        errors: [
          expect.objectContaining({ code: 'invalidWidth', multiplier: 16 }),
          expect.objectContaining({ code: 'invalidHeight' }),
        ],
      }),
    );
    expect(makeFluxPlan({ ...odd, width: 1040, height: 1008 }, dev, () => 1n)).toMatchObject({
      width: 1040,
      height: 1008,
    });
  });
});
