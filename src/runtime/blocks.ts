/**
 * @file One session for all blocks of a kind, each with weights of its own. Blocks whose weights do not stay on the device share two sets of
 * buffers: while a block runs from one, the other is filled with the weights of the block that comes next.
 */
import type { WeightFile } from '../assets/weights.js';
import { fail, throwIfAborted } from '../base/errors.js';
import { encodeModel } from '../onnx/encode.js';
import type { Graph, Weight } from '../onnx/types.js';
import { applyChanges, type Changes } from './changes.js';
import type { DeviceArray } from './device-array.js';
import { arrayType, readWeights, type ReadOptions } from './read-weight.js';
import { createModel, type Arrays, type Inputs, type Model, type SessionContext, type WeightFeed } from './session.js';
import { arrayOf, restore, type StoredWeight, type StoredWeights } from './stored-weights.js';

export interface BlockOptions extends ReadOptions {
  /** What the weights of each block are called in the file: this, followed by their name in the graph. In the order of the runs. */
  readonly prefixes: readonly string[];
  /** Of how many blocks, from the first on, the weights stay on the device; the others' are brought each time. Default: of all. */
  readonly resident?: number | undefined;
}

/**
 * The blocks of a kind. Runs throw what a `Model`'s throw and, where weights are brought, what reading them does. Weights that stay belong to the
 * bank.
 */
export interface Blocks {
  readonly count: number;
  /** As `Model.run`. */
  run(block: number, inputs: Inputs, signal?: AbortSignal): Promise<Arrays>;
  /** As `Model.runInto`. */
  runInto(
    block: number,
    inputs: Inputs,
    targets: Readonly<Record<string, DeviceArray>>,
    signal?: AbortSignal,
  ): Promise<void>;
  /** Frees the session, and the buffers that blocks share. */
  dispose(): Promise<void>;
}

/** Of a bank, what blocks need. */
export interface BlockSource {
  readonly context: SessionContext;
  readonly file: WeightFile;
  readonly stored: StoredWeights;
  readonly changes: () => Changes;
}

/** @throws missingWeight, invalidModelFile, incompatibleLora, runtimeFailed, outOfMemory, aborted */
export async function createBlocks(source: BlockSource, graph: Graph, options: BlockOptions): Promise<Blocks> {
  const { context, stored, changes } = source;
  const { prefixes, resident = prefixes.length, signal } = options;
  const kept: (readonly NamedWeight[])[] = [];
  for (const prefix of prefixes.slice(0, resident)) {
    const weights = graph.weights.map((weight) => ({ name: weight.name, of: stored.of(inBlock(prefix, weight)) }));
    const all = weights.map(({ of }) => of);
    await stored.loadInputs(all, options);
    await applyChanges(context, all, changes(), signal);
    kept.push(weights);
  }
  const { bytes } = encodeModel(graph, () => 'input');
  const model = await createModel(context, { graph, bytes, externalData: [] });
  const ring = createRing(source, graph, prefixes);

  const inBlockOrder = async <T>(
    block: number,
    signal: AbortSignal | undefined,
    run: (at: Model) => Promise<T>,
  ): Promise<T> => {
    throwIfAborted(signal);
    const here = kept[block];
    const next = block + 1 < prefixes.length ? block + 1 : resident;
    if (here !== undefined) {
      if (next >= resident && next < prefixes.length) ring.prefetch(next, signal);
      return run(model.withWeights(() => feed(here)));
    }
    const slot = await ring.get(block, signal);
    if (next !== block) ring.prefetch(next, signal);
    try {
      return await run(model.withWeights(slot.weights));
    } finally {
      slot.used();
    }
  };

  return {
    count: prefixes.length,
    run: (block, inputs, signal) => inBlockOrder(block, signal, (at) => at.run(inputs, signal)),
    runInto: (block, inputs, targets, signal) =>
      inBlockOrder(block, signal, (at) => at.runInto(inputs, targets, signal)),
    async dispose() {
      await ring.dispose();
      await model.dispose();
    },
  };
}

/** A weight on the device, by its name in the graph. */
interface NamedWeight {
  readonly name: string;
  readonly of: StoredWeight;
}

function feed(weights: readonly NamedWeight[]): Record<string, DeviceArray> {
  return Object.fromEntries(weights.map(({ name, of }) => [name, arrayOf(of)]));
}

/** The graph's weight, named as that of one block. */
function inBlock(prefix: string, weight: Weight): Weight {
  return { ...weight, name: prefix + weight.name, tensors: weight.tensors.map((tensor) => prefix + tensor) };
}

/** Two sets of buffers, which blocks use in turn. */
interface Ring {
  /** The weights of a block, when they are there. Whoever asks says when a run with them has been begun. */
  get(
    block: number,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly weights: WeightFeed; readonly used: () => void }>;
  /** Begins to bring the weights of a block that is asked for next, over those of the block that was asked for before the last. */
  prefetch(block: number, signal: AbortSignal | undefined): void;
  dispose(): Promise<void>;
}

interface Slot {
  /** Which block's weights it has, or will have, and what they are changed by. */
  block: number | undefined;
  changes: Changes;
  entries: readonly NamedWeight[];
  /** Settles when they are there. */
  filled: Promise<void>;
  /** Settles when the device has done with what was there before. */
  free: Promise<void>;
}

function createRing({ context, file, changes }: BlockSource, graph: Graph, prefixes: readonly string[]): Ring {
  const { arrays, orLost } = context;
  const slots: Slot[] = [];
  const stop = new AbortController();

  /** Reads on while the device is still busy with what these buffers held; writes when it is done. */
  const fill = async (slot: Slot, block: number, signal: AbortSignal): Promise<void> => {
    const prefix = prefixes[block] ?? '';
    const old = new Map(slot.entries.map(({ name, of }) => [name, of]));
    const entries = graph.weights.map((weight): NamedWeight & { readonly weight: Weight } => {
      const own = inBlock(prefix, weight);
      return { name: weight.name, weight: own, of: { weight: own, applied: '' } };
    });
    for await (const [{ name, of, weight }, values] of readWeights(file, entries, { signal })) {
      await orLost(() => slot.free);
      const before = old.get(name);
      if (before !== undefined) restore(before);
      of.base =
        before?.base === undefined
          ? await arrays.store(values, weight.value.shape, arrayType(weight), weight.name)
          : await arrays.refill(before.base, values);
      if (before !== undefined) before.base = of.base; // should the next one fail, all are still known
      slot.entries = [...slot.entries.filter((entry) => entry.name !== name), { name, of }];
    }
    await applyChanges(
      context,
      entries.map(({ of }) => of),
      slot.changes,
      signal,
    );
  };

  const start = (block: number, signal: AbortSignal | undefined): Slot => {
    const wanted = changes();
    const known = slots.find((slot) => slot.block === block && slot.changes === wanted);
    if (known !== undefined) return known;
    const [oldest] = slots.length < 2 ? [] : slots;
    const done = Promise.resolve();
    const slot = oldest ?? { block, changes: wanted, entries: [], filled: done, free: done };
    const before = slot.filled;
    [slot.block, slot.changes] = [block, wanted];
    slot.filled = before
      .catch(() => undefined)
      .then(() => fill(slot, block, signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal])))
      .catch((error: unknown) => {
        slot.block = undefined;
        throw error;
      });
    slot.filled.catch(() => undefined); // told to whoever asks for the block
    slots.splice(0, slots.length, ...slots.filter((other) => other !== slot), slot);
    return slot;
  };

  return {
    prefetch: (block, signal) => void start(block, signal),
    async get(block, signal) {
      const slot = start(block, signal);
      slots.splice(0, slots.length, ...slots.filter((other) => other !== slot), slot); // the next to go is the other one
      await slot.filled;
      if (slot.block !== block)
        throw fail('internalError', `${graph.name}: the weights of block ${block} were replaced.`);
      return {
        weights: () => feed(slot.entries),
        used() {
          slot.free = arrays.settled();
          slot.free.catch(() => undefined); // told to whoever waits for it
        },
      };
    },
    async dispose() {
      stop.abort(fail('aborted', `${graph.name}: the session was freed.`));
      for (const slot of slots) {
        await slot.filled.catch(() => undefined);
        for (const { of } of slot.entries) {
          restore(of);
          of.base?.dispose();
          of.base = undefined;
        }
      }
      slots.length = 0;
    },
  };
}
