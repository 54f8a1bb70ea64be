/** @file Every parameter of a task: what is refused and why, what passes and as what. */
import { describe, expect, test } from 'vitest';

import type { WireError } from '../../../src/base/errors.js';
import { DEFAULT_STEPS, TASK_PARAMETERS } from '../../../src/request/parameters.js';
import { type Scope, root } from '../../../src/request/place.js';
import { checkProperties } from '../../../src/request/rules.js';
import { SCHEDULER_NAMES } from '../../../src/request/scheduler-names.js';
import { BAD_ROWS } from './bad-requests.js';
import { GOOD_ROWS } from './good-requests.js';
import { TASK_UUID, accepted, problemsOf, rawTask } from './raw-task.js';

describe('refused', () => {
  test.each(BAD_ROWS.map(([name, patch, ...expected]) => ({ name, patch, expected })))(
    '$name',
    ({ patch, expected }) => {
      const errors = problemsOf(patch);
      expect(errors).toMatchObject(expected);
      for (const error of errors) expectHelpful(error, !('taskUUID' in patch));
    },
  );

  test('there are enough rows', () => {
    expect(BAD_ROWS.length + GOOD_ROWS.length).toBeGreaterThanOrEqual(180);
  });
});

/** What every error must have, whatever it is about. */
function expectHelpful(error: WireError, hasUUID: boolean): void {
  expect(error.message).toMatch(/expected|supported|exclude|belongs/);
  expect(error.message.length).toBeLessThan(500);
  expect(error.message).toContain(error.parameter?.split('.').at(-1));
  expect(error.message).not.toMatch(/\p{Surrogate}|\n/u);
  const anchor = error.parameter?.toLowerCase().replaceAll('.', '-');
  expect(error.documentation).toBe(`https://runware.ai/docs/en/image-inference/api-reference#request-${anchor}`);
  expect(error.type).toBeTypeOf('string');
  if (hasUUID) expect(error.taskUUID).toBe(TASK_UUID);
}

describe('accepted', () => {
  test.each(GOOD_ROWS.map(([name, patch, carried = patch]) => ({ name, patch, carried })))(
    '$name',
    ({ patch, carried }) => {
      expect(problemsOf(patch)).toEqual([]);
      const { valid, scope } = checkAlone(rawTask(patch));
      expect(scope.errors).toEqual([]);
      for (const [name, value] of Object.entries(carried)) {
        if (name !== 'taskUUID') expect(valid).toHaveProperty(name, value);
      }
    },
  );

  test.each(SCHEDULER_NAMES)('scheduler %s', (scheduler) => {
    expect(accepted({ scheduler }).scheduler).toBe(scheduler);
  });

  test('the list of schedulers is in the error of an unknown one', () => {
    const [error] = problemsOf({ scheduler: 'Quantum' });
    expect(error?.allowedValues).toEqual(SCHEDULER_NAMES);
    expect(error?.allowedValues).toHaveLength(76);
  });

  test('a task with nothing optional has the documented defaults', () => {
    expect(accepted({})).toEqual({
      taskType: 'imageInference',
      taskUUID: TASK_UUID,
      positivePrompt: 'a red fox',
      model: 'sd15-tiny',
      width: 512,
      height: 768,
      clipSkip: 0,
      controlNet: [],
      lora: [],
      embeddings: [],
      numberResults: 1,
      outputType: 'URL',
      outputFormat: 'JPG',
      outputQuality: 95,
      includeCost: false,
      warnings: [],
    });
  });

  test('−0 becomes 0', () => {
    expect(Object.is(accepted({ CFGScale: -0 }).CFGScale, 0)).toBe(true);
    expect(Object.is(accepted({ clipSkip: -0 }).clipSkip, 0)).toBe(true);
  });
});

/** The rules of the carried parameters alone, so that those without effect today can be looked at too. */
function checkAlone(raw: Record<string, unknown>) {
  const steps = typeof raw['steps'] === 'number' ? raw['steps'] : DEFAULT_STEPS;
  const scope: Scope = { dialect: 'wire', prefix: '', steps, errors: [], warnings: [] };
  const { valid } = checkProperties(TASK_PARAMETERS, new Map(Object.entries(raw)), root(scope));
  return { valid, scope };
}

describe('warnings', () => {
  test.each([
    ['a seed above 2^53 − 1', { seed: 9007199254740992 }, /seed.*rounded/],
    ['a seed above 2^63 − 1', { seed: 9223372036854776000 }, /seed.*9223372036854775807/],
    ['the same as a bigint', { seed: 9223372036854775808n }, /seed.*9223372036854775807/],
    ['an unknown parameter', { sampler: 'x' }, /"sampler" was ignored\.$/],
    ['a typing error', { cfgscale: 7 }, /"cfgscale".*did you mean 'CFGScale'/],
    ['an own __proto__', JSON.parse('{"__proto__": {"steps": 5}}') as object, /"__proto__"/],
    ['a negative prompt without guidance', { CFGScale: 1, negativePrompt: 'blur' }, /negativePrompt.*no effect/],
    ['a wild name', { ['\ud800\n' + 'x'.repeat(1e6)]: 1 }, /^Unknown parameter "\\ud800\\nx{58}"… was ignored\.$/],
  ])('%s', (_name, patch, message) => {
    const { warnings } = accepted({ ...patch });
    expect(warnings).toEqual([expect.stringMatching(message)]);
  });

  test.each([
    ['a seed of 2^53 − 1', { seed: 9007199254740991 }],
    ['a large seed as bigint', { seed: 9223372036854775807n }],
    ['a large seed as string', { seed: '9223372036854775807' }],
    ['a negative prompt with guidance', { CFGScale: 1.1, negativePrompt: 'blur' }],
    ['guidance off without a negative prompt', { CFGScale: 0 }],
  ])('none for %s', (_name, patch) => {
    expect(accepted(patch).warnings).toEqual([]);
  });

  test('many unknown parameters are counted, not listed', () => {
    const { warnings } = accepted(Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`x${i}`, i])));
    expect(warnings).toHaveLength(11);
    expect(warnings.at(-1)).toBe('4990 more unknown parameters were ignored.');
  });

  test('unknown parameters inside objects say where they are', () => {
    const { scope } = checkAlone(rawTask({ lora: [{ model: 'a' }, { model: 'b', Weight: 2 }] }));
    expect(scope.warnings).toEqual(["Unknown parameter \"Weight\" of 'lora[1]' was ignored; did you mean 'weight'?."]);
  });

  test('a refiner at the last step has no effect', () => {
    const { scope } = checkAlone(rawTask({ steps: 30, refiner: { model: 'r', startStep: 30 } }));
    expect(scope.warnings).toEqual([expect.stringMatching(/'refiner' has no effect/)]);
  });
});

describe('messages', () => {
  test.each([
    [{ width: 500 }, "Invalid value for 'width': got 500, expected an integer from 128 to 2048 in multiples of 64."],
    [
      { width: undefined },
      "Missing required parameter 'width': expected an integer from 128 to 2048 in multiples of 64.",
    ],
    [{ positivePrompt: 'x' }, 'got 1 character ("x"), expected a string of 2 to 3000 characters'],
    [{ positivePrompt: 'ab'.repeat(9000) }, 'got more than 3000 characters ("abab'],
    [{ lora: [{ model: 'a' }, { model: 'b', weight: 5 }] }, "'lora[1].weight': got 5, expected a number from -4 to 4."],
    [{ controlNet: new Array(200).fill(0) }, 'got 200 entries, expected an array of at most 100 entries.'],
    [{ refiner: { model: 'r', startStep: 30 } }, "'refiner.startStep': got 30, expected an integer from 2 to 20."],
    [{ taskType: 'imageUpscale' }, "'taskType': got \"imageUpscale\", expected one of 'imageInference', 'controlNet"],
  ])('of problem %#', (patch, part) => {
    expect(problemsOf(patch)[0]?.message).toContain(part);
  });
});
