/** @file Cards: the bundled one, defaults, and the exact error of each bad field. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { DarkroomError } from '../../../src/base/errors.js';
import { parseCard } from '../../../src/models/card.js';
import { LATENT_RGB } from '../../../src/models/families.js';

const bundled = JSON.parse(readFileSync(new URL('../../../models/tinyworld/card.json', import.meta.url), 'utf8')) as unknown;
const minimal = { air: 'a:1@1', name: 'A', family: 'sd2', licence: 'MIT', native: [512, 768] };

function messageOf(json: unknown): string {
  try {
    parseCard(json);
  } catch (error) {
    if (error instanceof DarkroomError && error.code === 'invalidModelConfig') return error.message;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('parseCard', () => {
  it('reads the bundled card whole', () => {
    expect(parseCard(bundled)).toEqual(bundled);
  });

  it('fills in what may be left out', () => {
    expect(parseCard({ ...minimal, comment: 'kept out' })).toEqual({
      ...minimal,
      defaults: { width: 512, height: 768 },
      latentRgb: LATENT_RGB.sd2,
    });
    expect(parseCard({ ...minimal, defaults: { steps: 4 }, latentRgb: { factors: [[1, 2, 3]] } })).toMatchObject({
      defaults: { width: 512, steps: 4 },
      latentRgb: { factors: [[1, 2, 3]], bias: [0, 0, 0] },
    });
  });

  it.each([
    [{ air: undefined }, '"air" must be a string, got nothing'],
    [{ air: ' ' }, '"air" must be a string that is not empty, got " "'],
    [{ name: 3 }, '"name" must be a string, got 3'],
    [{ licence: null }, '"licence" must be a string'],
    [{ family: 'sd3' }, '"family" must be one of sd1, sd2, sdxl, sdxl-refiner, flux, got "sd3"'],
    [{ native: 512 }, '"native" must be a list, got 512'],
    [{ native: [512] }, '"native" must be [width, height]'],
    [{ native: [512, 512, 512] }, '"native" must be [width, height]'],
    [{ native: [512, 500] }, '"native"[1] must be a multiple of 8 from 8 to 8192, got 500'],
    [{ native: [NaN, 512] }, '"native"[0] must be a multiple of 8 from 8 to 8192, got NaN'],
    [{ defaults: [] }, '"defaults": expected a JSON object'],
    [{ defaults: { width: 0 } }, '"defaults": "width" must be a multiple of 8'],
    [{ defaults: { height: '512' } }, '"defaults": "height" must be a multiple of 8 from 8 to 8192, got "512"'],
    [{ defaults: { steps: 0 } }, '"steps" must be a whole number from 1 to 100, got 0'],
    [{ defaults: { CFGScale: 51 } }, '"CFGScale" must be a number from 0 to 50, got 51'],
    [{ defaults: { scheduler: 1 } }, '"scheduler" must be a string, got 1'],
    [{ defaults: { scheduler: 'Fast' } }, '"scheduler" must be one of the scheduler names'],
    [{ latentRgb: {} }, '"latentRgb": "factors" must be a list, got nothing'],
    [{ latentRgb: { factors: [] } }, '"factors" must be one [red, green, blue] per latent channel'],
    [{ latentRgb: { factors: [[1, 2]] } }, '"factors"[0] must be three finite numbers [red, green, blue], got a list of 2'],
    [{ latentRgb: { factors: [[1, 2, Infinity]] } }, '"factors"[0] must be three finite numbers'],
    [{ latentRgb: { factors: [[1, 2, 3]], bias: 0 } }, '"bias" must be three finite numbers [red, green, blue], got 0'],
  ])('refuses %j', (change, message) => {
    expect(messageOf({ ...minimal, ...change })).toMatch(/^card\.json: /);
    expect(messageOf({ ...minimal, ...change })).toContain(message);
  });

  it.each([[null], [[]], ['card'], [3]])('refuses %j as a card', (json) => {
    expect(messageOf(json)).toContain('card.json: expected a JSON object');
  });

  it('has preview colours for every latent channel of each family: 16 in FLUX.1', () => {
    for (const [family, { factors }] of Object.entries(LATENT_RGB)) {
      expect(factors, family).toHaveLength(family === 'flux' ? 16 : 4);
    }
  });
});
