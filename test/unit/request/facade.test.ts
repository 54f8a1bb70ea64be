/** @file The argument of `imageInference()`: what it may leave out, what the SDK drops, what it throws. */
import { describe, expect, test } from 'vitest';

import { DarkroomError } from '../../../src/base/errors.js';
import { parseRequest } from '../../../src/request/facade.js';
import { TASK_PARAMETERS } from '../../../src/request/parameters.js';
import { type Scope, root } from '../../../src/request/place.js';
import { checkProperties } from '../../../src/request/rules.js';
import { parseTasks } from '../../../src/request/tasks.js';
import { OTHER_UUID, PICTURE, TASK_UUID, type Patch, inference, rawTask } from './raw-task.js';

const defaults = { newUUID: () => TASK_UUID };
const least = { positivePrompt: 'a red fox', model: 'sd15-tiny' };

function refusal(input: unknown, options = defaults): DarkroomError {
  try {
    parseRequest(input, options);
  } catch (error) {
    if (error instanceof DarkroomError) return error;
    throw error;
  }
  throw new Error('was accepted');
}

describe('what may be left out', () => {
  test('type, UUID and size', () => {
    const task = parseRequest(least, defaults);
    expect(task).toMatchObject({ taskType: 'imageInference', taskUUID: TASK_UUID, ...least });
    expect(task).not.toHaveProperty('width');
    expect(task).not.toHaveProperty('height');
    expect(task.warnings).toEqual([]);
  });

  test('the model, when there is a default one', () => {
    expect(inference(parseRequest({ positivePrompt: 'a fox' }, { ...defaults, model: 'demo' })).model).toBe('demo');
    expect(inference(parseRequest(least, { ...defaults, model: 'demo' })).model).toBe('sd15-tiny');
    expect(refusal({ positivePrompt: 'a fox' }).errors).toMatchObject([{ code: 'missingModel', taskUUID: TASK_UUID }]);
  });

  test('a UUID is made only where none was sent', () => {
    const newUUID = () => {
      throw new Error('not needed');
    };
    expect(parseRequest({ ...least, taskUUID: OTHER_UUID }, { newUUID }).taskUUID).toBe(OTHER_UUID);
    expect(parseRequest({ ...least, customTaskUUID: OTHER_UUID }, { newUUID }).taskUUID).toBe(OTHER_UUID);
  });

  test('customTaskUUID goes before taskUUID', () => {
    const both = { ...least, customTaskUUID: OTHER_UUID, taskUUID: TASK_UUID };
    expect(parseRequest(both, defaults)).toMatchObject({ taskUUID: OTHER_UUID, warnings: [] });
  });

  test('a whole raw task is a request too', () => {
    expect(parseRequest(rawTask({ seed: 5 }), defaults)).toEqual(parseTasks([rawTask({ seed: 5 })]).tasks[0]?.task);
  });
});

describe('what sdk-js does not send', () => {
  test.each<[string, Patch]>([
    ['an empty negative prompt', { negativePrompt: '' }],
    ['width 0', { width: 0 }],
    ['height 0', { height: 0 }],
    ['seed 0', { seed: 0 }],
    ['seed 0n', { seed: 0n }],
    ['an empty seed', { seed: '' }],
    ['empty lists', { controlNet: [], lora: [], embeddings: [], ipAdapters: [], referenceImages: [] }],
    ['null', { steps: null, scheduler: null, refiner: null, webhookURL: null, taskUUID: null, taskType: null }],
    ['empty strings', { scheduler: '', outputType: '', outputFormat: '', vae: '', seedImage: '', taskUUID: '' }],
    ['undefined', { steps: undefined, seed: undefined, width: undefined }],
    ['options of the call', { retry: 3, onPartialImages: () => 0, includePayload: true, includeGenerationTime: true }],
  ])('%s', (_name, patch) => {
    expect(parseRequest({ ...least, ...patch }, defaults)).toEqual(parseRequest(least, defaults));
  });

  test('0 and false are sent where they mean something', () => {
    const patch = { CFGScale: 0, clipSkip: 0, includeCost: false, checkNSFW: false };
    expect(parseRequest({ ...least, ...patch }, defaults)).toMatchObject({
      CFGScale: 0,
      clipSkip: 0,
      includeCost: false,
    });
    expect(refusal({ ...least, steps: 0 }).errors).toMatchObject([{ code: 'invalidSteps' }]);
    expect(refusal({ ...least, numberResults: 0 }).errors).toMatchObject([{ code: 'invalidNumberResults' }]);
  });

  test('NaN is an error, not an absence', () => {
    expect(refusal({ ...least, width: NaN, seed: NaN }).errors).toMatchObject([
      { code: 'invalidWidth' },
      { code: 'invalidSeed' },
    ]);
  });
});

describe('inside objects', () => {
  /** The carried parameters as the SDK's dialect reads them, whether or not they have an effect today. */
  function controlNetOf(entry: object, dialect: Scope['dialect']) {
    const scope: Scope = { dialect, prefix: '', steps: 20, errors: [], warnings: [] };
    const values = new Map(
      Object.entries({ ...rawTask(), controlNet: [{ model: 'c', guideImage: PICTURE, ...entry }] }),
    );
    const { valid } = checkProperties(TASK_PARAMETERS, values, root(scope));
    return { net: valid.controlNet?.[0], codes: scope.errors.map(({ code }) => code) };
  }

  test('a missing controlMode is controlnet, as sdk-js sends it; in a raw task it is balanced', () => {
    expect(controlNetOf({}, 'sdk').net).toMatchObject({ controlMode: 'controlnet' });
    expect(controlNetOf({}, 'wire').net).toMatchObject({ controlMode: 'balanced' });
    expect(controlNetOf({ controlMode: 'prompt' }, 'sdk').net).toMatchObject({ controlMode: 'prompt' });
  });

  test('null and the empty string are absent', () => {
    const entry = { controlMode: '', startStep: null, weight: null };
    expect(controlNetOf(entry, 'sdk')).toEqual({ net: controlNetOf({}, 'sdk').net, codes: [] });
    expect(controlNetOf(entry, 'wire').codes).toEqual([
      'invalidControlNetWeight',
      'invalidControlNetStartStep',
      'invalidControlNetControlMode',
    ]);
  });
});

describe('refusals', () => {
  test('all problems in one error, the first in front', () => {
    const error = refusal({ model: 'm', width: 100, steps: 0, webhookURL: 'https://example.org' });
    expect(error.errors.map(({ code }) => code)).toEqual([
      'missingPositivePrompt',
      'invalidWidth',
      'invalidSteps',
      'unsupportedParameter',
    ]);
    expect(error.code).toBe('missingPositivePrompt');
    expect(error.error).toBe(error.errors[0]);
    expect(error.errors.every(({ taskUUID }) => taskUUID === TASK_UUID)).toBe(true);
  });

  test.each([
    ['nothing', undefined],
    ['null', null],
    ['a prompt alone', 'a red fox'],
    ['an array', [least]],
  ])('%s', (_name, input) => {
    expect(refusal(input)).toMatchObject({ code: 'invalidRequest' });
  });

  test('other task types', () => {
    expect(refusal({ ...least, taskType: 'imageUpscale' })).toMatchObject({ code: 'unsupportedTaskType' });
  });

  test('width and height are both or each absent', () => {
    expect(parseRequest({ ...least, width: 512 }, defaults)).toMatchObject({ width: 512 });
  });

  test('a bad UUID from the caller', () => {
    expect(refusal({ ...least, taskUUID: 'mine' })).toMatchObject({ code: 'invalidTaskUUID' });
  });
});
