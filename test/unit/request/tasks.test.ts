/** @file Arrays of raw tasks: what is no array, several tasks with several problems, repeated UUIDs, hostile values. */
import { describe, expect, test } from 'vitest';

import { parseTasks } from '../../../src/request/tasks.js';
import { OTHER_UUID, PICTURE, TASK_UUID, inference, rawTask } from './raw-task.js';

const summary = (input: unknown) =>
  parseTasks(input).errors.map(({ code, parameter, taskUUID }) => [code, parameter, taskUUID]);

describe('the array', () => {
  test.each([
    ['a single task', rawTask(), 'an object'],
    ['nothing', undefined, 'undefined'],
    ['null', null, 'null'],
    ['a string', '[{}]', '"[{}]"'],
    ['a number', 5, '5'],
    ['a function', () => [], 'a function'],
    ['an empty array', [], '0 tasks'],
    ['1001 tasks', new Array(1001).fill(rawTask()), '1001 tasks'],
    ['four billion holes', new Array(2 ** 32 - 1), '4294967295 tasks'],
  ])('%s', (_name, input, got) => {
    const { tasks, errors } = parseTasks(input);
    expect(tasks).toEqual([]);
    expect(errors).toMatchObject([{ code: 'invalidRequest', type: 'object[]', min: 1, max: 1000 }]);
    expect(errors[0]?.message).toBe(`Invalid request: got ${got}, expected an array of 1 to 1000 tasks.`);
  });

  test('a single task is told what to do', () => {
    expect(parseTasks(rawTask()).errors[0]?.hint).toBe('Put the task into an array: [task].');
  });

  test('1000 tasks are allowed, fewer by option', () => {
    const uuid = (i: number) => `3f2c8a9e-9c5b-4d1e-8f7a-${i.toString(16).padStart(12, '0')}`;
    const many = Array.from({ length: 1000 }, (_, i) => rawTask({ taskUUID: uuid(i) }));
    expect(parseTasks(many)).toMatchObject({ errors: [] });
    expect(parseTasks(many).tasks).toHaveLength(1000);
    expect(parseTasks(many, { maxTasks: 999 }).errors).toMatchObject([{ code: 'invalidRequest', max: 999 }]);
  });

  test.each([
    ['null', null, 'null'],
    ['a string', 'task', '"task"'],
    ['an array', [rawTask()], 'an array'],
    ['bytes', new Uint8Array(8), 'an object'],
    ['very many bytes', new Uint8Array(2 ** 28), 'an object'],
    ['a string object', new String('x'), 'an object'],
    ['a revoked proxy', revoked({}), 'an object'],
  ])('an entry that is no task: %s', (_name, entry, got) => {
    expect(parseTasks([entry]).errors).toEqual([
      { code: 'invalidTask', message: `Invalid task: got ${got}, expected an object.` },
    ]);
  });

  test('a hole is no task', () => {
    expect(summary(new Array(2))).toEqual([
      ['invalidTask', undefined, undefined],
      ['invalidTask', undefined, undefined],
    ]);
  });
});

describe('several tasks', () => {
  test('all problems of all tasks, in order; the good ones keep their index', () => {
    const { tasks, errors } = parseTasks([
      rawTask({ taskUUID: OTHER_UUID, width: 1, steps: 0 }),
      7,
      rawTask(),
      { taskType: 'imageUpscale', taskUUID: 'c232ab00-9414-11ec-b3c8-9f6bdeced846', inputImage: PICTURE },
    ]);
    expect(tasks).toMatchObject([{ index: 2, task: { taskUUID: TASK_UUID } }]);
    expect(errors.map(({ code, taskUUID }) => [code, taskUUID])).toEqual([
      ['invalidWidth', OTHER_UUID],
      ['invalidSteps', OTHER_UUID],
      ['invalidTask', undefined],
      ['unsupportedTaskType', 'c232ab00-9414-11ec-b3c8-9f6bdeced846'],
    ]);
  });

  test('without a valid UUID the message says which task is meant', () => {
    const { errors } = parseTasks([rawTask(), rawTask({ taskUUID: 'nonsense', steps: 0 })]);
    expect(errors.map(({ message }) => message)).toEqual([
      expect.stringMatching(/^tasks\[1\]: Invalid value for 'taskUUID': got "nonsense"/),
      expect.stringMatching(/^tasks\[1\]: Invalid value for 'steps': got 0/),
    ]);
  });

  test('with a valid UUID the message need not', () => {
    const { errors } = parseTasks([rawTask(), rawTask({ taskUUID: OTHER_UUID, steps: 0 })]);
    expect(errors).toMatchObject([{ taskUUID: OTHER_UUID, message: expect.stringMatching(/^Invalid/) as unknown }]);
  });

  test('of tasks with one UUID the first may run; the others conflict', () => {
    const { tasks, errors } = parseTasks([
      rawTask(),
      rawTask({ positivePrompt: 'another' }),
      rawTask({ taskUUID: OTHER_UUID }),
      rawTask({ taskUUID: TASK_UUID.toUpperCase(), steps: 0 }),
    ]);
    expect(tasks.map(({ index }) => index)).toEqual([0, 2]);
    expect(errors.map(({ code, parameter }) => [code, parameter])).toEqual([
      ['conflictTaskUUID', 'taskUUID'],
      ['invalidSteps', 'steps'],
      ['conflictTaskUUID', 'taskUUID'],
    ]);
    expect(errors[0]?.message).toMatch(/^tasks\[1\]: .* tasks\[0\]/);
  });

  test('a refused task keeps its UUID from being used again', () => {
    expect(summary([rawTask({ steps: 0 }), rawTask()])).toEqual([
      ['invalidSteps', 'steps', TASK_UUID],
      ['conflictTaskUUID', 'taskUUID', TASK_UUID],
    ]);
  });

  test('warnings belong to their task', () => {
    const { tasks } = parseTasks([rawTask({ foo: 1 }), rawTask({ taskUUID: OTHER_UUID })]);
    expect(tasks.map(({ task }) => task.warnings.length)).toEqual([1, 0]);
  });
});

describe('hostile values', () => {
  test('every property is read once', () => {
    const reads = new Map<PropertyKey, number>();
    const counted = (target: object) =>
      new Proxy(target, {
        get: (from, key, receiver): unknown => {
          if (Object.hasOwn(from, key)) reads.set(key, (reads.get(key) ?? 0) + 1);
          return Reflect.get(from, key, receiver);
        },
      });
    const entry = counted({ model: 'c', guideImage: PICTURE, startStep: 3, endStep: 9, controlMode: 'prompt' });
    const raw = counted(rawTask({ controlNet: counted([entry]), steps: 10, seed: 5, unknown: 1 }));
    const { errors } = parseTasks(counted([raw]));
    expect(errors.filter(({ code }) => code !== 'unsupportedParameter')).toEqual([]);
    expect(reads.has('unknown')).toBe(false);
    expect(
      [...reads].filter(([key, count]) => count > 1 && key !== '0' && key !== 'length' && key !== 'model'),
    ).toEqual([]);
    // Two arrays with an item and a length each, and two objects with a model.
    expect([reads.get('0'), reads.get('length'), reads.get('model')]).toEqual([2, 2, 2]);
  });

  test('a getter that throws is an invalid value, and what it throws is not used', () => {
    const raw = Object.defineProperty(rawTask({ width: undefined }), 'width', {
      enumerable: true,
      get: () => {
        throw revoked({});
      },
    });
    const { errors } = parseTasks([raw]);
    expect(errors).toMatchObject([{ code: 'invalidWidth' }]);
    expect(errors[0]?.message).toContain('got a property that throws when it is read');
  });

  test('values that change when they are read again', () => {
    let reads = 0;
    const raw = Object.defineProperty(rawTask({ steps: undefined }), 'steps', {
      enumerable: true,
      get: () => (reads++ === 0 ? 20 : 'gotcha'),
    });
    expect(inference(parseTasks([raw]).tasks[0]?.task).steps).toBe(20);
  });

  test('inherited and hidden properties do not count', () => {
    const inherited = Object.assign(Object.create({ steps: 0, width: 1 }) as object, rawTask());
    expect(parseTasks([inherited]).tasks[0]?.task).toMatchObject({ width: 512 });
    expect(inference(parseTasks([inherited]).tasks[0]?.task).steps).toBeUndefined();
    const polluting: unknown = JSON.parse(`[${JSON.stringify(rawTask()).slice(0, -1)},"__proto__":{"steps":0}}]`);
    expect(inference(parseTasks(polluting).tasks[0]?.task).steps).toBeUndefined();
    expect(({} as Record<string, unknown>)['steps']).toBeUndefined();
  });

  test('objects without a prototype are tasks', () => {
    expect(parseTasks([Object.assign(Object.create(null) as object, rawTask())]).errors).toEqual([]);
  });

  test('cycles', () => {
    const raw = rawTask();
    raw['refiner'] = raw;
    raw['controlNet'] = [raw];
    raw['lora'] = raw['controlNet'];
    expect(summary([raw])).toEqual(
      expect.arrayContaining([['missingControlNetGuideImage', 'controlNet.guideImage', TASK_UUID]]),
    );
  });

  test.each([
    ['a revoked object', revoked({})],
    ['a revoked array', revoked([])],
    ['a proxy whose every trap throws', thrower({})],
    ['an array proxy whose every trap throws', thrower([])],
    ['an array that claims a length of NaN', new Proxy([], { get: () => NaN })],
    ['a symbol', Symbol('x')],
    ['a function', rawTask],
    ['an object with toString and valueOf that throw', { toString: () => fails(), valueOf: () => fails() }],
    ['a date', new Date(NaN)],
    ['a huge array', new Array(2 ** 32 - 1)],
  ])('%s in every place', (_name, value) => {
    for (const name of Object.keys(rawTask({ ...EVERYTHING }))) {
      const { tasks, errors } = parseTasks([rawTask({ [name]: value })]);
      expect(tasks).toEqual([]);
      expect(errors.length).toBeGreaterThan(0);
    }
    expect(parseTasks(value).tasks).toEqual([]);
    expect(parseTasks([value]).tasks).toEqual([]);
  });
});

const EVERYTHING = { steps: 1, CFGScale: 1, scheduler: 1, seed: 1, vae: 1, clipSkip: 1, refiner: 1, controlNet: 1 };

function fails(): never {
  throw new Error('read');
}

function revoked(target: object): unknown {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}

function thrower(target: object): unknown {
  const traps = ['get', 'has', 'ownKeys', 'getPrototypeOf', 'getOwnPropertyDescriptor'];
  return new Proxy(target, Object.fromEntries(traps.map((trap) => [trap, fails])));
}
