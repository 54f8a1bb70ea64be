/** @file Properties over generated input: nothing but a `DarkroomError` is thrown, valid tasks pass and survive a round trip. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { DarkroomError } from '../../../src/base/errors.js';
import { parseRequest } from '../../../src/request/facade.js';
import { PARAMETERS, TASK_PARAMETERS } from '../../../src/request/parameters.js';
import { type Scope, root } from '../../../src/request/place.js';
import { checkProperties } from '../../../src/request/rules.js';
import { SCHEDULER_NAMES } from '../../../src/request/scheduler-names.js';
import { parseTasks } from '../../../src/request/tasks.js';
import { toWireTask } from '../../../src/request/wire-form.js';
import { PICTURE, TASK_UUID, inference, rawTask } from './raw-task.js';

const anything = fc.anything({
  withBigInt: true,
  withDate: true,
  withMap: true,
  withNullPrototype: true,
  withObjectString: true,
  withSet: true,
  withSparseArray: true,
  withTypedArray: true,
  key: fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom(...Object.keys(PARAMETERS), '__proto__', 'toString')),
});

/** A valid task with some parameters replaced by anything: gets far deeper than a random value. */
const damaged = fc
  .dictionary(fc.constantFrom('taskType', 'taskUUID', ...Object.keys(PARAMETERS)), anything, { maxKeys: 4 })
  .map((patch) => ({ ...rawTask(), ...patch }));

describe('any input', () => {
  test('parseTasks never throws, and every raw task is either accepted or explained', () => {
    fc.assert(
      fc.property(fc.oneof(anything, fc.array(fc.oneof(anything, damaged), { maxLength: 4 })), (input) => {
        const { tasks, errors } = parseTasks(input);
        const count = Array.isArray(input) ? input.length : 0;
        expect(tasks.length).toBeLessThanOrEqual(count);
        if (tasks.length < count || count === 0) expect(errors.length).toBeGreaterThan(0);
        expect(() => structuredClone({ tasks, errors })).not.toThrow();
        expect(JSON.stringify(errors)).not.toMatch(/\p{Surrogate}/u);
      }),
      { numRuns: 1500 },
    );
  });

  test('parseTasks of any JSON', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5 }), (json) => {
        expect(parseTasks(JSON.parse(json)).tasks).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  test('parseRequest throws nothing but a DarkroomError', () => {
    fc.assert(
      fc.property(fc.oneof(anything, damaged), (input) => {
        try {
          parseRequest(input, { newUUID: () => TASK_UUID });
        } catch (error) {
          expect(error).toBeInstanceOf(DarkroomError);
        }
      }),
      { numRuns: 1500 },
    );
  });
});

const codePoints = (max: number) => fc.string({ unit: 'binary', minLength: 2, maxLength: max });
const side = fc.integer({ min: 2, max: 32 }).map((n) => n * 64);
const weight = (min: number, max: number) => fc.double({ min, max, noNaN: true });
const model = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 });
const weighted = fc.array(fc.record({ model, weight: weight(-4, 4) }, { requiredKeys: ['model'] }), { maxLength: 5 });
const seed = fc.oneof(
  fc.integer({ min: 1, max: 0xffffffff }),
  fc.maxSafeInteger().map((n) => Math.abs(n) || 1),
  fc.bigInt({ min: 1n, max: 2n ** 63n - 1n }),
  fc.bigInt({ min: 1n, max: 2n ** 63n - 1n }).map(String),
);

/** Valid values of the parameters that have an effect, by the ranges of the reference. */
const effective = {
  positivePrompt: fc.oneof(codePoints(60), fc.constant('__BLANK__')),
  negativePrompt: codePoints(60),
  model,
  width: side,
  height: side,
  steps: fc.integer({ min: 1, max: 100 }),
  CFGScale: weight(0, 50),
  scheduler: fc.constantFrom(...SCHEDULER_NAMES),
  seed,
  clipSkip: fc.integer({ min: 0, max: 2 }),
  numberResults: fc.integer({ min: 1, max: 20 }),
  outputType: fc.constantFrom('URL', 'dataURI', 'base64Data'),
  outputFormat: fc.constantFrom('JPG', 'PNG', 'WEBP', 'jpg', 'png', 'webp'),
  outputQuality: fc.integer({ min: 20, max: 99 }),
  includeCost: fc.boolean(),
} as const;

const identity = { taskType: fc.constant('imageInference'), taskUUID: fc.uuid() };
const requiredKeys = ['taskType', 'taskUUID', 'positivePrompt', 'model', 'width', 'height'] as const;
const validTask = fc.record({ ...identity, ...effective }, { requiredKeys: [...requiredKeys] });

/** Two different numbers in order, or one of them, or none. */
const window = (min: number, max: number, names: readonly [string, string]) =>
  fc
    .tuple(fc.integer({ min, max: max - 1 }), fc.integer({ min: min + 1, max }), fc.boolean(), fc.boolean())
    .filter(([from, to]) => from < to)
    .map(([from, to, withFrom, withTo]) => ({
      ...(withFrom && { [names[0]]: from }),
      ...(withTo && { [names[1]]: to }),
    }));

/** Valid nested values, for a task of 50 steps. */
const nested = {
  steps: fc.constant(50),
  vae: model,
  lora: weighted,
  embeddings: weighted,
  promptWeighting: fc.constantFrom('compel', 'sdEmbeds', 'sdembeds'),
  refiner: fc
    .tuple(model, fc.oneof(window(2, 50, ['startStep', '_']), window(1, 99, ['startStepPercentage', '_'])))
    .map(([name, { _, ...start }]) => ({ model: name, ...start })),
  controlNet: fc.array(
    fc
      .tuple(
        fc.record(
          {
            model,
            guideImage: fc.constantFrom(PICTURE, TASK_UUID, 'data:image/png;base64,AAAA', 'A'.repeat(40)),
            weight: weight(0, 1),
            controlMode: fc.constantFrom('prompt', 'controlnet', 'balanced'),
          },
          { requiredKeys: ['model', 'guideImage'] },
        ),
        fc.oneof(window(1, 50, ['startStep', 'endStep']), window(0, 100, ['startStepPercentage', 'endStepPercentage'])),
      )
      .map(([entry, steps]) => ({ ...entry, ...steps })),
    { maxLength: 4 },
  ),
};

function check(raw: object) {
  const scope: Scope = { dialect: 'wire', prefix: '', steps: 50, errors: [], warnings: [] };
  const { valid } = checkProperties(TASK_PARAMETERS, new Map(Object.entries(raw)), root(scope));
  return { valid, errors: scope.errors, warnings: scope.warnings };
}

describe('valid tasks', () => {
  test('pass, say what was sent, and survive the wire form', () => {
    fc.assert(
      fc.property(validTask, (raw) => {
        const { tasks, errors } = parseTasks([raw]);
        expect(errors).toEqual([]);
        const [first] = tasks;
        expect(first?.index).toBe(0);
        if (first === undefined) return;
        const sent = { ...raw, ...(raw.seed === undefined ? {} : { seed: BigInt(raw.seed) }) };
        const { outputFormat = 'JPG', ...rest } = sent;
        expect(first.task).toMatchObject({ ...noNegativeZero(rest), outputFormat: outputFormat.toUpperCase() });

        const wire: unknown = JSON.parse(JSON.stringify([toWireTask(inference(first.task))]));
        const again = parseTasks(wire);
        expect(again.errors).toEqual([]);
        // The wire form spells nothing in a way that would be warned of; the other warnings come again.
        expect(again.tasks).toEqual([first]);
      }),
      { numRuns: 500 },
    );
  });

  test('mean the same to parseRequest', () => {
    fc.assert(
      fc.property(validTask, (raw) => {
        expect(parseRequest(raw, { newUUID: () => TASK_UUID })).toEqual(parseTasks([raw]).tasks[0]?.task);
      }),
      { numRuns: 300 },
    );
  });

  test('nested parameters pass, and checking them twice changes nothing', () => {
    const raw = fc.record(
      { ...effective, ...nested },
      { requiredKeys: ['positivePrompt', 'model', 'width', 'height'] },
    );
    fc.assert(
      fc.property(raw, (value) => {
        const once = check(value);
        expect(once.errors).toEqual([]);
        expect(once.warnings.filter((text) => !/refiner|negativePrompt/.test(text))).toEqual([]);
        const twice = check(once.valid);
        expect(twice.errors).toEqual([]);
        expect(twice.valid).toEqual(once.valid);
      }),
      { numRuns: 500 },
    );
  });
});

const noNegativeZero = (raw: object): object =>
  Object.fromEntries(Object.entries(raw).map(([name, value]) => [name, Object.is(value, -0) ? 0 : (value as unknown)]));

describe('one step outside of a range', () => {
  const ranges = [
    ['width', 128, 2048, 64],
    ['height', 128, 2048, 64],
    ['steps', 1, 100, 1],
    ['clipSkip', 0, 2, 1],
    ['numberResults', 1, 20, 1],
    ['outputQuality', 20, 99, 1],
  ] as const;

  test.each(ranges)('%s takes exactly the multiples of its step in %i…%i', (name, min, max, step) => {
    for (let value = min - step; value <= max + step; value++) {
      const errors = parseTasks([rawTask({ [name]: value })]).errors;
      const valid = value >= min && value <= max && value % step === 0;
      expect(errors.map(({ parameter }) => parameter)).toEqual(valid ? [] : [name]);
    }
  });
});
