/** @file The engine's device: opened once, replaced after a loss, and what a failure on a lost one is called. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { fail } from '../../../src/base/errors.js';
import type { Library } from '../../../src/pipeline/library.js';
import { createOwnDevice } from '../../../src/pipeline/own-device.js';
import type { Shortage } from '../../../src/runtime/out-of-memory.js';
import type { Runtime } from '../../../src/runtime/runtime.js';

/** Devices that can be lost by hand; a library that counts what it frees. */
function bench({ hangs = false } = {}) {
  const devices: { lose: (why: string) => void; disposed: number; gpuBytes: number; short?: Shortage }[] = [];
  const freed: number[] = [];
  /** What there is at present: whether a GPU, and what time it is. */
  const world = { gpu: true, now: 0, asked: 0, opening: Promise.resolve() };
  const open = (): Promise<Runtime> => {
    let lose: (why: string) => void = () => undefined;
    const lost = new Promise<string>((resolve) => (lose = resolve));
    const device: (typeof devices)[number] = { lose: (why: string) => lose(why), disposed: 0, gpuBytes: 0 };
    devices.push(device);
    const dispose = (): Promise<void> => {
      device.disposed++;
      return Promise.resolve();
    };
    // Nothing else of a runtime is used here.
    const info = { backend: world.gpu ? 'webgpu' : 'wasm' };
    const memory = () => ({ gpuBytes: device.gpuBytes, gpuBuffers: 0 });
    const runtime = { info, lost, dispose, memory, shortage: () => device.short };
    return world.opening.then(() => runtime as unknown as Runtime);
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
  const hasGpu = (): Promise<boolean> => {
    world.asked++;
    return Promise.resolve(world.gpu);
  };
  return { own: createOwnDevice({ open, createLibrary, hasGpu, now: () => world.now }), devices, freed, world };
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

  describe('that is short of memory', () => {
    const odd = fail('runtimeFailed', 'unet: the run failed: [Invalid Buffer] is invalid due to a previous error.');
    const full = { message: 'Not enough memory left.', certain: true };

    it('is the reason of what fails on it, whatever that says, and of its loss', async () => {
      const { own, devices } = bench();
      await own.get();
      const [device] = devices;
      Object.assign(device ?? {}, { short: full });
      for (const error of [odd, fail('notFinite', 'NaN'), new TypeError('mapAsync'), fail('deviceLost', 'It crashed.')])
        expect(await own.reasonOf(error)).toMatchObject({ code: 'outOfMemory', message: full.message, cause: error });
      device?.lose('A valid external Instance reference no longer exists.');
      expect(await own.reasonOf(odd)).toMatchObject({ code: 'outOfMemory', message: full.message });
      const missing = fail('missingWeight', 'none');
      expect(await own.reasonOf(missing)).toBe(missing);
    });

    it.each([
      'vkAllocateMemory failed with VK_ERROR_OUT_OF_DEVICE_MEMORY',
      'D3D12 create committed resource failed with E_OUTOFMEMORY (0x8007000E)',
      'Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)',
    ])('is not merely lost when it goes with the words "%s"', async (why) => {
      const { own, devices } = bench();
      await own.get();
      devices[0]?.lose(why);
      expect(await own.reasonOf(odd)).toMatchObject({ code: 'outOfMemory', message: why });
      expect(await own.reasonOf(fail('deviceLost', why))).toMatchObject({ code: 'outOfMemory', message: why });
    });

    it('is believed to be where a call fails that fails on a lost one too, unless it is lost', async () => {
      const refused = { message: 'createBuffer failed, size (16) is too large', certain: false };
      const { own, devices } = bench();
      await own.get();
      Object.assign(devices[0] ?? {}, { short: refused });
      expect(await own.reasonOf(odd)).toMatchObject({ code: 'outOfMemory' });
      const typed = fail('outOfMemory', 'weight: a buffer of 16 bytes could not be made.');
      devices[0]?.lose('It crashed.');
      expect(await own.reasonOf(odd)).toMatchObject({ code: 'deviceLost' });
      expect(await own.reasonOf(typed)).toMatchObject({ code: 'deviceLost' });
    });
  });

  it('is worn once a second task begins on it, and new after it was given up', async () => {
    const { own } = bench();
    await own.get(); // asked for by nobody's task
    const worn: boolean[] = [];
    for (const forget of [false, false, true, false]) {
      await own.prepare('a');
      await own.get();
      if (forget) {
        await own.forget();
        await own.get();
      }
      worn.push(own.isWorn());
    }
    expect(worn).toEqual([false, true, false, true]);
  });

  it('is no longer given to whoever asked for it when it was disposed while it opened; it is freed all the same, once', async () => {
    const { own, devices, freed, world } = bench();
    let opened = (): void => undefined;
    world.opening = new Promise((resolve) => (opened = resolve));
    const asked = own.get();
    const ends = [own.dispose(), own.dispose()];
    opened();
    await expect(asked).rejects.toMatchObject({ code: 'disposed' });
    await Promise.all(ends);
    expect([devices.length, devices[0]?.disposed, freed]).toEqual([1, 1, [0]]);
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

const GB = 1e9;

describe('the device of the next task', () => {
  it('is the GPU again, a minute after the CPU took its place, once there is one', async () => {
    const { own, devices, world } = bench();
    await own.get();
    devices[0]?.lose('The driver crashed.');
    await Promise.resolve();
    world.gpu = false;
    expect((await own.get()).info.backend).toBe('wasm');
    for (const [now, gpu, asked, backend] of [
      [59_999, true, 0, 'wasm'], // too early
      [60_000, false, 1, 'wasm'], // still none
      [119_999, true, 1, 'wasm'], // asked a moment ago
      [120_000, true, 2, 'webgpu'],
    ] as const) {
      Object.assign(world, { now, gpu });
      await own.prepare('a');
      expect([(await own.get()).info.backend, world.asked], `at ${now}`).toEqual([backend, asked]);
    }
    expect(devices).toHaveLength(3);
  });

  it('stays the CPU where there never was a GPU', async () => {
    const { own, devices, world } = bench();
    world.gpu = false;
    await own.get();
    Object.assign(world, { gpu: true, now: 1e9 });
    await own.prepare('a');
    await own.get();
    expect([devices.length, world.asked]).toEqual([1, 0]);
  });

  it('is an empty one where buffers of other kinds have piled up, and the same for kinds that take turns', async () => {
    const { own, devices } = bench();
    /** A task whose buffers are of sizes that no other kind has. */
    const run = async (kind: string, bytes: number, isNew = true): Promise<number> => {
      await own.prepare(kind);
      await own.get();
      const device = devices.at(-1);
      if (device !== undefined && isNew) device.gpuBytes += bytes;
      return devices.length;
    };
    expect(await run('a', 4 * GB)).toBe(1);
    expect(await run('b', 5 * GB)).toBe(1);
    expect(await run('a', 0, false)).toBe(1);
    expect(await run('b', 0, false)).toBe(1);
    expect(await run('c', 2 * GB)).toBe(1); // 9 GB held are not more than 2·4 and the spare one
    expect(await run('b', 0, false)).toBe(1); // needs no room
    expect(await run('d', 6 * GB)).toBe(2); // 11 GB are
    expect(await run('e', 1 * GB)).toBe(2);
    expect(devices.map(({ disposed, gpuBytes }) => [disposed, gpuBytes])).toEqual([
      [1, 11 * GB],
      [0, 7 * GB],
    ]);
  });

  it('is never given up for what small pictures leave', async () => {
    const { own, devices } = bench();
    for (let i = 0; i < 100; i++) {
      await own.prepare(`${i}`);
      await own.get();
      const device = devices.at(-1);
      if (device !== undefined) device.gpuBytes += 10e6;
    }
    expect(devices).toHaveLength(1);
  });
});
