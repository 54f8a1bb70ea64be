/** @file Whatever a page hands over, the answer is a typed error, and the next call works. */
import { describe, expect, it } from 'vitest';
import type { Darkroom } from '../../../src/client/types.js';
import { Runware } from '../../../src/client/runware.js';
import { REQUEST, refusal, setUp } from './bench.js';
import { fakeWorker, lasts, makes, picture } from './fake-worker.js';

const thrower = Object.defineProperty({}, 'model', {
  enumerable: true,
  get: () => {
    throw new Error('no');
  },
});
function revoked(target: object): object {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}
const deep = Array.from({ length: 100_000 }).reduce<object>((inner) => ({ inner }), {});

const GIVEN: readonly (readonly [string, unknown])[] = [
  ['nothing', undefined],
  ['null', null],
  ['text', 'a red fox'],
  ['a list', [REQUEST]],
  ['the bytes of a picture', new Uint8Array(2 ** 28)],
  ['a getter that throws', thrower],
  ['a revoked proxy', revoked({})],
  [
    'a proxy that throws no error',
    new Proxy(REQUEST, {
      ownKeys: () => {
        throw 'text' as unknown as Error;
      },
    }),
  ],
  ['a list of such', { ...REQUEST, lora: [thrower] }],
  ['a revoked list', { ...REQUEST, lora: revoked([]) }],
  ['a function', { ...REQUEST, model: () => 1 }],
  ['no end', { ...REQUEST, deep }],
];
const METHODS = ['imageInference', 'controlNetPreprocess', 'imageUpload', 'willItFit'] as const;
/** As JavaScript calls them. */
const untyped = (darkroom: Darkroom): Record<(typeof METHODS)[number], (given: unknown) => Promise<unknown>> =>
  darkroom as never;

describe('a request that is', () => {
  it.each(GIVEN)('%s', async (_, given) => {
    const { darkroom } = setUp(() => fakeWorker(makes(picture())));
    for (const method of METHODS) expect((await refusal(untyped(darkroom)[method](given))).code).toBe('invalidRequest');
    const runware = new Runware({ worker: () => fakeWorker(makes(picture())) });
    for (const method of ['requestImages', 'controlNetPreprocess', 'imageUpload'] as const)
      expect((await refusal(runware[method](given as never))).code).toBe('invalidRequest');
    await runware.disconnect();
    expect(await darkroom.imageInference(REQUEST)).toHaveLength(1);
  });
});

it('tasks that cannot be read are errors of the answer, also while they wait', async () => {
  const { darkroom } = setUp(() => fakeWorker(lasts(true)));
  const stop = new AbortController();
  const first = refusal(darkroom.imageInference(REQUEST, { signal: stop.signal }));
  const second = darkroom.run([thrower]);
  stop.abort();
  expect(await second).toMatchObject({ errors: [{ code: 'invalidRequest' }] });
  expect((await first).code).toBe('aborted');
  expect(await darkroom.run(revoked([]) as [])).toMatchObject({ errors: [{ code: 'invalidRequest' }] });
});

it('models that cannot be read are refused', async () => {
  const { darkroom } = setUp(() => fakeWorker(makes(picture())));
  for (const given of [null, revoked({}), { air: 'a', source: revoked({}) }, { air: 'a', source: 5 }])
    expect((await refusal(darkroom.registerModel(given as never))).code).toBe('invalidRequest');
});

it('a signal that is none leaves nothing in the queue', async () => {
  const { darkroom, workers } = setUp(() => fakeWorker(makes(picture())));
  await expect(darkroom.imageInference(REQUEST, { signal: {} as AbortSignal })).rejects.toThrow(TypeError);
  expect(await darkroom.imageInference(REQUEST)).toHaveLength(1);
  expect(workers[0]?.calls.filter((name) => name.startsWith('run'))).toHaveLength(1);
});
