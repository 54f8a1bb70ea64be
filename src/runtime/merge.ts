/** @file Computes changed weights on the device: one small session per shape of a change, made once and released at the end. */
import type { FloatType } from '../base/dtype.js';
import { CHANGE_IO, weightChangeGraph } from '../graphs/weight-change.js';
import { encodeModel } from '../onnx/encode.js';
import type { ChangePlan } from './change-factors.js';
import {
  floatsOnly,
  toStored,
  type ArrayStore,
  type ArrayType,
  type DeviceArray,
  type StoredFloats,
} from './device-array.js';
import { createModel, type Model, type SessionContext } from './session.js';

/** A change that can be merged: its factors on the device, and the array that the changed weight is written into. */
export interface ReadyChange {
  readonly plan: ChangePlan;
  /** By the names of the graph's inputs. */
  readonly factors: Readonly<Record<string, DeviceArray>>;
  readonly target: DeviceArray;
}

export interface Merger {
  /** Writes the changed `weight` into the target, another array of its size. @throws runtimeFailed, outOfMemory, deviceLost */
  merge(weight: DeviceArray, change: ReadyChange): Promise<void>;
  dispose(): Promise<void>;
}

export function createMerger(context: SessionContext): Merger {
  const models = new Map<string, Model>();

  const modelOf = async ({ size, changes }: ChangePlan, dtype: FloatType): Promise<Model> => {
    const key = JSON.stringify([size, changes, dtype]);
    const existing = models.get(key);
    if (existing !== undefined) return existing;
    const graph = weightChangeGraph(size, changes, dtype);
    const { bytes } = encodeModel(graph, () => 'input');
    const model = await createModel(context, { graph, bytes, externalData: [] });
    models.set(key, model);
    return model;
  };

  return {
    async merge(weight, { plan, factors, target }) {
      const model = await modelOf(plan, floatsOnly(weight.dtype));
      await model.runInto({ [CHANGE_IO.weight]: weight, ...factors }, { [CHANGE_IO.changed]: target });
    },
    async dispose() {
      for (const model of models.values()) await model.dispose();
      models.clear();
    },
  };
}

/** Arrays for factors, which later changes use again: weights of a few shapes have most of all changes. */
export interface FactorArrays {
  /** @throws outOfMemory */
  take(values: StoredFloats, shape: readonly number[], dtype: FloatType, label: string): Promise<DeviceArray>;
  /** When runs with it were begun. */
  giveBack(array: DeviceArray): void;
  /** Frees those that were given back. */
  dispose(): void;
}

export function createFactorArrays(arrays: ArrayStore): FactorArrays {
  const free = new Map<string, DeviceArray[]>();
  const keyOf = (shape: readonly number[], dtype: ArrayType): string => `${dtype} ${shape.join()}`;
  return {
    take(values, shape, dtype, label) {
      const array = free.get(keyOf(shape, dtype))?.pop();
      return array === undefined ? arrays.store(values, shape, dtype, label) : arrays.refill(array, values);
    },
    giveBack(array) {
      const key = keyOf(array.shape, array.dtype);
      free.set(key, [...(free.get(key) ?? []), array]);
    },
    dispose() {
      for (const array of [...free.values()].flat()) array.dispose();
      free.clear();
    },
  };
}

/**
 * Puts the factors on the device, and makes a target like `weight` where there is none; all at once, since each answer of the GPU's process takes its
 * time. Fed from JavaScript the factors would take buffers of ONNX Runtime's pool, which never shrinks.
 * @throws outOfMemory
 */
export async function readyChange(
  arrays: ArrayStore,
  factorArrays: FactorArrays,
  plan: ChangePlan,
  { shape, dtype }: DeviceArray,
  given: DeviceArray | undefined,
  label: string,
): Promise<ReadyChange> {
  const names = Object.keys(plan.inputs);
  const [target, ...factors] = await allOrNone([
    given === undefined ? arrays.zeros(shape, dtype, label) : Promise.resolve(given),
    ...Object.entries(plan.inputs).map(([name, input]) =>
      factorArrays.take(toStored(input.values, plan.dtype), input.shape, plan.dtype, name),
    ),
  ]);
  if (target === undefined) throw new TypeError('one array for each that was asked for');
  return { plan, target, factors: Object.fromEntries(factors.map((factor, i) => [names[i] ?? '', factor])) };
}

/** All of them; where one cannot be had, the others are freed. */
async function allOrNone(wanted: readonly Promise<DeviceArray>[]): Promise<readonly DeviceArray[]> {
  const settled = await Promise.allSettled(wanted);
  const made = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const failed = settled.find((one) => one.status === 'rejected');
  if (failed === undefined) return made;
  for (const array of made) array.dispose();
  throw failed.reason;
}
