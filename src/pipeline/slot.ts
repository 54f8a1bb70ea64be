/** @file Room for one runnable graph: kept while the same is asked for, replaced and freed when another is. */
import type { Model } from '../runtime/session.js';

export interface Slot {
  /** The model for `key`, made by `make` unless it is there already; the previous one is freed first. */
  get(key: string, make: () => Promise<Model>): Promise<Model>;
  dispose(): Promise<void>;
}

export function createSlot(): Slot {
  let current: { readonly key: string; readonly model: Model } | undefined;
  const clear = async (): Promise<void> => {
    const old = current;
    current = undefined;
    await old?.model.dispose();
  };
  return {
    async get(key, make) {
      if (current?.key === key) return current.model;
      await clear();
      const model = await make();
      current = { key, model };
      return model;
    },
    dispose: clear,
  };
}
