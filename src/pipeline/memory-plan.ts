/**
 * @file What a request takes of the GPU's memory, told from configs alone: weights, what making a session takes for a moment, the
 * buffers of each network's runs, and the copies in and out. Pure; follows the order in which generate.ts loads and runs.
 */
import { EMPTY_POOL, giveBack, planRun, type BufferPool, type PooledRun } from '../onnx/buffer-pool.js';
import { bufferBytes, peakLiveBytes, planBuffers, valueBytes, type RunBinding } from '../onnx/liveness.js';
import type { Graph } from '../onnx/types.js';
import { partsWeights, runParts, type NetworkParts } from './banded-memory.js';
import type { Network, NetworkKind } from './networks.js';
import { isTwice } from './weight-bytes.js';

/** One network's share, in bytes. */
export interface NetworkMemory {
  readonly name: string;
  readonly kind: NetworkKind;
  readonly weights: number;
  /** Most bytes of inputs, intermediates, temporaries and outputs alive at once. */
  readonly activations: number;
  /** What its runs add to the pool, on top of what earlier networks left there. */
  readonly pooled: number;
  /** The largest buffer of its runs or weights: must be within `maxBufferSize`. */
  readonly largestBuffer: number;
  /** The largest input of a convolution: must be within `maxStorageBufferBindingSize`; other operators bind in pieces. */
  readonly largestConvInput: number;
}

/** `resident`: all networks stay on the device; `frugal`: each is freed as soon as it has done its part. */
export type MemoryMode = 'resident' | 'frugal';
/** The picture is decoded at once, or in bands of rows where the decoder can be cut. */
export type DecoderMode = 'whole' | 'parts';

/** A request's memory, in bytes of GPU buffers. */
export interface MemoryPlan {
  readonly networks: readonly NetworkMemory[];
  /** Most bytes of weights on the device at once. */
  readonly weights: number;
  /** The buffers of runs: those in ONNX Runtime's pool, which only grows, and the bands of a picture. */
  readonly activations: number;
  /** The most at any moment, copies and second copies of kernels included; and during which network. */
  readonly peak: number;
  readonly peakIn: string;
}

/** What is on the device at one moment. */
interface Device {
  readonly pool: BufferPool;
  /** By network; freed ones are gone. */
  readonly weights: number;
  /** Kernels that are not needed any more, but destroyed only when the next one is prepacked. */
  readonly leftover: number;
}

/**
 * Predicts a request on the GPU, from an empty device. Exact for what ONNX Runtime's pool holds; left out are a few KB of uniforms, and
 * buffers that the browser keeps for itself.
 */
export function predictMemory(
  networks: readonly Network[],
  mode: MemoryMode,
  decoder: DecoderMode = 'whole',
): MemoryPlan {
  return predictWithForms(
    networks.map((network) => formOf(network, decoder)),
    mode,
  );
}

/** Predicts one request in several ways; what they have in common is found out once. */
export type Predictor = (mode: MemoryMode, decoder: DecoderMode) => MemoryPlan;

/** {@link predictMemory} in several ways. */
export function createPredictor(networks: readonly Network[]): Predictor {
  const formsOf = createForms(networks);
  return (mode, decoder) => predictWithForms(formsOf(decoder), mode);
}

/** {@link predictHeap} in several ways. */
export function createHeapPredictor(networks: readonly Network[]): Predictor {
  const formsOf = createForms(networks);
  return (mode, decoder) => predictHeapOf(formsOf(decoder), mode);
}

function createForms(networks: readonly Network[]): (decoder: DecoderMode) => readonly Form[] {
  const whole = networks.map((network) => once(() => formOf(network, 'whole')));
  const parts = networks.map((network, i) =>
    network.parts === undefined ? whole[i] : once(() => formOf(network, 'parts')),
  );
  return (decoder) => (decoder === 'whole' ? whole : parts).flatMap((form) => form?.() ?? []);
}

function predictWithForms(forms: readonly Form[], mode: MemoryMode): MemoryPlan {
  const shares: NetworkMemory[] = [];
  let device: Device = { pool: EMPTY_POOL, weights: 0, leftover: 0 };
  let weights = 0;
  let runs = 0;
  let highest = { peak: 0, peakIn: '' };
  const reach = (peak: number, peakIn: string): void => {
    if (peak > highest.peak) highest = { peak, peakIn };
  };
  forms.forEach((form, i) => {
    const { name, turn } = form.network;
    const loaded = load(form.flushes ? { ...device, leftover: 0 } : device, form.weights);
    weights = Math.max(weights, loaded.device.weights);
    reach(loaded.peak, name);
    const run = form.run(loaded.device.pool);
    reach(run.peakBytes + loaded.device.weights + loaded.device.leftover, name);
    shares.push({ ...form.share, pooled: run.pool.bytes - device.pool.bytes });
    device = { ...loaded.device, pool: run.pool };
    runs = Math.max(runs, run.pool.bytes + run.arrays);
    if (form.network.brief === true) device = unload(device, form.weights);
    // Text encoders are freed together, when all prompts are encoded; ControlNets with the UNet that they act on.
    if (mode === 'resident' || forms[i + 1]?.network.turn === turn) return;
    device = forms
      .filter(({ network }) => network.turn === turn && network.brief !== true)
      .reduce((d, other) => unload(d, other.weights), device);
  });
  return { networks: shares, weights, activations: runs, ...highest };
}

/** A network as it is run: at once, or in parts. */
interface Form {
  readonly network: Network;
  readonly share: Omit<NetworkMemory, 'pooled'>;
  readonly weights: WeightBytes;
  /** Whether what freed kernels left is freed before. */
  readonly flushes: boolean;
  /** Two runs; a third takes no more. `arrays`: most bytes of our own besides the pool. */
  readonly run: (pool: BufferPool) => {
    readonly pool: BufferPool;
    readonly arrays: number;
    readonly peakBytes: number;
  };
}

function formOf(network: Network, decoder: DecoderMode): Form {
  const parts = decoder === 'parts' ? network.parts?.() : undefined;
  if (parts === undefined) {
    return {
      network,
      share: shareOf(network),
      weights: weightBytes(network),
      flushes: false,
      run: runTwice(network),
    };
  }
  return {
    network,
    share: shareOfParts(network, parts),
    weights: { ours: partsWeights(parts), kernels: [] },
    flushes: true,
    run(before) {
      const { pool, arrays, peak } = runParts(before, parts);
      return { pool, arrays, peakBytes: peak };
    },
  };
}

/** The second run takes more than the first where buffers given back at its end cannot be used at once; a third takes no more. */
function runTwice(network: Network): Form['run'] {
  const { graph, arrays = 0 } = network;
  const binding = bindingOf(network);
  const planned = once(() => planRun(graph, binding));
  // What a run left on the device is given back before the next one ends with its own.
  const run = (pool: BufferPool): PooledRun => {
    const made = planned()(pool);
    return { ...made, pool: giveBack(made.pool, graph, binding) };
  };
  return (before) => {
    const first = run(before);
    const second = run(first.pool);
    return { pool: second.pool, peakBytes: arrays + Math.max(first.peakBytes, second.peakBytes), arrays };
  };
}

/**
 * The same on the CPU, in bytes of the WebAssembly heap: weights once, and the tensors alive at once. An estimate: the CPU's kernels and
 * arena take more.
 */
export function predictHeap(
  networks: readonly Network[],
  mode: MemoryMode,
  decoder: DecoderMode = 'whole',
): MemoryPlan {
  return predictHeapOf(
    networks.map((network) => formOf(network, decoder)),
    mode,
  );
}

function predictHeapOf(forms: readonly Form[], mode: MemoryMode): MemoryPlan {
  const shares = forms.map(({ share }) => ({ ...share, pooled: 0 }));
  const all = sum(shares.map(({ weights }) => weights));
  const needOf = (share: NetworkMemory): number => share.activations + (mode === 'resident' ? all : share.weights);
  const [first, ...others] = shares;
  const worst = others.reduce((a, b) => (a !== undefined && needOf(a) >= needOf(b) ? a : b), first);
  return {
    networks: shares,
    weights: all,
    activations: Math.max(0, ...shares.map(({ activations }) => activations)),
    peak: worst === undefined ? 0 : needOf(worst),
    peakIn: worst?.name ?? '',
  };
}

function shareOf(network: Network): Omit<NetworkMemory, 'pooled'> {
  const { name, kind, graph } = network;
  const { ours, kernels } = weightBytes(network);
  const binding = bindingOf(network);
  return {
    name,
    kind,
    weights: ours + sum(kernels),
    activations: peakLiveBytes(graph, binding),
    ...largestOf([{ graph, binding }]),
  };
}

function shareOfParts({ name, kind }: Network, parts: NetworkParts): Omit<NetworkMemory, 'pooled'> {
  let alive = 0;
  let activations = 0;
  for (const { graph, binding, made, freed } of parts.runs) {
    alive += made;
    // What the run writes into is among our own arrays.
    activations = Math.max(activations, alive + peakLiveBytes(graph, binding) - made);
    alive -= freed;
  }
  return { name, kind, weights: partsWeights(parts), activations, ...largestOf(parts.runs) };
}

interface BoundGraph {
  readonly graph: Graph;
  readonly binding: RunBinding;
}

/** Of runs and their weights. */
function largestOf(runs: readonly BoundGraph[]): Pick<NetworkMemory, 'largestBuffer' | 'largestConvInput'> {
  const largest = (sizes: readonly number[]): number => sizes.reduce((a, b) => Math.max(a, b), 0);
  const buffers = ({ graph, binding }: BoundGraph): readonly number[] => [
    ...planBuffers(graph, binding).map(({ bytes }) => bytes),
    ...graph.weights.map(({ value }) => valueBytes(value)),
  ];
  const convInputs = ({ graph }: BoundGraph): readonly number[] =>
    graph.nodes.flatMap(({ opType, inputs: [x] }) => (opType === 'Conv' && x !== undefined ? [valueBytes(x)] : []));
  const different = [...new Map(runs.map((run) => [run.graph, run])).values()];
  return {
    largestBuffer: largest(different.map((run) => largest(buffers(run)))),
    largestConvInput: largest(different.map((run) => largest(convInputs(run)))),
  };
}

/** Changed kernels are inputs, which a convolution turns at each run. */
function bindingOf({ graph, changed, onDevice, arrays }: Network): RunBinding {
  const turned = graph.weights.filter(
    ({ use, tensors }) => use === 'conv' && tensors.some((tensor) => changed?.has(tensor)),
  );
  return {
    turned: new Set(turned.map(({ value }) => value)),
    ...(onDevice === undefined ? {} : { onDevice, given: arrays !== undefined }),
  };
}

/** In bytes. */
interface WeightBytes {
  readonly ours: number;
  readonly kernels: readonly number[];
}

/**
 * Weights in buffers of our own, and convolution kernels, each of which the session keeps in another layout. Those that are changed are in
 * two buffers of ours, kernels too.
 */
function weightBytes({ graph, changed }: Network): WeightBytes {
  let ours = 0;
  const kernels: number[] = [];
  for (const weight of graph.weights) {
    const { use, value } = weight;
    const bytes = bufferBytes(valueBytes(value));
    if (changed !== undefined && isTwice(weight, changed)) ours += 2 * bytes;
    else if (use === 'conv') kernels.push(bytes);
    else ours += bytes;
  }
  return { ours, kernels };
}

/**
 * Uploads our weights, then makes the session: all kernels are uploaded (each through a copy), then turned one after the other; a kernel's
 * original is destroyed when the next but one is turned, so the last one stays for now.
 */
function load(
  { pool, weights, leftover }: Device,
  { ours, kernels }: WeightBytes,
): { readonly device: Device; readonly peak: number } {
  const base = pool.bytes + weights + ours;
  const all = sum(kernels);
  let peak = base + leftover + all + Math.max(0, ...kernels);
  let turned = 0;
  let destroyed = 0;
  kernels.forEach((bytes, i) => {
    turned += bytes;
    destroyed += i < 2 ? 0 : (kernels[i - 2] ?? 0);
    peak = Math.max(peak, base + (i === 0 ? leftover : 0) + all - destroyed + turned);
  });
  const last = kernels[kernels.length - 1];
  return { device: { pool, weights: weights + ours + all, leftover: last ?? leftover }, peak };
}

/** Our buffers go at once, the session's kernels with the next prepacking. */
function unload(device: Device, { ours, kernels }: WeightBytes): Device {
  const left = sum(kernels);
  return { ...device, weights: device.weights - ours - left, leftover: device.leftover + left };
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
