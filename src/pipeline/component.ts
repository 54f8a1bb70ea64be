/** @file One network of a model: its weights on the device, and the graph that is loaded at present. */
import type { WeightFile } from '../assets/weights.js';
import type { Graph } from '../onnx/types.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Model } from '../runtime/session.js';
import type { Progress } from './progress.js';
import { createSlot } from './slot.js';

export interface Component {
  readonly file: WeightFile;
  /** The runnable graph for `key`; reports `load` with bytes the first time and `compile` for another size. */
  load(
    key: string,
    write: () => Graph,
    run: { readonly progress: Progress; readonly signal?: AbortSignal | undefined },
  ): Promise<Model>;
  /** Frees the session and the buffers; the next `load` reads the weights again. */
  dispose(): Promise<void>;
}

export function createComponent(runtime: Runtime, file: WeightFile): Component {
  const bank = runtime.openBank(file);
  const slot = createSlot();
  let loadedOnce = false;
  return {
    file,
    load: (key, write, { progress, signal }) =>
      slot.get(key, () =>
        progress.stage(loadedOnce ? 'compile' : 'load', async () => {
          const graph = write();
          const total = weightBytes(graph, file);
          const onBytes = loadedOnce ? undefined : (count: number) => progress.bytes(count, total);
          const model = await bank.load(graph, { signal, onBytes });
          loadedOnce = true;
          return model;
        }),
      ),
    async dispose() {
      loadedOnce = false;
      await slot.dispose();
      bank.dispose();
    },
  };
}

/** Bytes in the file of the weights that a graph reads. */
function weightBytes(graph: Graph, file: WeightFile): number {
  let total = 0;
  for (const name of graph.weights.flatMap((weight) => weight.tensors)) {
    const tensor = file.find(name);
    total += tensor === undefined ? 0 : tensor.end - tensor.start;
  }
  return total;
}
