/**
 * @file One session for all blocks of a kind, each with weights of its own. Blocks whose weights do not stay on the device share two sets of
 * buffers: while blocks run, these are filled with the weights of the two that come next.
 */
import { createRoom } from '../assets/room.js';
import type { WeightFile } from '../assets/weights.js';
import { fail, throwIfAborted } from '../base/errors.js';
import { encodeModel } from '../onnx/encode.js';
import { valueBytes } from '../onnx/liveness.js';
import type { Graph, Weight } from '../onnx/types.js';
import { withoutBranches, type Branches } from './branches.js';
import { applyChanges, type Changes } from './changes.js';
import type { DeviceArray } from './device-array.js';
import { createLock, type Lock } from './lock.js';
import { openFloatLoader } from './load-floats.js';
import { arrayType, readWeights, type ReadOptions } from './read-weight.js';
import { createModel, type Arrays, type Inputs, type Model, type SessionContext, type WeightFeed } from './session.js';
import { arrayOf, drop, restore, type StoredWeight, type StoredWeights } from './stored-weights.js';

export interface BlockOptions extends ReadOptions {
  /** What the weights of each block are called in the file: this, followed by their name in the graph. In the order of the runs. */
  readonly prefixes: readonly string[];
  /** Of how many blocks the weights stay on the device, those of {@link stayingBlocks}; the others' are brought each time. Default: of all. */
  readonly resident?: number | undefined;
  /** Brings weights one block after the other, also those of other sessions that were given the same. Default: of this one alone. */
  readonly pipe?: Lock | undefined;
  readonly watch?: BlockWatch | undefined;
}

/** Hears how fast weights come and blocks run, in milliseconds of its own clock. */
export interface BlockWatch {
  readonly now: () => number;
  /** Weights of so many bytes on the device were read, converted and handed over; waiting for buffers to be free is not counted. */
  brought(bytes: number, ms: number): void;
  /**
   * A block was given to the device at `from`, and all that the device had been given was done at `to`. The first run of a session is left out, which
   * compiles its programs.
   */
  ran(from: number, to: number): void;
}

/** Sets of buffers that blocks share whose weights do not stay. */
export const SHARED_SETS = 2;

/**
 * Which of `count` blocks stay where `resident` do. The others lie between them as evenly as can be, each behind those that it is brought
 * beside: in a row there would be nothing to do while they are brought.
 */
export function stayingBlocks(count: number, resident: number): readonly boolean[] {
  const others = count - Math.min(count, resident);
  const until = (i: number): number => Math.floor((i * others) / count);
  return Array.from({ length: count }, (_, i) => until(i + 1) === until(i));
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
  readonly openBranches: OpenBranches;
}

/** The branches of a graph's packed matrices for the blocks of these prefixes, kept up to the bank's changes until they are disposed. */
export type OpenBranches = (
  graph: Graph,
  prefixes: readonly string[],
  signal: AbortSignal | undefined,
) => Promise<Branches>;

/** @throws missingWeight, invalidModelFile, incompatibleLora, runtimeFailed, outOfMemory, aborted */
export async function createBlocks(source: BlockSource, graph: Graph, options: BlockOptions): Promise<Blocks> {
  const { context } = source;
  const { prefixes, resident = prefixes.length, watch } = options;
  const stays = stayingBlocks(prefixes.length, resident);
  const own = withoutBranches(graph);
  const kept = await loadStaying(source, own, options, stays);
  const added = await source.openBranches(graph, prefixes, options.signal);
  const { bytes } = encodeModel(graph, () => 'input');
  const model = await createModel(context, { graph, bytes, externalData: [] }).catch((error: unknown) => {
    added.dispose();
    throw error;
  });
  const ring = createRing(source, own, options);
  const others = prefixes.flatMap((_, i) => (stays[i] === true ? [] : [i]));
  const report = reportRuns(context, watch);

  /** The next blocks whose weights do not stay, from `block` on, over the end to the first. */
  const upcoming = (block: number): readonly number[] => {
    const at = others.findIndex((other) => other >= block);
    const from = at < 0 ? 0 : at;
    return [...others.slice(from), ...others.slice(0, from)].slice(0, SHARED_SETS);
  };

  type InBlock = <T>(block: number, signal: AbortSignal | undefined, run: (at: Model) => Promise<T>) => Promise<T>;
  const inBlockOrder: InBlock = async (block, signal, run) => {
    throwIfAborted(signal);
    const here = kept.get(block);
    if (here !== undefined) {
      ring.prefetch(upcoming(block + 1), signal);
      return report(() => run(model.withWeights(() => ({ ...feed(here), ...added.feed(block) }))));
    }
    const ready = ring.get(block, signal);
    ring.prefetch(upcoming(block + 1), signal);
    const slot = await ready;
    try {
      return await report(() => run(model.withWeights(() => ({ ...slot.weights(), ...added.feed(block) }))));
    } finally {
      slot.used();
      ring.prefetch(upcoming(block + 1), signal);
    }
  };

  /** What a pass made of weights that did not fit is not to be used: they are looked at while its last block runs. */
  const inPass: InBlock = async (block, signal, run) => {
    const made = await inBlockOrder(block, signal, run);
    if (block === prefixes.length - 1) await ring.check();
    return made;
  };

  return {
    count: prefixes.length,
    run: (block, inputs, signal) => inPass(block, signal, (at) => at.run(inputs, signal)),
    runInto: (block, inputs, targets, signal) => inPass(block, signal, (at) => at.runInto(inputs, targets, signal)),
    async dispose() {
      await ring.dispose();
      await model.dispose();
      added.dispose();
    },
  };
}

/** The weights of the blocks that stay, by block; those of others, which stayed before, are freed. */
async function loadStaying(
  { context, stored, changes }: BlockSource,
  graph: Graph,
  options: BlockOptions,
  stays: readonly boolean[],
): Promise<ReadonlyMap<number, readonly NamedWeight[]>> {
  const { prefixes, signal, watch } = options;
  const leaving = new Set(
    prefixes.flatMap((prefix, i) => (stays[i] === true ? [] : graph.weights.map(({ name }) => prefix + name))),
  );
  for (const entry of stored.all()) if (leaving.has(entry.weight.name)) drop(entry);
  const kept = new Map<number, readonly NamedWeight[]>();
  for (const [i, prefix] of prefixes.entries()) {
    if (stays[i] !== true) continue;
    const weights = graph.weights.map((weight) => ({ name: weight.name, of: stored.of(inBlock(prefix, weight)) }));
    const all = weights.map(({ of }) => of);
    const bytes = bytesOf(all.filter(({ base }) => base === undefined));
    const start = watch?.now() ?? 0;
    await stored.loadInputs(all, options);
    if (bytes > 0) watch?.brought(bytes, watch.now() - start);
    await applyChanges(context, all, changes(), signal);
    kept.set(i, weights);
  }
  return kept;
}

/** Tells `watch` how long the device is busy with each run but the first. */
function reportRuns(
  { arrays }: SessionContext,
  watch: BlockWatch | undefined,
): <T>(run: () => Promise<T>) => Promise<T> {
  let warm = false;
  return async (run) => {
    const from = watch?.now() ?? 0;
    const result = await run();
    const done = warm && watch !== undefined ? arrays.settled() : undefined;
    done?.then(
      () => watch?.ran(from, watch.now()),
      () => undefined, // on a lost device nothing is measured
    );
    warm = true;
    return result;
  };
}

function bytesOf(weights: readonly StoredWeight[]): number {
  return weights.reduce((sum, { weight }) => sum + valueBytes(weight.value), 0);
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
  /** Begins to bring the weights of the blocks that are asked for next, in this order, into what is free and holds none of theirs. */
  prefetch(upcoming: readonly number[], signal: AbortSignal | undefined): void;
  /** Whether what was brought up to now could be held. @throws invalidModelFile for a value that does not fit into float16 */
  check(): Promise<void>;
  dispose(): Promise<void>;
}

interface Slot {
  /** Which block's weights it has, or will have, and what they are changed by. */
  block: number | undefined;
  changes: Changes;
  entries: readonly NamedWeight[];
  /** Whether a block was asked for that has not been given to the device yet. */
  taken: boolean;
  /** Settles when they are there. */
  filled: Promise<void>;
  /** Settles when the device has done with what was there before. */
  free: Promise<void>;
}

function createRing(
  { context, file, changes }: BlockSource,
  graph: Graph,
  { prefixes, pipe = createLock(), watch }: BlockOptions,
): Ring {
  const { arrays, orLost } = context;
  const slots: Slot[] = [];
  /** Of each filling, whether all values fit: known when the device has come to it, which nobody waits for. */
  const unchecked: Promise<void>[] = [];
  const now = (): number => watch?.now() ?? 0;
  const stop = new AbortController();

  /** Reads on while the device is still busy with what these buffers held; writes when it is done. */
  const fill = async (slot: Slot, block: number, signal: AbortSignal): Promise<void> => {
    throwIfAborted(signal);
    const start = now();
    let waited = 0;
    const free = async (): Promise<void> => {
      const ready = now();
      await orLost(() => slot.free);
      waited += now() - ready;
      for (const { of } of slot.entries) restore(of);
    };
    const old = new Map(slot.entries.map(({ name, of }) => [name, of]));
    const put = (name: string, of: StoredWeight, array: DeviceArray): void => {
      of.base = array;
      const before = old.get(name);
      if (before !== undefined) before.base = array; // should the next one fail, all are still known
      slot.entries = [...slot.entries.filter((entry) => entry.name !== name), { name, of }];
    };
    const entries = graph.weights.map((weight): NamedWeight & { readonly weight: Weight } => {
      const own = inBlock(prefixes[block] ?? '', weight);
      return { name: weight.name, weight: own, of: { weight: own, applied: '' } };
    });
    const floats = openFloatLoader(arrays, file, { signal }, { besideRuns: true });
    try {
      for (const { name, of, weight } of entries.filter((entry) => entry.weight.packed === undefined)) {
        const array = old.get(name)?.base;
        put(name, of, await floats.load(weight, array && { array, free }));
      }
      const packed = entries.filter(({ weight }) => weight.packed !== undefined);
      const room = arrays.openConverter && createRoom(); // on a GPU, where arrays are copies
      for await (const [{ name, of, weight }, values] of readWeights(file, packed, { signal, room })) {
        await free();
        const array = old.get(name)?.base;
        const [shape, type] = [weight.value.shape, arrayType(weight)];
        put(
          name,
          of,
          array === undefined
            ? await arrays.store(values, shape, type, weight.name)
            : await arrays.refillPieces(array, [values]),
        );
      }
      const checked = orLost(() => floats.check());
      checked.catch(() => undefined); // told at the end of a pass
      unchecked.push(checked);
    } finally {
      floats.dispose();
    }
    const all = entries.map(({ of }) => of);
    watch?.brought(bytesOf(all), now() - start - waited);
    await applyChanges(context, all, slot.changes, signal);
  };

  const holding = (block: number): Slot | undefined =>
    slots.find((slot) => slot.block === block && slot.changes === changes());

  /** Fills `slot`, or a new one where there are fewer than two. */
  const bring = (block: number, given: Slot | undefined, signal: AbortSignal | undefined): Slot => {
    const done = Promise.resolve();
    const slot = given ?? { block, changes: changes(), entries: [], taken: false, filled: done, free: done };
    if (given === undefined) slots.push(slot);
    [slot.block, slot.changes] = [block, changes()];
    const until = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
    const filled = pipe(() => fill(slot, block, until)).catch((error: unknown) => {
      if (slot.filled === filled) slot.block = undefined;
      throw error;
    });
    filled.catch(() => undefined); // told to whoever asks for the block
    slot.filled = filled;
    return slot;
  };
  const anyBut = (blocks: readonly number[]): Slot | undefined =>
    slots.find((slot) => !slot.taken && !blocks.some((block) => holding(block) === slot));

  return {
    prefetch(upcoming, signal) {
      for (const block of upcoming) {
        if (holding(block) !== undefined) continue;
        const slot = anyBut(upcoming);
        if (slot === undefined && slots.length === SHARED_SETS) return;
        bring(block, slots.length < SHARED_SETS ? undefined : slot, signal);
      }
    },
    async get(block, signal) {
      const slot = holding(block) ?? bring(block, slots.length < SHARED_SETS ? undefined : anyBut([]), signal);
      slot.taken = true;
      try {
        await slot.filled;
      } catch (error) {
        slot.taken = false;
        throw error;
      }
      return {
        weights: () => feed(slot.entries),
        used() {
          slot.taken = false;
          slot.free = arrays.settled();
          slot.free.catch(() => undefined); // told to whoever waits for it
        },
      };
    },
    async check() {
      await Promise.all(unchecked.splice(0));
    },
    async dispose() {
      stop.abort(fail('aborted', `${graph.name}: the session was freed.`));
      for (const slot of slots) {
        await slot.filled.catch(() => undefined);
        for (const { of } of slot.entries) drop(of);
      }
      slots.length = 0;
      await Promise.allSettled(unchecked);
    },
  };
}
