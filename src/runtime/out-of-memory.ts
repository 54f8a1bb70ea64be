/** @file Which failures are want of memory, in the words of ONNX Runtime, of the browser and of graphics drivers; and what a device says of it unasked. */
import { DarkroomError, fail } from '../base/errors.js';

/**
 * How want of memory is put, by ONNX Runtime (bfc_arena.cc, the WebGPU provider's buffer_manager.cc, wasm-core-impl.ts; its loader of external data says no
 * more of a staging buffer than the last line), by WebAssembly and the engines of JavaScript, by Chromium's createBuffer, and by drivers, whose words become
 * the reason of a loss: VK_ERROR_OUT_OF_DEVICE_MEMORY, E_OUTOFMEMORY, DXGI's 0x8007000E, kIOGPUCommandBufferCallbackErrorOutOfMemory.
 */
const WORDS: readonly RegExp[] = [
  /SafeIntOnOverflow/, // sizes of more than the 4 GiB that WebAssembly addresses
  /out[-_ ]?of[-_ ]?((device|host|pool)[-_ ])?memory|0x8007000e/i,
  /(insufficient|not enough|could not allocate) memory|bad_?alloc|cannot enlarge memory/i,
  /allocation failed|fail(ed|ure) to allocate|failed to create gpu buffer/i,
  /memory access out of bounds/i,
  /createbuffer failed, size .* is too large|exceeds the max buffer size/i,
  /unknown error occurred in memory copy/i,
];

/** Codes behind which anything may be, so that the words decide. */
const VAGUE = ['runtimeFailed', 'deviceLost', 'internalError'];

/** Whether this failure says that memory ran out: a typed error by its code, anything else by its words. */
export function isOutOfMemory(error: unknown): boolean {
  if (error instanceof DarkroomError && !VAGUE.includes(error.code)) return error.code === 'outOfMemory';
  const message = error instanceof Error ? error.message : String(error);
  return WORDS.some((words) => words.test(message));
}

/** @param what ran out, and where */
export function outOfMemory(what: string, cause: unknown): DarkroomError {
  return fail('outOfMemory', what, {
    hint: 'Use a smaller picture or a smaller model, or close other pages that use the GPU.',
    cause,
  });
}

/** The error, as `outOfMemory` where it says so in other words. */
export function asOutOfMemory(error: unknown): unknown {
  if (!isOutOfMemory(error) || (error instanceof DarkroomError && error.code === 'outOfMemory')) return error;
  return outOfMemory(error instanceof Error ? error.message : String(error), error);
}

/** What was said when memory ran out and nobody had asked. */
export interface Shortage {
  readonly message: string;
  /** Whether the device itself said so; else it was a call that fails on a lost device too. */
  readonly certain: boolean;
}

/** The first shortage of a device, if there was one: from then on, only a new device can be trusted. */
export type FindShortage = () => Shortage | undefined;

/**
 * Listens to a device. A buffer that could not be had is no exception in WebGPU: it is invalid, the device tells of it in an event, and what uses the
 * buffer fails later, with an error that does not speak of memory, or is dropped without any. Only where it was to be mapped at once, and the page has no
 * memory for that, is it an exception, which ends ONNX Runtime.
 * https://www.w3.org/TR/webgpu/#dom-gpudevice-createbuffer
 */
export function watchShortage(device: Pick<GPUDevice, 'addEventListener' | 'createBuffer'>): FindShortage {
  let found: Shortage | undefined;
  const hear = (message: string, certain: boolean): void => {
    if (found?.certain !== true) found = { message: message === '' ? 'The GPU ran out of memory.' : message, certain };
  };
  device.addEventListener('uncapturederror', ({ error }) => {
    if (isShortage(error)) hear(error.message, true);
  });
  const create = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    try {
      return create(descriptor);
    } catch (error) {
      if (error instanceof RangeError) hear(error.message, false);
      throw error;
    }
  };
  return () => found;
}

/** Whether a device said so itself: no failure that its loss could bring about. */
export function isShortage(error: unknown): boolean {
  return typeof GPUOutOfMemoryError !== 'undefined' && error instanceof GPUOutOfMemoryError;
}
