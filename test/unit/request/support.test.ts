/** @file Parameters without effect: refused when they ask for something, accepted when they do not. */
import { describe, expect, test } from 'vitest';

import { UNSUPPORTED } from '../../../src/request/support.js';
import { parseTasks } from '../../../src/request/tasks.js';
import { PICTURE, type Patch, rawTask } from './raw-task.js';

interface Row {
  readonly asks: readonly unknown[];
  readonly off?: readonly unknown[];
  readonly with?: Patch;
}

const seedImage = { seedImage: PICTURE };

/** Parameter → values that ask for something, values that ask for nothing, what else the request then needs. */
const ROWS: Readonly<Record<string, Row>> = {
  vae: { asks: ['civitai:27728@117550'] },
  promptWeighting: { asks: ['compel', 'sdEmbeds'] },
  usePromptWeighting: { asks: [true], off: [false] },
  refiner: { asks: [{ model: 'r' }] },
  controlNet: { asks: [[{ model: 'c', guideImage: PICTURE }]], off: [[]] },
  lora: { asks: [[{ model: 'l' }]], off: [[]] },
  embeddings: { asks: [[{ model: 'e' }]], off: [[]] },
  seedImage: { asks: [PICTURE] },
  maskImage: { asks: [PICTURE], with: seedImage },
  maskMargin: { asks: [32], with: seedImage },
  strength: { asks: [0, 0.8], with: seedImage },
  outpaint: { asks: [{ top: 64 }, { blur: 1 }], off: [{}, { top: 0, blur: 0 }], with: seedImage },
  referenceImages: { asks: [[PICTURE]], off: [[]] },
  ipAdapters: { asks: [[{ model: 'i', guideImage: PICTURE }]], off: [[]] },
  resolution: { asks: ['2k', '4k'], off: ['1k'] },
  acceleration: { asks: ['low', 'medium', 'high'], off: ['none'] },
  acceleratorOptions: {
    asks: [{ teaCache: true }, { deepCache: true, deepCacheInterval: 3 }],
    off: [{}, { teaCache: false, deepCache: false, teaCacheDistance: 0.5 }],
  },
  advancedFeatures: { asks: [{ layerDiffuse: true }], off: [{}, { layerDiffuse: false }] },
  useCache: { asks: [true], off: [false] },
  safety: {
    asks: [{ checkContent: true }, { mode: 'fast' }, { mode: 'full' }],
    off: [{}, { checkContent: false }, { checkContent: false, mode: 'none' }],
  },
  checkNSFW: { asks: [true], off: [false] },
  uploadEndpoint: { asks: ['https://example.org/put'] },
  webhookURL: { asks: ['https://example.org/hook'] },
  deliveryMethod: { asks: ['async'], off: ['sync'] },
  ttl: { asks: [60, 3600] },
  puLID: { asks: [{}] },
  acePlusPlus: { asks: [{}] },
  photoMaker: { asks: [{}] },
  instantID: { asks: [{}] },
  lycoris: { asks: [[{ model: 'l', weight: 1 }]], off: [[]] },
  ultralytics: { asks: [{}] },
  providerSettings: { asks: [{ bfl: {} }] },
  settings: { asks: [{}] },
  inputs: { asks: [{}] },
};

/** Nothing in a web page could obey these: they can never leave the table. */
const NEVER = ['webhookURL', 'uploadEndpoint', 'providerSettings', 'referenceImages'];

const cases = (values: (row: Row) => readonly unknown[]) =>
  Object.entries(ROWS).flatMap(([name, row]) => values(row).map((value) => ({ name, value, extra: row.with ?? {} })));

/** Errors about `name` alone; what the row needs besides may be unsupported too. */
function errorsAbout(name: string, value: unknown, extra: Patch) {
  const { errors } = parseTasks([rawTask({ ...extra, [name]: value })]);
  expect(errors.every(({ code }) => code === 'unsupportedParameter')).toBe(true);
  return errors.filter(({ parameter }) => parameter === name);
}

describe('parameters without effect', () => {
  test('each has rows here, and those that can never have an effect are in the table', () => {
    expect(Object.keys(ROWS)).toEqual(expect.arrayContaining(Object.keys(UNSUPPORTED)));
    expect(Object.keys(UNSUPPORTED)).toEqual(expect.arrayContaining(NEVER));
  });

  test.each(cases((row) => row.asks).filter(({ name }) => Object.hasOwn(UNSUPPORTED, name)))(
    '$name: $value is refused',
    ({ name, value, extra }) => {
      const [error, ...more] = errorsAbout(name, value, extra);
      expect(more).toEqual([]);
      expect(error).toMatchObject({ code: 'unsupportedParameter', parameter: name });
      expect(error?.message).toMatch(new RegExp(`^'${name}' is not supported: it would [a-z].*[^.]\\.$`));
      expect(error?.hint).toMatch(/\.$/);
      expect(error?.type).toBeTypeOf('string');
    },
  );

  test.each(cases((row) => row.off ?? []))('$name: $value asks for nothing', ({ name, value, extra }) => {
    expect(errorsAbout(name, value, extra)).toEqual([]);
  });

  test('an invalid value is reported beside the missing support', () => {
    const { errors } = parseTasks([rawTask({ strength: 2, steps: 0, webhookURL: 'https://example.org' })]);
    expect(errors.map(({ code, parameter }) => `${code} ${parameter}`)).toEqual(
      expect.arrayContaining(['invalidSteps steps', 'invalidStrength strength', 'unsupportedParameter webhookURL']),
    );
  });

  test('includeCost has an effect', () => {
    expect(errorsAbout('includeCost', true, {})).toEqual([]);
  });
});
