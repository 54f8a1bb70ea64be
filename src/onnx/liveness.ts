/**
 * @file How many bytes a graph's tensors take on the GPU while it runs: which values share a buffer, when each buffer is taken
 * and given back, and what the provider's buffer pool keeps. Pure arithmetic on shapes; weights are not counted.
 *
 * The rules are ONNX Runtime Web's (1.31, `storageBufferCacheMode: 'simple'`), each one read off the buffers that graphs of one
 * operator, and chains of one operator, created and bound on a software adapter.
 */
import { elementCount } from '../base/dtype.js';
import { ELEMENT_BYTES, type Graph, type Node, type Value } from './types.js';

/** One buffer of a run and the values that live in it, one after the other. */
export interface Buffer {
  readonly bytes: number;
  /** Index (in execution order) of the node before which it is taken; −1 for the graph's inputs. */
  readonly from: number;
  /** Index of the node after which it is given back; the number of nodes for the graph's inputs and outputs. */
  readonly to: number;
  /** An output that stays on the device: its owner gives it back. */
  readonly kept: boolean;
}

/** How a run is bound, where it differs from arrays in and out, and kernels that are constants. */
export interface RunBinding {
  /** Names of inputs that are arrays of the device, and of outputs that stay there. */
  readonly onDevice?: ReadonlySet<string>;
  /** Outputs that stay on the device are written into arrays of their owner's, not into buffers of the pool. */
  readonly given?: boolean;
  /** Kernels of convolutions that are inputs: on each run they are turned into a buffer of their own. */
  readonly turned?: ReadonlySet<Value>;
}

/** WebGPU buffers of ONNX Runtime are multiples of 16 bytes. */
export function bufferBytes(bytes: number): number {
  return Math.ceil(bytes / 16) * 16;
}

/** Bytes of a value's elements, not rounded. */
export function valueBytes({ dtype, shape }: Value): number {
  return elementCount(shape) * ELEMENT_BYTES[dtype];
}

/** Operators whose output is their first input under another shape. */
const ALIASING: ReadonlySet<string> = new Set(['Reshape']);

/**
 * The order in which ONNX Runtime runs the nodes: depth first from the outputs, of a node's inputs the one written last first. So what hangs
 * on the graph's inputs alone (projections of the time embedding, keys and values of the text) runs first of all and stays.
 */
export function executionOrder({ nodes }: Graph): readonly Node[] {
  const writerOf = new Map<Value, number>();
  nodes.forEach((node, at) => node.outputs.forEach((value) => value && writerOf.set(value, at)));
  const sourcesOf = (node: Node): readonly number[] =>
    node.inputs.flatMap((value) => (value === undefined ? [] : (writerOf.get(value) ?? []))).sort((a, b) => a - b);
  const sources = nodes.map(sourcesOf);
  const read = new Set(sources.flat());

  const order: Node[] = [];
  const entered = new Set<number>();
  // Popped from the end; a negative entry ~i leaves node i, when all it reads has run.
  const stack = nodes.flatMap((_, at) => (read.has(at) ? [] : [at]));
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    const node = nodes[at < 0 ? ~at : at];
    if (at < 0 && node !== undefined) order.push(node);
    if (at < 0 || entered.has(at)) continue;
    entered.add(at);
    stack.push(~at, ...(sources[at] ?? []));
  }
  return order;
}

/** A buffer as it is being planned. */
interface Planned {
  readonly bytes: number;
  /** Shape and element size decide who may take it over. */
  readonly kind: string;
  readonly from: number;
  to: number;
  readonly kept: boolean;
  /** Reads that are still to come. */
  reads: number;
}

/**
 * Which buffers a run of `graph` takes. ONNX Runtime decides this when the session is made: a node's output takes over the buffer given
 * back last that held the same shape and element size; no WebGPU kernel works in place. The graph's inputs and outputs have buffers
 * of their own, held for the whole run; inputs on the device have one already.
 */
export function planBuffers(graph: Graph, { onDevice }: RunBinding = {}): readonly Buffer[] {
  const end = graph.nodes.length;
  const outputs = new Map(graph.outputs.map(({ name, value }) => [value, onDevice?.has(name) === true]));
  const reads = countReads(graph);
  const all: Planned[] = [];
  const buffers = new Map<Value, Planned>();
  const free: Planned[] = [];

  const take = (value: Value, from: number, to: number): Planned => {
    const planned = {
      bytes: bufferBytes(valueBytes(value)),
      kind: kindOf(value),
      from,
      to,
      kept: outputs.get(value) === true,
      reads: 0,
    };
    all.push(planned);
    return planned;
  };
  const place = (value: Value, at: number, alias: Planned | undefined): Planned => {
    if (outputs.has(value)) return take(value, at, end);
    if (alias !== undefined) return alias;
    const found = free.findLastIndex(({ kind }) => kind === kindOf(value));
    const [reused] = found < 0 ? [] : free.splice(found, 1);
    return reused ?? take(value, at, at);
  };

  for (const { name, value } of graph.inputs)
    if (onDevice?.has(name) !== true) buffers.set(value, take(value, -1, end));
  executionOrder(graph).forEach((node, at) => {
    const [source] = node.inputs;
    const alias = source !== undefined && ALIASING.has(node.opType) ? buffers.get(source) : undefined;
    for (const value of node.outputs) {
      if (value === undefined || !(reads.has(value) || outputs.has(value))) continue;
      const buffer = place(value, at, alias);
      buffer.reads += reads.get(value) ?? 0;
      buffers.set(value, buffer);
    }
    for (const value of node.inputs) {
      const buffer = value === undefined ? undefined : buffers.get(value);
      if (buffer === undefined) continue; // a weight, a constant, an array of the device
      buffer.to = Math.max(buffer.to, at);
      buffer.reads -= 1;
      if (buffer.reads === 0 && buffer.to < end) free.push(buffer);
    }
  });
  return all;
}

const kindOf = ({ dtype, shape }: Value): string => `${ELEMENT_BYTES[dtype]}:${shape.join('x')}`;

/** How many times each value is read. */
function countReads(graph: Graph): ReadonlyMap<Value, number> {
  const reads = new Map<Value, number>();
  for (const node of graph.nodes)
    for (const value of node.inputs) if (value !== undefined) reads.set(value, (reads.get(value) ?? 0) + 1);
  return reads;
}

/** Most bytes of buffers in use at once during one run, kernels' temporaries included: what no pool can do without. */
export function peakLiveBytes(graph: Graph, binding: RunBinding = {}): number {
  const change = new Array<number>(graph.nodes.length + 2).fill(0);
  for (const { bytes, from, to } of planBuffers(graph, binding)) {
    change[from + 1] = (change[from + 1] ?? 0) + bytes;
    change[to + 2] = (change[to + 2] ?? 0) - bytes;
  }
  const order = executionOrder(graph);
  let live = 0;
  let peak = 0;
  change.forEach((bytes, i) => {
    live += bytes;
    const node = order[i - 1];
    peak = Math.max(peak, live + (node === undefined ? 0 : temporaryBytes(node, binding).reduce((a, b) => a + b, 0)));
  });
  return peak;
}

/**
 * Buffers that a kernel takes for itself, in bytes. Measured: MultiHeadAttention copies k and v into caches of its own (`CopyKVCache`), and
 * for few queries keeps partial results of every 64 keys; GroupNorm and SkipGroupNorm keep sum and sum of squares of each
 * group in float32; Conv turns a kernel that is an input; Conv of a constant, Gemm, MatMul, Softmax, the other norms, BiasAdd, BiasSplitGelu, activations, Concat, Slice, Pad and
 * Expand take none.
 */
export function temporaryBytes(node: Node, { turned }: RunBinding = {}): readonly number[] {
  switch (node.opType) {
    case 'Conv': {
      const kernel = node.inputs[1];
      return kernel !== undefined && turned?.has(kernel) === true ? [bufferBytes(valueBytes(kernel))] : [];
    }
    case 'MultiHeadAttention':
      return attentionBytes(node).map(bufferBytes);
    case 'GroupNorm':
    case 'SkipGroupNorm':
      return [bufferBytes((node.inputs[0]?.shape[0] ?? 1) * intAttribute(node, 'groups') * 2 * FLOAT32_BYTES)];
    default:
      return [];
  }
}

const FLOAT32_BYTES = 4;

/** Below so many queries attention splits the keys, `[n, s, ·]` against `[n, t, ·]`. */
const SPLIT_BELOW = 32;
const KEYS_PER_SPLIT = 64;

function attentionBytes(node: Node): readonly number[] {
  const [q, k, v] = node.inputs;
  if (q === undefined || k === undefined || v === undefined) return [];
  const caches = [valueBytes(k), valueBytes(v)];
  if (!splitsKeys(node)) return caches;
  const [n = 1, s = 1] = q.shape;
  const splits = Math.ceil((k.shape[1] ?? 1) / KEYS_PER_SPLIT);
  const maximaAndSums = n * intAttribute(node, 'num_heads') * s * splits * 2 * FLOAT32_BYTES;
  return [...caches, maximaAndSums, valueBytes(q) * splits];
}

const splitsKeys = ({ inputs }: Node): boolean => (inputs[0]?.shape[1] ?? 0) < SPLIT_BELOW;

function intAttribute({ attributes }: Node, name: string): number {
  return Number(attributes[name] ?? 1);
}

/** Inputs of a Concat that one shader binds beside its output, of the ten storage buffers that an adapter has at least. */
const CONCAT_INPUTS = 9;

/** Shader dispatches of one node, as counted. */
export function dispatchCount(node: Node, { turned }: RunBinding = {}): number {
  switch (node.opType) {
    case 'Conv':
      return node.inputs[1] !== undefined && turned?.has(node.inputs[1]) === true ? 2 : 1;
    case 'Reshape':
      return 0;
    case 'MultiHeadAttention': // CopyKVCache, FlashAttention (and the sum of the splits)
      return splitsKeys(node) ? 3 : 2;
    case 'GroupNorm': // statistics, application
    case 'SkipGroupNorm':
      return 2;
    case 'Concat':
      return Math.ceil(node.inputs.length / CONCAT_INPUTS);
    default:
      return 1;
  }
}
