/** @file The weights of one network: read once, bound to sessions as inputs or constants, and changed without being read again. */
import type { AppliedChange } from '../assets/weight-change.js';
import type { WeightFile } from '../assets/weights.js';
import { fail, throwIfAborted } from '../base/errors.js';
import { encodeModel } from '../onnx/encode.js';
import type { Graph, Weight } from '../onnx/types.js';
import { createBlocks, type BlockOptions, type Blocks, type OpenBranches } from './blocks.js';
import { createBranches, type Branches } from './branches.js';
import { applyChanges, groupChanges, type Changes } from './changes.js';
import type { DeviceArray } from './device-array.js';
import { createLock } from './lock.js';
import type { ReadOptions } from './read-weight.js';
import { createModel, type Model, type SessionContext, type SessionParts } from './session.js';
import { arrayOf, createStoredWeights, restore } from './stored-weights.js';

export interface LoadOptions extends ReadOptions {
  /** Outputs that `runKept` leaves on the device. */
  readonly keep?: readonly string[] | undefined;
  /**
   * `input`: weights that would be constants of the session are inputs too, in arrays that graphs share: for graphs that run a few times and
   * have kernels in common. Default `session`.
   */
  readonly constants?: 'session' | 'input' | undefined;
}

/**
 * The weights of one component, shared by all its graphs (other sizes, other batches). Owns their arrays on the device. A weight that is
 * changed has a second one; the first stays as it was read.
 */
export interface WeightBank {
  /** Models that were loaded under another binding must be loaded again: weights that they hold as constants may change. */
  readonly binding: string;
  /** @throws missingWeight, invalidModelFile, incompatibleLora, runtimeFailed, outOfMemory, aborted */
  load(graph: Graph, options?: LoadOptions): Promise<Model>;
  /** One session of `graph` for many blocks, each with weights of its own. @throws as `load` */
  loadBlocks(graph: Graph, options: BlockOptions): Promise<Blocks>;
  /**
   * Replaces all changes by these. Models of this bank, loaded before or after, then run with W + Σ strength·scale·Δ; of matrices of few bits
   * only those whose graph has branches of that rank. Only weights whose changes differ are computed; `[]` gives the weights of the file bit for bit. Where it throws, nothing is changed any more; or, if a
   * change names a weight that the file does not have, all is as before. Weights that are not loaded yet are changed by `load`.
   * @throws incompatibleLora, invalidModelFile, runtimeFailed, outOfMemory, aborted
   */
  adapt(changes: readonly AppliedChange[], options?: Pick<LoadOptions, 'signal'>): Promise<void>;
  /** Frees the arrays; models loaded from this bank must be disposed before. The changes stay asked for. */
  dispose(): void;
}

/** How a backend binds weights. */
export interface BankPolicy {
  /** Whether a weight is a constant of sessions until it is first changed; else it is an input. */
  constant(weight: Weight): boolean;
  /** Constants are handed over as Blobs, which ONNX Runtime reads one after the other; else as bytes. */
  readonly streams: boolean;
  /** Really frees the constants of released sessions. */
  flush(): Promise<void>;
}

/** A bank of `file`'s weights; nothing is read yet. */
export function createBank(context: SessionContext, file: WeightFile, policy: BankPolicy): WeightBank {
  const stored = createStoredWeights(context.arrays, file);
  /** Tensors that were changed once: inputs from then on, so that the next change needs no new session. */
  const editable = new Set<string>();
  /** Of all sessions that are there. */
  const branches = new Set<Branches>();
  const inTurn = createLock();
  let wanted: Changes = new Map();
  let version = 0;
  let flushed = 0;

  const isInput = (weight: Weight): boolean =>
    !policy.constant(weight) || weight.branch !== undefined || isChanged(weight, editable);

  const openBranches: OpenBranches = async (graph, prefixes, signal) => {
    const made = createBranches(context.arrays, graph, prefixes);
    const dispose = (): void => {
      branches.delete(made);
      made.dispose();
    };
    try {
      await made.update(wanted, signal);
    } catch (error) {
      dispose();
      throw error;
    }
    branches.add(made);
    return { ...made, dispose };
  };

  const load = async (graph: Graph, options: LoadOptions): Promise<Model> => {
    if (flushed !== version) await policy.flush(); // sessions of the former binding are released by now
    flushed = version;
    const shared = options.constants === 'input';
    const encoded = encodeModel(graph, (weight) => (shared || isInput(weight) ? 'input' : 'initializer'));
    const inputs = encoded.inputWeights
      .filter(({ branch }) => branch === undefined)
      .map((weight) => ({ name: weight.name, of: stored.of(weight) }));
    await stored.loadInputs(
      inputs.map((input) => input.of),
      options,
    );
    const data = await stored.loadConstants(
      encoded.initializers.map(({ weight }) => stored.of(weight)),
      options,
    );
    const constants = encoded.initializers.map(({ path }, i): Constant => ({
      path,
      data: data[i] ?? new Uint8Array(),
    }));
    await applyChanges(
      context,
      inputs.map((input) => input.of),
      wanted,
      options.signal,
    );
    const added = await openBranches(graph, [''], options.signal);
    const weights = (): Record<string, DeviceArray> => {
      const changed = encoded.initializers.find(({ weight }) => isChanged(weight, wanted));
      if (changed !== undefined)
        throw fail('internalError', `${graph.name}: "${changed.weight.name}" has changed since it was loaded.`);
      return { ...Object.fromEntries(inputs.map((input) => [input.name, arrayOf(input.of)])), ...added.feed(0) };
    };
    try {
      const externalData = policy.streams ? constants : await Promise.all(constants.map(readAll));
      const parts = { graph, bytes: encoded.bytes, externalData, weights, keep: options.keep };
      return disposing(await createModel(context, parts), added);
    } catch (error) {
      added.dispose();
      throw error;
    } finally {
      stored.makeRoom();
    }
  };

  const adapt = async (asked: readonly AppliedChange[], signal: AbortSignal | undefined): Promise<void> => {
    const next = groupChanges(file, asked);
    throwIfAborted(signal);
    const known = stored.all();
    // Of what sessions hold as constants; those in arrays are inputs already.
    const rebinds = (weight: Weight): boolean =>
      isChanged(weight, next) && weight.tensors.some((name) => next.has(name) && !editable.has(name));
    if (known.some(({ weight, base }) => base === undefined && rebinds(weight))) version++;
    for (const name of next.keys()) editable.add(name);
    try {
      await applyChanges(context, known, next, signal);
      await context.lock(async () => {
        for (const added of branches) await added.update(next, signal);
      });
      wanted = next;
    } catch (error) {
      known.forEach(restore);
      for (const added of branches) added.reset();
      wanted = new Map();
      throw error;
    }
  };

  return {
    get binding() {
      return String(version);
    },
    load: (graph, options = {}) => inTurn(() => load(graph, options)),
    loadBlocks: (graph, options) =>
      inTurn(() => createBlocks({ context, file, stored, changes: () => wanted, openBranches }, graph, options)),
    adapt: (changes, { signal } = {}) => inTurn(() => adapt(changes, signal)),
    dispose() {
      stored.dispose();
      editable.clear();
      for (const name of wanted.keys()) editable.add(name);
    },
  };
}

/** Whether the numbers of a weight are changed: those of a packed matrix are not, but something is added beside it. */
function isChanged({ packed, tensors }: Weight, by: { has(tensor: string): boolean }): boolean {
  return packed === undefined && tensors.some((name) => by.has(name));
}

/** With the session goes what was made for it. */
function disposing(model: Model, added: Branches): Model {
  return {
    ...model,
    async dispose() {
      await model.dispose();
      added.dispose();
    },
  };
}

type Constant = SessionParts['externalData'][number];

async function readAll({ path, data }: Constant): Promise<Constant> {
  return { path, data: data instanceof Blob ? new Uint8Array(await data.arrayBuffer()) : data };
}
