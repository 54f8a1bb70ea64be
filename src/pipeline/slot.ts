/** @file Room for what is made for a key, such as a runnable graph: kept while the same is asked for, replaced and freed when another is. */

/** Owns something that must be freed. */
export interface Owned {
  dispose(): Promise<void>;
}

export interface Slot<T> {
  /** What was made for `key`, by `make` unless it is there already; the previous one is freed first. */
  get(key: string, make: () => Promise<T>): Promise<T>;
  dispose(): Promise<void>;
}

export function createSlot<T extends Owned>(): Slot<T> {
  let current: { readonly key: string; readonly made: T } | undefined;
  const clear = async (): Promise<void> => {
    const old = current;
    current = undefined;
    await old?.made.dispose();
  };
  return {
    async get(key, make) {
      if (current?.key === key) return current.made;
      await clear();
      const made = await make();
      current = { key, made };
      return made;
    },
    dispose: clear,
  };
}
