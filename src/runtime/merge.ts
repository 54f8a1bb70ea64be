/** @file Computes changed weights on the device: one small session per shape of a change, made once and released at the end. */
import type { FloatType } from '../base/dtype.js';
import { CHANGE_IO, weightChangeGraph } from '../graphs/weight-change.js';
import { encodeModel } from '../onnx/encode.js';
import type { ChangePlan } from './change-factors.js';
import { floatsOnly, toStored, type DeviceArray } from './device-array.js';
import { createModel, type Model, type SessionContext } from './session.js';

export interface Merger {
  /** Writes the changed `weight` into `target`, another array of its size. @throws runtimeFailed, outOfMemory, deviceLost */
  merge(weight: DeviceArray, target: DeviceArray, plan: ChangePlan): Promise<void>;
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
    async merge(weight, target, plan) {
      const model = await modelOf(plan, floatsOnly(weight.dtype));
      // Fed from JavaScript they would take buffers of ONNX Runtime's pool, which never shrinks.
      const factors: DeviceArray[] = [];
      try {
        const inputs: Record<string, DeviceArray> = { [CHANGE_IO.weight]: weight };
        for (const [name, { values, shape }] of Object.entries(plan.inputs)) {
          const factor = await context.arrays.store(toStored(values, plan.dtype), shape, plan.dtype, name);
          factors.push(factor);
          inputs[name] = factor;
        }
        await model.runInto(inputs, { [CHANGE_IO.changed]: target });
      } finally {
        for (const factor of factors) factor.dispose();
      }
    },
    async dispose() {
      for (const model of models.values()) await model.dispose();
      models.clear();
    },
  };
}
