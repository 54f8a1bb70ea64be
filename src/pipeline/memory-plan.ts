/**
 * @file What a request takes of the GPU's memory, told from configs alone: weights, what making a session takes for a moment, the
 * buffers of each network's runs, and the copies in and out. Pure; follows the order in which generate.ts loads and runs.
 */
import { EMPTY_POOL, giveBack, runOnPool, type BufferPool } from '../onnx/buffer-pool.js';
import { bufferBytes, peakLiveBytes, planBuffers, valueBytes, type RunBinding } from '../onnx/liveness.js';
import type { Network, NetworkKind } from './networks.js';

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

/** A request's memory, in bytes of GPU buffers. */
export interface MemoryPlan {
  readonly networks: readonly NetworkMemory[];
  /** Most bytes of weights on the device at once. */
  readonly weights: number;
  /** The buffers that runs leave in ONNX Runtime's pool, which only grows. */
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
export function predictMemory(networks: readonly Network[], mode: MemoryMode): MemoryPlan {
  const shares: NetworkMemory[] = [];
  let device: Device = { pool: EMPTY_POOL, weights: 0, leftover: 0 };
  let weights = 0;
  let highest = { peak: 0, peakIn: '' };
  const reach = (peak: number, peakIn: string): void => {
    if (peak > highest.peak) highest = { peak, peakIn };
  };
  networks.forEach((network, i) => {
    const { name, turn } = network;
    const loaded = load(device, network);
    weights = Math.max(weights, loaded.device.weights);
    reach(loaded.peak, name);
    const run = runTwice(loaded.device.pool, network);
    reach(run.peakBytes + loaded.device.weights + loaded.device.leftover, name);
    shares.push({ ...shareOf(network), pooled: run.pool.bytes - device.pool.bytes });
    device = { ...loaded.device, pool: run.pool };
    // Text encoders are freed together, when all prompts are encoded; ControlNets with the UNet that they act on.
    if (mode === 'resident' || networks[i + 1]?.turn === turn) return;
    device = networks.filter((other) => other.turn === turn).reduce(unload, device);
  });
  return { networks: shares, weights, activations: device.pool.bytes, ...highest };
}

/** The second run takes more than the first where buffers given back at its end cannot be used at once; a third takes no more. */
function runTwice(before: BufferPool, network: Network): ReturnType<typeof runOnPool> {
  const { graph } = network;
  const binding = bindingOf(network);
  // What a run left on the device is given back before the next one ends with its own.
  const run = (pool: BufferPool): ReturnType<typeof runOnPool> => {
    const made = runOnPool(pool, graph, binding);
    return { ...made, pool: giveBack(made.pool, graph, binding) };
  };
  const first = run(before);
  const second = run(first.pool);
  return { pool: second.pool, peakBytes: Math.max(first.peakBytes, second.peakBytes) };
}

/**
 * The same on the CPU, in bytes of the WebAssembly heap: weights once, and the tensors alive at once. An estimate: the CPU's kernels and
 * arena take more.
 */
export function predictHeap(networks: readonly Network[], mode: MemoryMode): MemoryPlan {
  const shares = networks.map((network) => ({ ...shareOf(network), pooled: 0 }));
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
  const convInputs = graph.nodes.flatMap(({ opType, inputs: [x] }) =>
    opType === 'Conv' && x !== undefined ? [valueBytes(x)] : [],
  );
  const largest = (sizes: readonly number[]): number => sizes.reduce((a, b) => Math.max(a, b), 0);
  return {
    name,
    kind,
    weights: ours + sum(kernels),
    activations: peakLiveBytes(graph, bindingOf(network)),
    largestBuffer: largest([
      ...planBuffers(graph, bindingOf(network)).map(({ bytes }) => bytes),
      ...graph.weights.map(({ value }) => valueBytes(value)),
    ]),
    largestConvInput: largest(convInputs),
  };
}

/** Changed kernels are inputs, which a convolution turns at each run. */
function bindingOf({ graph, changed, onDevice }: Network): RunBinding {
  const turned = graph.weights.filter(
    ({ use, tensors }) => use === 'conv' && tensors.some((tensor) => changed?.has(tensor)),
  );
  return {
    turned: new Set(turned.map(({ value }) => value)),
    ...(onDevice === undefined ? {} : { onDevice }),
  };
}

/**
 * Weights in buffers of our own, and convolution kernels, each of which the session keeps in another layout. Those that are changed are in
 * two buffers of ours, kernels too.
 */
function weightBytes({ graph, changed }: Network): { readonly ours: number; readonly kernels: readonly number[] } {
  let ours = 0;
  const kernels: number[] = [];
  for (const { use, tensors, value } of graph.weights) {
    const bytes = bufferBytes(valueBytes(value));
    if (tensors.some((tensor) => changed?.has(tensor))) ours += 2 * bytes;
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
  network: Network,
): { readonly device: Device; readonly peak: number } {
  const { ours, kernels } = weightBytes(network);
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
function unload(device: Device, network: Network): Device {
  const { ours, kernels } = weightBytes(network);
  const left = sum(kernels);
  return { ...device, weights: device.weights - ours - left, leftover: device.leftover + left };
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
