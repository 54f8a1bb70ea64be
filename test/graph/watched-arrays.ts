/** @file A runtime that counts the arrays made on it, and that can run out of them. */
import type { DeviceArray } from '../../src/runtime/device-array.js';
import type { Runtime } from '../../src/runtime/runtime.js';

/** Counts arrays and their bytes; the `failsAt`-th cannot be had. */
export function watchArrays(inner: Runtime, failsAt = Infinity) {
  const alive = new Map<DeviceArray, number>();
  let made = 0;
  let most = 0;
  const sum = (): number => [...alive.values()].reduce((a, b) => a + b, 0);
  const watch = async (shape: readonly number[], make: () => Promise<DeviceArray>): Promise<DeviceArray> => {
    if (made + 1 === failsAt) throw new Error('no more');
    made++;
    const array = await make();
    const watched: DeviceArray = {
      ...array,
      dispose() {
        alive.delete(watched);
        array.dispose();
      },
    };
    alive.set(watched, 4 * shape.reduce((a, b) => a * b, 1));
    most = Math.max(most, sum());
    return watched;
  };
  const counting: Runtime = {
    ...inner,
    zeros: (shape, dtype) => watch(shape, () => inner.zeros(shape, dtype)),
    upload: (values, shape, dtype) => watch(shape, () => inner.upload(values, shape, dtype)),
  };
  return { runtime: counting, made: () => made, alive: () => alive.size, mostBytes: () => most };
}
