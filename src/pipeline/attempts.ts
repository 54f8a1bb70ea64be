/** @file Tries a task until it works or there is no other way: on another device, or with other means. Remembers how much memory there was. */
import { DarkroomError, throwIfAborted } from '../base/errors.js';
import type { FloatType } from '../base/dtype.js';
import type { Runtime } from '../runtime/runtime.js';
import { learnedMemory, otherMeans, type Means } from './means.js';
import type { OwnDevice } from './own-device.js';

/** One try of a task. */
export type Attempt<T> = (
  means: Means,
  /** Tells what it is tried with, where that is more sparing than `means`. */
  use: (chosen: Means) => Means,
) => Promise<T>;

export interface Attempts {
  /** Bytes that a request may take, where that is known: given, or learned from running out of them. */
  memory(): number | undefined;
  /** @throws what the last try threw; aborted, instead of trying again */
  run<T>(first: Means, signal: AbortSignal, attempt: Attempt<T>): Promise<T>;
}

/**
 * @param memory bytes that a request may take, if that was given
 * @param isSpent whether ONNX Runtime has ended: then no other try can work
 */
export function createAttempts(device: OwnDevice, memory: number | undefined, isSpent: () => boolean): Attempts {
  let known = memory;
  return {
    memory: () => known,
    async run(first, signal, attempt) {
      let means = first;
      for (;;) {
        try {
          throwIfAborted(signal);
          return await attempt(means, (chosen) => (means = chosen));
        } catch (error) {
          const reason = await device.reasonOf(error);
          known = learnedMemory(reason, gpuPeak(device.ready()), known);
          const used = { ...means, dtype: usable(means, device.ready()) };
          const next = isSpent() ? undefined : otherMeans(reason, used, device.isWorn());
          // What ran on a device keeps its buffers while that is open: only a new one has all its memory. So it is for the next task, after the last try.
          if (isOfDevice(reason) || next?.frugal === true) await device.forget();
          else if (next !== undefined) await device.library().free();
          if (isOfDevice(reason)) throwIfAborted(signal);
          if (next === undefined) throw reason;
          means = next;
        }
      }
    },
  };
}

/** Whether the device is of no use after a failure. */
function isOfDevice(reason: unknown): boolean {
  return reason instanceof DarkroomError && (reason.code === 'deviceLost' || reason.code === 'outOfMemory');
}

/** What a task may be computed in on a device. */
export function usable({ dtype }: Means, runtime: Runtime | undefined): FloatType {
  return dtype === 'float16' && runtime?.info.dtype !== 'float32' ? 'float16' : 'float32';
}

/** Most bytes that were on the GPU; nobody counts them on the CPU. */
function gpuPeak(runtime: Runtime | undefined): number | undefined {
  return runtime?.info.backend === 'webgpu' ? runtime.stats().peakGpuBytes : undefined;
}
