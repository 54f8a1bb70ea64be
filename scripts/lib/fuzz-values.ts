/** @file Fuzz targets: what only a page can put into a request (proxies, getters, dates, bigints, lists with holes), and each parameter's range, both ways. */
import { types } from 'node:util';
import { DarkroomError } from '../../src/base/errors.js';
import { parseRequest } from '../../src/request/facade.js';
import { parseTasks } from '../../src/request/tasks.js';
import { isObject } from './fuzz-mutate.js';
import type { Random } from './fuzz-random.js';
import { anyTask, checkTask } from './fuzz-requests.js';
import { must, type Target } from './fuzz-target.js';

const UUID = '3f2c8a9e-9c5b-4d1e-8f7a-0b1c2d3e4f50';
const throwing = (): never => {
  throw 'no error' as unknown as Error; // pages may throw anything
};

function revoked(target: object): object {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}

/** A list that says it is longer than memory, and one that never ends. */
function endless(length: number): readonly unknown[] {
  return new Proxy<unknown[]>([], { get: (_, key) => (key === 'length' ? length : key === Symbol.iterator ? throwing : { model: 'm' }) }); // prettier-ignore
}

const VALUES: readonly (() => unknown)[] = [
  () => NaN, () => Infinity, () => -Infinity, () => -0, () => 5e-324, () => 2 ** 53, () => 10n, () => 10n ** 400n, () => '1e1', () => ' 512 ', () => '５１２',
  () => new Date(0), () => new Date(NaN), () => new Number(512), () => new String('a red fox'), () => new Boolean(true), () => Object(5n) as unknown, () => Symbol('s'),
  () => () => 512, () => class {}, () => /x/, () => new Map([['a', 1]]), () => new Set([1]), () => new WeakMap(), () => new Error('e'), () => Promise.resolve(1),
  () => new Uint8Array(4), () => new ArrayBuffer(4), () => new SharedArrayBuffer(4), () => new DataView(new ArrayBuffer(4)), () => new Array<unknown>(5),
  () => Object.assign(new Array<number>(2), { 1: 1 }), () => Object.assign([1], { extra: 1 }), () => endless(2 ** 53), () => endless(NaN), () => endless(-1), () => endless(3), () => revoked({}), () => revoked([]),
  () => new Proxy({}, { get: throwing }), () => new Proxy({}, { ownKeys: throwing }), () => new Proxy({}, { getOwnPropertyDescriptor: throwing }),
  () => Object.defineProperty({}, 'model', { enumerable: true, get: throwing }), () => ({ toString: throwing, valueOf: throwing }), () => ({ [Symbol.toPrimitive]: throwing }),
  () => Object.create(null) as unknown, () => JSON.parse('{"__proto__":{"width":512}}') as unknown, () => ({ get model() { return Math.random() < 0.5 ? 'm' : 5; } }),
  () => Object.freeze([]), () => globalThis, () => new Blob([]), () => new Blob(['x']), () => new URL('https://example.org/a.png'), () => 'x'.repeat(1e6), () => '\ud800', () => '',
  () => null, () => undefined, () => { const cycle: Record<string, unknown> = {}; cycle['cycle'] = cycle; return cycle; },
]; // prettier-ignore

/** A task in which 1 to 3 values, at any depth, are such. */
function withValues(task: Readonly<Record<string, unknown>>, random: Random): unknown {
  let out: unknown = task;
  for (let n = 1 + random.int(3); n > 0; n--) out = place(out, random);
  return out;
}

function place(value: unknown, random: Random): unknown {
  if (types.isProxy(value)) return random.pick(VALUES)();
  if (Array.isArray(value) && value.length > 0 && random.chance(0.8)) {
    const list: readonly unknown[] = value;
    const at = random.int(list.length);
    return list.map((entry, i) => (i === at ? place(entry, random) : entry));
  }
  if (isPlain(value) && random.chance(0.95)) {
    const names = Object.keys(value);
    const name = names.length > 0 && random.chance(0.9) ? random.pick(names) : random.pick(NAMES);
    return {
      ...value,
      [name]: name in value && random.chance(0.5) ? place(value[name], random) : random.pick(VALUES)(),
    };
  }
  return random.pick(VALUES)();
}

const NAMES = ['lora', 'embeddings', 'controlNet', 'refiner', 'seed', 'outpaint', 'referenceImages', 'taskType', 'customTaskUUID', 'settings', 'constructor']; // prettier-ignore

/** Nothing of ours that throws when it is read. */
function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  return (
    isObject(value) &&
    Object.getPrototypeOf(value) === Object.prototype &&
    Object.values(Object.getOwnPropertyDescriptors(value)).every((property) => property.get === undefined)
  );
}

export const valuesTarget: Target = {
  kind: 'values',
  run(random) {
    const task = random.chance(0.1) ? anyTask(random) : withValues(anyTask(random), random);
    const list = random.chance(0.1) ? random.pick(VALUES)() : [task];
    const { tasks, errors } = parseTasks(list); // never throws
    must(tasks.length > 0 || errors.length > 0, () => 'a task went without a word');
    structuredClone(errors);
    for (const { task: parsed } of tasks) checkTask(parsed);
    for (const { message } of errors) must(message.length < 5000, () => `a message of ${message.length} characters`);
    try {
      checkTask(parseRequest(task, { newUUID: () => UUID, model: 'm' }));
    } catch (error) {
      if (!(error instanceof DarkroomError) || error.code === 'internalError') throw error;
    }
    return Promise.resolve(tasks.length > 0 ? 'accepted' : 'refused');
  },
};

/** [from, to, step (0: any number)], from the documentation of the cloud (image-inference/api-reference). */
const RANGES = {
  width: [128, 2048, 64], height: [128, 2048, 64], steps: [1, 100, 1], CFGScale: [0, 50, 0], clipSkip: [0, 2, 1], numberResults: [1, 20, 1],
  outputQuality: [20, 99, 1], 'lora.weight': [-4, 4, 0], 'embeddings.weight': [-4, 4, 0], 'controlNet.weight': [0, 1, 0],
  'controlNet.startStep': [1, 20, 1], 'controlNet.startStepPercentage': [0, 99, 1], 'controlNet.endStep': [2, 20, 1], 'controlNet.endStepPercentage': [1, 100, 1],
  'refiner.startStep': [2, 20, 1], 'refiner.startStepPercentage': [1, 99, 1],
} as const; // prettier-ignore

/** The task with one number in it, and nothing that may disagree with it. */
function taskWith(name: string, value: unknown): Readonly<Record<string, unknown>> {
  const base = { taskType: 'imageInference', taskUUID: UUID, positivePrompt: 'a red fox', model: 'm', width: 512, height: 512, steps: 20 }; // prettier-ignore
  const [list = '', inner] = name.split('.');
  if (inner === undefined) return { ...base, [name]: value };
  if (list === 'refiner') return { ...base, refiner: { model: 'r', [inner]: value } };
  const picture = list === 'controlNet' ? { guideImage: 'https://example.org/a.png' } : {};
  return { ...base, [list]: [{ model: 'm', ...picture, [inner]: value }] };
}

export const boundsTarget: Target = {
  kind: 'bounds',
  run(random) {
    const [name, [from, to, step]] = random.pick(Object.entries(RANGES));
    const edge = random.pick([from, to, from + (to - from) * random.real(), 0]);
    const near = edge + random.pick([0, 0, 1, -1, 0.5, -0.5, 1e-9, -1e-9, 64, -64, 2 ** -52]);
    const value = random.chance(0.6) && step > 0 ? Math.round(near / step) * step : near;
    const right = value >= from && value <= to && (step === 0 || Number.isInteger(value / step));
    const form = random.chance(0.1) ? random.pick([String(value), BigInt(Math.trunc(value)), [value], { value }, value > 0]) : value; // prettier-ignore
    const { tasks } = parseTasks([taskWith(name, form)]);
    const expected = right && form === value;
    must(
      tasks.length > 0 === expected,
      () =>
        `${name} ${JSON.stringify(form, (_, inner: unknown) => (typeof inner === 'bigint' ? `${inner}n` : inner))} (${typeof form}): ${tasks.length} tasks`,
    );
    return Promise.resolve(tasks.length > 0 ? 'accepted' : 'refused');
  },
};
