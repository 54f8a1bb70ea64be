/** @file One network of a model: its weights on the device, what changes them, and the graph that is loaded at present. */
import type { WeightFile } from '../assets/weights.js';
import type { AppliedChange } from '../assets/weight-change.js';
import type { Graph } from '../onnx/types.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Model } from '../runtime/session.js';
import type { LoadOptions } from '../runtime/weights.js';
import type { Pace } from './pace.js';
import type { Progress } from './progress.js';
import { createPendingChanges } from './pending-changes.js';
import { createSlot } from './slot.js';
import { sharedBytes } from './weight-bytes.js';

/** How loading is reported and stopped. */
export interface LoadRun {
  readonly progress: Progress;
  readonly signal?: AbortSignal | undefined;
  /** Measures blocks at work. */
  readonly pace?: Pace | undefined;
}

export interface Component {
  readonly file: WeightFile;
  /**
   * The runnable graph for `key`; reports `load` with bytes the first time and `compile` for another size.
   * @param keep outputs that `runKept` leaves on the device
   */
  load(key: string, write: () => Graph, run: LoadRun, keep?: readonly string[]): Promise<Model>;
  /** The same for graphs that make one network together: all their weights are inputs, which they share. */
  loadAll(key: string, write: () => readonly Graph[], run: LoadRun): Promise<readonly Model[]>;
  /** Runs a graph that is needed once, beside the one that is loaded, and frees it. */
  once<T>(write: () => Graph, run: LoadRun, use: (model: Model) => Promise<T>): Promise<T>;
  /** The same for graphs that make one network together, as `loadAll`; their weights stay as those of others do. */
  onceAll<T>(write: () => readonly Graph[], run: LoadRun, use: (models: readonly Model[]) => Promise<T>): Promise<T>;
  /** What changes the weights from the next `load` on, in place of whatever did before. */
  adapt(changes: readonly AppliedChange[]): void;
  /** Frees the session and the buffers; the next `load` reads the weights again. */
  dispose(): Promise<void>;
}

export function createComponent(runtime: Runtime, file: WeightFile): Component {
  const bank = runtime.openBank(file);
  const slot = createSlot<Models>();
  let loadedOnce = false;
  const changes = createPendingChanges(bank);

  const makeAll = (
    write: () => readonly Graph[],
    { progress, signal }: LoadRun,
    options: LoadOptions,
  ): Promise<readonly Model[]> =>
    progress.stage(loadedOnce ? 'compile' : 'load', async () => {
      const graphs = write();
      const total = sharedBytes(file, graphs);
      const onBytes = loadedOnce ? undefined : (count: number) => progress.bytes(count, total);
      const models: Model[] = [];
      try {
        for (const graph of graphs) models.push(await bank.load(graph, { signal, onBytes, ...options }));
      } catch (error) {
        for (const model of models) await model.dispose();
        throw error;
      }
      loadedOnce = true;
      return models;
    });
  const getAll = async (key: string, write: () => readonly Graph[], run: LoadRun, options: LoadOptions) => {
    await changes.apply(run);
    const name = `${key} ${bank.binding}${options.constants === 'input' ? ' inputs' : ''}`;
    return (await slot.get(name, async () => owned(await makeAll(write, run, options)))).models;
  };

  const onceAll = async <T>(
    write: () => readonly Graph[],
    run: LoadRun,
    options: LoadOptions,
    use: (models: readonly Model[]) => Promise<T>,
  ): Promise<T> => {
    await changes.apply(run);
    const made = owned(await makeAll(write, run, options));
    try {
      return await use(made.models);
    } finally {
      await made.dispose();
    }
  };

  return {
    file,
    load: async (key, write, run, keep) => only(await getAll(key, () => [write()], run, { keep })),
    loadAll: (key, write, run) => getAll(key, write, run, { constants: 'input' }),
    once: (write, run, use) =>
      onceAll(
        () => [write()],
        run,
        {},
        (models) => use(only(models)),
      ),
    onceAll: (write, run, use) => onceAll(write, run, { constants: 'input' }, use),
    adapt: changes.want,
    async dispose() {
      loadedOnce = false;
      await slot.dispose();
      bank.dispose();
    },
  };
}

/** What is loaded together goes together. */
interface Models {
  readonly models: readonly Model[];
  dispose(): Promise<void>;
}

function only([model]: readonly Model[]): Model {
  if (model === undefined) throw new TypeError('one graph gives one model');
  return model;
}

function owned(models: readonly Model[]): Models {
  return {
    models,
    async dispose() {
      for (const model of models) await model.dispose();
    },
  };
}
