/** @file The engine's device: opened once, replaced after a loss, and what a failure on a lost one is called. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { fail } from '../../../src/base/errors.js';
import type { Library } from '../../../src/pipeline/library.js';
import { createOwnDevice } from '../../../src/pipeline/own-device.js';
import type { Runtime } from '../../../src/runtime/runtime.js';

/** Devices that can be lost by hand; a library that counts what it frees. */
function bench({ hangs = false } = {}) {
  const devices: { lose: (why: string) => void; disposed: number }[] = [];
  const freed: number[] = [];
  const open = (): Promise<Runtime> => {
    let lose: (why: string) => void = () => undefined;
    const lost = new Promise<string>((resolve) => (lose = resolve));
    const device = { lose: (why: string) => lose(why), disposed: 0 };
    devices.push(device);
    const dispose = (): Promise<void> => {
      device.disposed++;
      return Promise.resolve();
    };
    // Nothing else of a runtime is used here.
    return Promise.resolve({ info: { backend: 'webgpu' }, lost, dispose } as unknown as Runtime);
  };
  let libraries = 0;
  const createLibrary = (): Library => {
    const number = libraries++;
    return {
      open: () => Promise.reject(new Error('not here')),
      free: () => Promise.resolve(),
      clear: () => (hangs ? new Promise(() => undefined) : Promise.resolve(void freed.push(number))),
    };
  };
  return { own: createOwnDevice(open, createLibrary), devices, freed };
}

afterEach(() => {
  vi.useRealTimers();
});

describe('the device of an engine', () => {
  it('is opened once, and disposed with its models', async () => {
    const { own, devices, freed } = bench();
    expect(await own.get()).toBe(await own.get());
    await own.dispose();
    expect([devices.length, devices[0]?.disposed, freed]).toEqual([1, 1, [0]]);
    await expect(own.get()).rejects.toMatchObject({ code: 'disposed' });
  });

  it('is another one after it was lost unobserved, with other models', async () => {
    const { own, devices, freed } = bench();
    const first = await own.get();
    const library = own.library();
    devices[0]?.lose('The laptop slept.');
    await Promise.resolve();
    expect(await own.get()).not.toBe(first);
    expect(own.library()).not.toBe(library);
    expect([devices.length, devices[0]?.disposed, freed]).toEqual([2, 1, [0]]);
  });

  it('explains what fails on it, also when the news of its loss comes later', async () => {
    const { own, devices } = bench();
    await own.get();
    const odd = new TypeError('Instance dropped.');
    const reason = own.reasonOf(odd);
    setTimeout(() => devices[0]?.lose('It crashed.'), 20);
    expect(await reason).toMatchObject({ code: 'deviceLost', message: 'It crashed.', cause: odd });
    const clear = fail('missingWeight', 'none');
    expect(await own.reasonOf(clear)).toBe(clear);
  });

  it('leaves errors as they are while it lives', async () => {
    const { own } = bench();
    const error = fail('runtimeFailed', 'a bug');
    expect(await own.reasonOf(error)).toBe(error); // before there is one
    await own.get();
    expect(await own.reasonOf(error)).toBe(error);
  });

  it('is given up even where nothing of it answers any more', async () => {
    vi.useFakeTimers();
    const { own, devices } = bench({ hangs: true });
    const first = await own.get();
    const given = own.forget();
    await vi.advanceTimersByTimeAsync(5_000);
    await given;
    expect(await own.get()).not.toBe(first);
    expect(devices).toHaveLength(2);
  });
});
