/** @file Who is heard about a model: overrides, its own files, what was said when registering, what is known, in that order. */
import { describe, expect, it } from 'vitest';
import type { ModelFiles } from '../../../src/assets/model-files.js';
import { DarkroomError } from '../../../src/base/errors.js';
import { parseCard } from '../../../src/models/card.js';
import { describeFiles, type DescribedFiles } from '../../../src/models/describe.js';
import { LATENT_RGB } from '../../../src/models/families.js';
import { register, resolve, type ResolvedModel } from '../../../src/models/registry.js';

const scheduler = { _class_name: 'PNDMScheduler', beta_end: 0.012, timestep_spacing: 'leading' };
const bare: DescribedFiles = { name: 'folder', architecture: 'sdxl', card: undefined, scheduler };
const ownCard = parseCard({
  air: 'own:1@1',
  name: 'Own',
  family: 'sdxl',
  licence: 'MIT',
  native: [896, 896],
  defaults: { steps: 11 },
});

function model(details: unknown, air = 'mine:1@1'): ResolvedModel {
  return resolve(register(new Map(), air, { kind: 'url', url: 'https://example.org/' }, details), air);
}

describe('describeFiles', () => {
  it('leaves files alone of which nothing is said', () => {
    expect(describeFiles(bare, model({}))).toEqual(bare);
    expect(describeFiles({ ...bare, card: ownCard }, model({}))).toEqual({ ...bare, card: ownCard });
  });

  it('gives a card where the files have none', () => {
    const { card } = describeFiles(bare, model({ defaults: { steps: 30 } }));
    expect(card).toEqual({
      air: 'mine:1@1',
      name: 'folder',
      family: 'sdxl',
      defaults: { steps: 30 },
      latentRgb: LATENT_RGB.sdxl,
    });
    expect(describeFiles(bare, model({}, 'civitai:101055@128078')).card).toEqual({
      air: 'civitai:101055@128078',
      name: 'SDXL 1.0 base',
      family: 'sdxl',
      licence: 'CreativeML Open RAIL++-M',
      native: [1024, 1024],
      defaults: { width: 1024, height: 1024 },
      latentRgb: LATENT_RGB.sdxl,
    });
  });

  it('hears the files before what is said of them, and overrides before the files', () => {
    const details = { name: 'Mine', native: [512, 512], defaults: { steps: 22, CFGScale: 3 } };
    const files = { ...bare, card: ownCard };
    expect(describeFiles(files, model(details)).card).toEqual({
      ...ownCard,
      defaults: { width: 896, height: 896, steps: 11, CFGScale: 3 },
    });
    const overrides = { defaults: { steps: 33, width: 640 }, family: 'sdxl', prediction: 'v_prediction', scheduler: { beta_end: 0.02 } };
    const described = describeFiles(files, model({ ...details, overrides }));
    expect(described.card?.defaults).toEqual({ width: 640, height: 896, steps: 33, CFGScale: 3 });
    expect(described.scheduler).toEqual({ ...scheduler, beta_end: 0.02, prediction_type: 'v_prediction' });
  });

  it('makes the sampler of a distilled model its own', () => {
    expect(describeFiles(bare, model({ distillation: 'lightning' }))).toMatchObject({
      card: { defaults: { steps: 4, CFGScale: 0 } },
      scheduler: { _class_name: 'EulerDiscreteScheduler', timestep_spacing: 'trailing', beta_end: 0.012 },
    });
  });

  it('keeps everything else of the files', () => {
    const files: ModelFiles = {
      ...bare,
      architecture: 'sdxl',
      unet: { config: {}, open: () => Promise.reject(new Error('not opened')) },
      vae: { config: {}, open: () => Promise.reject(new Error('not opened')) },
      encoders: [],
      forceZerosForEmptyPrompt: true,
      requiresAestheticsScore: false,
    };
    expect(describeFiles(files, model({ name: 'Mine' }))).toMatchObject({ unet: files.unet, encoders: [], architecture: 'sdxl' });
  });

  it.each([
    ['sd', 'sdxl'],
    ['sdxl', 'sdxl-refiner'],
    ['sdxl-refiner', 'sd2'],
    ['sdxl', 'sd1'],
  ] as const)('refuses %s files that are said to be %s', (architecture, family) => {
    for (const details of [{ family }, { overrides: { family } }]) {
      expect(() => describeFiles({ ...bare, architecture }, model(details))).toThrow(DarkroomError);
      expect(() => describeFiles({ ...bare, architecture }, model(details))).toThrow(
        `mine:1@1 is said to be of the family ${family}`,
      );
    }
  });

  it.each(['sd1', 'sd2'] as const)('believes that SD files are %s', (family) => {
    expect(describeFiles({ ...bare, architecture: 'sd' }, model({ family })).card?.family).toBe(family);
  });

  it('refuses to change a scheduler config that is none', () => {
    const details = { overrides: { prediction: 'sample' } };
    expect(() => describeFiles({ ...bare, scheduler: [] }, model(details))).toThrow('expected a JSON object, got a list of 0');
  });
});
