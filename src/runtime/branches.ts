/**
 * @file What LoRAs add to matrices of few bits, which are not changed themselves: factors of low rank beside them, as inputs of the graph. They are
 * small and stay on the device, also those of blocks whose weights take turns.
 */
import { productRank, type AppliedChange } from '../assets/weight-change.js';
import type { FloatType } from '../base/dtype.js';
import { fail } from '../base/errors.js';
import type { BranchSide, Graph, Weight } from '../onnx/types.js';
import { readBranch } from './change-factors.js';
import { nameOf, type Changes } from './changes.js';
import { toStored, type ArrayStore, type DeviceArray } from './device-array.js';
import { weightType } from './read-weight.js';

/** The factors of one graph, for each of the blocks that it is run for. Belong to whoever made the graph's session. */
export interface Branches {
  /** What the graph is fed for a block. @throws internalError where a packed matrix is changed by more than the graph has room for */
  feed(block: number): Readonly<Record<string, DeviceArray>>;
  /**
   * Brings them up to `changes`; what has the right ones is not touched. To be called once before the first run.
   * @throws incompatibleLora, invalidModelFile, outOfMemory, aborted; see {@link reset}
   */
  update(changes: Changes, signal?: AbortSignal): Promise<void>;
  /** As without changes. */
  reset(): void;
  dispose(): void;
}

/** A packed matrix of one block. */
interface Entry {
  readonly tensor: string;
  /** Absent: it can have no changes. */
  readonly room: Room | undefined;
  factors: Readonly<Record<BranchSide, DeviceArray>> | undefined;
  /** Which changes it is to have, and has where there is room. */
  applied: string;
}

/** The inputs that a graph has for a matrix. */
interface Room {
  readonly weights: Readonly<Record<BranchSide, Weight>>;
  readonly rank: number;
  readonly dtype: FloatType;
}

/** @param prefixes of the blocks; `['']` for a graph that is not one of blocks */
export function createBranches(arrays: ArrayStore, graph: Graph, prefixes: readonly string[]): Branches {
  const rooms = roomsOf(graph);
  const blocks = prefixes.map((prefix) =>
    [...rooms].map(([name, room]): Entry => ({ tensor: prefix + name, room, factors: undefined, applied: '' })),
  );
  /** By shape, for all that have no changes. */
  const zeros = new Map<string, DeviceArray>();

  const makeZeros = async (): Promise<void> => {
    for (const weight of graph.weights.filter(({ branch }) => branch !== undefined)) {
      const { shape } = weight.value;
      if (!zeros.has(shape.join())) zeros.set(shape.join(), await arrays.zeros(shape, weightType(weight), weight.name));
    }
  };
  const clear = (entry: Entry): void => {
    entry.factors?.left.dispose();
    entry.factors?.right.dispose();
    [entry.factors, entry.applied] = [undefined, ''];
  };
  const change = async (entry: Entry, wanted: readonly AppliedChange[], signal?: AbortSignal): Promise<void> => {
    clear(entry);
    const { tensor, room } = entry;
    if (wanted.length > 0 && room !== undefined && fits(wanted, room.rank))
      entry.factors = await storeFactors(arrays, tensor, room, wanted, signal);
    entry.applied = nameOf(wanted);
  };
  const feedEntry = ({ tensor, room, factors, applied }: Entry): readonly (readonly [string, DeviceArray])[] => {
    if (applied !== '' && factors === undefined)
      throw fail('internalError', `${graph.name}: has no room for the changes of "${tensor}", a matrix of few bits.`);
    if (room === undefined) return [];
    return SIDES.flatMap((side) => {
      const { name, value } = room.weights[side];
      const array = factors?.[side] ?? zeros.get(value.shape.join());
      return array === undefined ? [] : [[name, array] as const];
    });
  };
  const reset = (): void => blocks.flat().forEach(clear);

  return {
    feed: (block) => Object.fromEntries((blocks[block] ?? []).flatMap(feedEntry)),
    async update(changes, signal) {
      await makeZeros();
      for (const entry of blocks.flat()) {
        const wanted = changes.get(entry.tensor) ?? [];
        if (nameOf(wanted) !== entry.applied) await change(entry, wanted, signal);
      }
    },
    reset,
    dispose() {
      reset();
      for (const array of zeros.values()) array.dispose();
      zeros.clear();
    },
  };
}

const SIDES = ['left', 'right'] as const satisfies readonly BranchSide[];

/** The graph with those of its weights alone that are in the file. */
export function withoutBranches(graph: Graph): Graph {
  return { ...graph, weights: graph.weights.filter(({ branch }) => branch === undefined) };
}

/** The packed matrices of a graph, by their names. */
function roomsOf({ weights }: Graph): ReadonlyMap<string, Room | undefined> {
  const factors = new Map(weights.flatMap((w) => (w.branch === undefined ? [] : [[w.name, w] as const])));
  const packed = weights.flatMap(({ packed: part, tensors: [name = ''] }) => (part?.part === 'codes' ? [name] : []));
  return new Map(
    packed.map((name) => {
      const [left, right] = [factors.get(`${name}:left`), factors.get(`${name}:right`)];
      if (left === undefined || right === undefined) return [name, undefined];
      return [name, { weights: { left, right }, rank: right.value.shape[0] ?? 0, dtype: weightType(left) }];
    }),
  );
}

function fits(wanted: readonly AppliedChange[], rank: number): boolean {
  return (productRank(wanted) ?? Infinity) <= rank;
}

async function storeFactors(
  arrays: ArrayStore,
  tensor: string,
  { weights, rank, dtype }: Room,
  wanted: readonly AppliedChange[],
  signal?: AbortSignal,
): Promise<Readonly<Record<BranchSide, DeviceArray>>> {
  const size = { rows: weights.left.value.shape[0] ?? 0, columns: weights.right.value.shape[1] ?? 0 };
  const read = await readBranch(tensor, size, wanted, { rank, dtype }, signal);
  const store = (side: BranchSide): Promise<DeviceArray> =>
    arrays.store(toStored(read[side].values, dtype), read[side].shape, dtype, `${tensor}:${side}`);
  const left = await store('left');
  try {
    return { left, right: await store('right') };
  } catch (error) {
    left.dispose();
    throw error;
  }
}
