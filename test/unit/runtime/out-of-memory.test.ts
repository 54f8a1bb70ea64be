/** @file Want of memory: told from other failures by its words, and heard of where a device tells it to nobody. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { fail } from '../../../src/base/errors.js';
import { asOutOfMemory, isOutOfMemory, isShortage, watchShortage } from '../../../src/runtime/out-of-memory.js';

/** As seen: of onnxruntime-web 1.31 on the CPU and on WebGPU, Chromium 156, Node 20; of drivers, as they are documented. */
const WORDS = [
  'failed to call OrtRun(). ERROR_CODE: 6, ERROR_MESSAGE: std::bad_alloc',
  'failed to call OrtRun(). ERROR_CODE: 1, ERROR_MESSAGE: …/safeint.h:17 static void SafeIntExceptionHandler<…>::SafeIntOnOverflow() Integer overflow',
  "Can't create a session. failed to allocate a buffer of size 270123.",
  "Can't create a session. ERROR_CODE: 1, ERROR_MESSAGE: Unknown error occurred in memory copy.",
  'Failed to allocate memory for requested buffer of size 4294967296',
  'Failed to create GPU buffer: size=4294967296',
  'Array buffer allocation failed',
  'memory access out of bounds',
  "Failed to execute 'createBuffer' on 'GPUDevice': createBuffer failed, size (2304) is too large for the implementation when mappedAtCreation == true",
  'Buffer size (4294967296) exceeds the max buffer size limit (2147483648).',
  'vkAllocateMemory failed with VK_ERROR_OUT_OF_DEVICE_MEMORY',
  'ID3D12Device::CreateCommittedResource failed with E_OUTOFMEMORY (0x8007000E)',
  'Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)',
];
const OTHERS = [
  'WebGPU validation failed. [Invalid Buffer (unlabeled)] is invalid due to a previous error.',
  'unreachable',
  'A valid external Instance reference no longer exists.',
  'Device was destroyed.',
  'Failed to download data from buffer. wgpu::MapAsyncStatus value: 2',
];

describe('want of memory', () => {
  it.each(WORDS)('is meant by: %s', (words) => {
    expect(isOutOfMemory(new Error(words))).toBe(true);
    expect(isOutOfMemory(fail('runtimeFailed', `unet: the run failed: ${words}`))).toBe(true);
    const cause = fail('deviceLost', words);
    expect(asOutOfMemory(cause)).toMatchObject({ code: 'outOfMemory', message: words, cause });
  });

  it.each(OTHERS)('is not meant by: %s', (words) => {
    const error = new Error(words);
    expect(isOutOfMemory(error)).toBe(false);
    expect(asOutOfMemory(error)).toBe(error);
  });

  it('is told by a clear code, whatever the words', () => {
    expect(isOutOfMemory(fail('storageFull', 'The disk is out of memory.'))).toBe(false);
    const full = fail('outOfMemory', 'weight: a buffer of 16 bytes could not be made.');
    expect(isOutOfMemory(full)).toBe(true);
    expect(asOutOfMemory(full)).toBe(full);
  });
});

describe('a device that is watched', () => {
  class ShortageError {
    constructor(readonly message: string) {}
  }
  afterEach(() => vi.unstubAllGlobals());

  /** Of a device, what is watched. */
  function watched(create: () => GPUBuffer = () => ({}) as GPUBuffer) {
    const events = new EventTarget();
    const device = { addEventListener: events.addEventListener.bind(events), createBuffer: vi.fn(create) };
    const found = watchShortage(device); // nothing else of it is used
    const tell = (error: unknown): void =>
      void events.dispatchEvent(Object.assign(new Event('uncapturederror'), { error }));
    return { device, found, tell };
  }

  it('is short of memory from the first error of that kind on', () => {
    vi.stubGlobal('GPUOutOfMemoryError', ShortageError);
    const { found, tell } = watched();
    tell({ message: 'a validation error' });
    expect(found()).toBeUndefined();
    tell(new ShortageError(''));
    tell(new ShortageError('another'));
    expect(found()).toEqual({ message: 'The GPU ran out of memory.', certain: true });
    expect([isShortage(new ShortageError('x')), isShortage(new Error('x'))]).toEqual([true, false]);
  });

  it('may be short of memory where it refuses a buffer, until it says so itself', () => {
    vi.stubGlobal('GPUOutOfMemoryError', ShortageError);
    const refusal = new RangeError('createBuffer failed, size (16) is too large');
    const { device, found, tell } = watched(() => {
      throw refusal;
    });
    expect(() => device.createBuffer()).toThrow(refusal);
    expect(found()).toEqual({ message: refusal.message, certain: false });
    tell(new ShortageError('Not enough memory left.'));
    expect(found()).toEqual({ message: 'Not enough memory left.', certain: true });
  });

  it('is what it was for who makes buffers, where browsers have no such error', () => {
    const buffer = {} as GPUBuffer;
    const wrong = new TypeError('no descriptor');
    const { device, found, tell } = watched(() => buffer);
    expect(device.createBuffer()).toBe(buffer);
    tell(new ShortageError('a name that nobody knows'));
    const broken = watched(() => {
      throw wrong;
    });
    expect(() => broken.device.createBuffer()).toThrow(wrong);
    expect([found(), broken.found(), isShortage(new Error('x'))]).toEqual([undefined, undefined, false]);
  });
});
