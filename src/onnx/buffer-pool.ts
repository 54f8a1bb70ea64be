/**
 * @file The provider's pool of GPU buffers across runs. It belongs to the device, not to a session: what the largest run took stays, and
 * only buffers of exactly the same size are used again. Pure: a pool is data, and a run gives a new one.
 */
import {
  bufferBytes,
  dispatchCount,
  executionOrder,
  planBuffers,
  temporaryBytes,
  valueBytes,
  type RunBinding,
} from './liveness.js';
import type { Graph, NamedValue } from './types.js';

/** Buffers that ONNX Runtime holds on a device, by size. */
export interface BufferPool {
  /** Size → how many can be taken at once. */
  readonly free: ReadonlyMap<number, number>;
  /** Size → how many were given back since the last submit; they can be taken after the next one. */
  readonly pending: ReadonlyMap<number, number>;
  /** All buffers, taken or not. */
  readonly bytes: number;
}

export const EMPTY_POOL: BufferPool = { free: new Map(), pending: new Map(), bytes: 0 };

/** What a run leaves behind, and the most it needed: buffers of the pool and one staging copy of an input or output. */
export interface PooledRun {
  readonly pool: BufferPool;
  readonly peakBytes: number;
}

/** ONNX Runtime submits after so many dispatches (`maxNumPendingDispatches`), with each upload and readback, and at the end of a run. */
const DISPATCHES_PER_SUBMIT = 16;

/**
 * One run of `graph` on `pool`. Order, as traced: buffers for all inputs; an upload of each; the nodes; a readback of each output; a submit; then inputs
 * and outputs are given back. A buffer that was given back is not used again before the next submit.
 */
export function runOnPool(before: BufferPool, graph: Graph, binding: RunBinding = {}): PooledRun {
  return planRun(graph, binding)(before);
}

/** {@link runOnPool} of a graph that is run many times: what does not depend on the pool is found out once. */
export function planRun(graph: Graph, binding: RunBinding = {}): (before: BufferPool) => PooledRun {
  const buffers = planBuffers(graph, binding);
  const onDevice = ({ name }: NamedValue): boolean => binding.onDevice?.has(name) === true;
  const staged = (values: readonly NamedValue[]): readonly number[] =>
    values.flatMap((value) => (onDevice(value) ? [] : [bufferBytes(valueBytes(value.value))]));
  const [uploads, readbacks] = [staged(graph.inputs), staged(graph.outputs)];
  const end = graph.nodes.length;
  const starting = groupBy(buffers, ({ from }) => from);
  const ending = groupBy(buffers, ({ to }) => to);
  const nodes = executionOrder(graph).map((node, at) => ({
    taken: (starting.get(at) ?? []).filter(({ kept }) => !(kept && binding.given)),
    own: temporaryBytes(node, binding),
    dispatches: dispatchCount(node, binding),
    given: ending.get(at) ?? [],
  }));

  return (before) => {
    const pool = openPool(before);
    for (const { bytes } of starting.get(-1) ?? []) pool.take(bytes);
    for (const bytes of uploads) pool.stage(bytes);
    for (const { taken, own, dispatches, given } of nodes) {
      for (const { bytes } of taken) pool.take(bytes);
      for (const bytes of own) pool.take(bytes);
      pool.dispatch(dispatches);
      for (const bytes of own) pool.giveBack(bytes);
      for (const { bytes } of given) pool.giveBack(bytes);
    }
    for (const bytes of readbacks) pool.stage(bytes);
    if (readbacks.length === 0) pool.submit();
    for (const { bytes, kept } of ending.get(end) ?? []) if (!kept) pool.giveBack(bytes);
    return pool.close();
  };
}

/** The pool when the outputs that a run of `graph` left on the device are disposed. */
export function giveBack(pool: BufferPool, graph: Graph, binding: RunBinding): BufferPool {
  if (binding.given === true) return pool; // they are not the pool's
  const pending = new Map(pool.pending);
  for (const { bytes, kept } of planBuffers(graph, binding)) if (kept) add(pending, bytes, 1);
  return { ...pool, pending };
}

/** A pool in use: a working copy. */
interface OpenPool {
  take(bytes: number): void;
  giveBack(bytes: number): void;
  dispatch(count: number): void;
  /** What was given back can be taken from now on. */
  submit(): void;
  /** A copy through a mapped buffer, which is there until the submit that comes with it. */
  stage(bytes: number): void;
  close(): PooledRun;
}

function openPool(before: BufferPool): OpenPool {
  const free = new Map(before.free);
  const pending = new Map(before.pending);
  let { bytes: total } = before;
  let peakBytes = total;
  let dispatches = 0;
  const submit = (): void => {
    dispatches = 0;
    for (const [size, count] of pending) add(free, size, count);
    pending.clear();
  };
  return {
    submit,
    take(bytes) {
      if ((free.get(bytes) ?? 0) > 0) return add(free, bytes, -1);
      total += bytes;
      peakBytes = Math.max(peakBytes, total);
    },
    giveBack: (bytes) => add(pending, bytes, 1),
    dispatch(count) {
      for (let i = 0; i < count; i++) if (++dispatches === DISPATCHES_PER_SUBMIT) submit();
    },
    stage(bytes) {
      peakBytes = Math.max(peakBytes, total + bytes);
      submit();
    },
    close: () => ({ pool: { free, pending, bytes: total }, peakBytes }),
  };
}

function add(counts: Map<number, number>, size: number, count: number): void {
  counts.set(size, (counts.get(size) ?? 0) + count);
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => number): ReadonlyMap<number, readonly T[]> {
  const groups = new Map<number, T[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [item]);
    else group.push(item);
  }
  return groups;
}
