/** @file One ONNX Runtime session of a graph: creation from encoded bytes and weights, runs on named arrays, release. */
import type { InferenceSession, Tensor } from 'onnxruntime-web';
import { elementCount, type FloatType } from '../base/dtype.js';
import { DarkroomError, fail, throwIfAborted } from '../base/errors.js';
import type { Graph, NamedValue } from '../onnx/types.js';
import { toFloat32, toStored, type ArrayStore, type DeviceArray } from './device-array.js';
import type { Lock } from './lock.js';
import type { OrLost } from './loss.js';
import type { Ort } from './ort.js';
import { isOutOfMemory, outOfMemory, type FindShortage } from './out-of-memory.js';

/**
 * Named inputs in the graph's shapes. float32 arrays are converted at the border of a float16 graph; arrays of the device must have
 * the graph's type, and as many values.
 */
export type Inputs = Readonly<Record<string, Float32Array | DeviceArray>>;

/** Named float32 arrays in the graph's shapes. */
export type Arrays = Readonly<Record<string, Float32Array>>;

/** Outputs of a run: those that stay on the device, which the caller disposes, and the others. */
export interface SplitOutputs {
  readonly arrays: Arrays;
  readonly kept: Readonly<Record<string, DeviceArray>>;
}

/**
 * A runnable graph. Owns its session; weights given as inputs belong to whoever made them. Runs throw runtimeFailed, outOfMemory,
 * deviceLost, and aborted (before they start: a run cannot be interrupted).
 */
export interface Model {
  readonly graph: Graph;
  /** All outputs as arrays. */
  run(inputs: Inputs, signal?: AbortSignal): Promise<Arrays>;
  /** The outputs that the model was loaded to keep stay on the device. */
  runKept(inputs: Inputs, signal?: AbortSignal): Promise<SplitOutputs>;
  /** Writes outputs into arrays of the device: each its own, and none of them an input. Other outputs are dropped. */
  runInto(inputs: Inputs, targets: Readonly<Record<string, DeviceArray>>, signal?: AbortSignal): Promise<void>;
  /** The same session, fed with these weights; whichever of the two is disposed, the session goes. */
  withWeights(weights: WeightFeed): Model;
  /** Never rejects. */
  dispose(): Promise<void>;
}

/** Weights on the device by their names in the graph, asked for at every run. */
export type WeightFeed = () => Readonly<Record<string, DeviceArray>>;

/** What sessions of one device share. */
export interface SessionContext {
  readonly ort: Ort;
  readonly lock: Lock;
  readonly options: InferenceSession.SessionOptions;
  readonly arrays: ArrayStore;
  /** Where outputs stay that are kept. */
  readonly location: 'cpu' | 'gpu-buffer';
  /** Ends what waits for the device when it is lost. */
  readonly orLost: OrLost;
  /** Absent on the CPU. */
  readonly shortage?: FindShortage;
  /** Told where ONNX Runtime ended in the middle of something: no call of it can be trusted after that, whatever the device. */
  readonly onTrap?: (() => void) | undefined;
  /** Adds the wall time of a run. */
  readonly onRun: (milliseconds: number) => void;
}

export interface SessionParts {
  readonly graph: Graph;
  readonly bytes: Uint8Array;
  readonly externalData: readonly { readonly path: string; readonly data: Uint8Array | Blob }[];
  /** Inputs that the session's owner gives, asked for at every run: weights on the device. */
  readonly weights?: WeightFeed;
  /** Names of the outputs that `runKept` leaves on the device. */
  readonly keep?: readonly string[] | undefined;
}

/** @throws runtimeFailed with the graph's name */
export async function createModel(context: SessionContext, parts: SessionParts): Promise<Model> {
  const { ort, lock, orLost, location } = context;
  const { graph, keep = [] } = parts;
  const session = await lock(() =>
    orLost(() =>
      ort.InferenceSession.create(parts.bytes, {
        ...context.options,
        externalData: [...parts.externalData],
        ...(keep.length > 0 && {
          preferredOutputLocation: Object.fromEntries(keep.map((name) => [name, location])),
        }),
      }),
    ),
  ).catch((error: unknown) => {
    throw runtimeError(context, `${graph.name}: the session could not be made`, error);
  });

  let disposed = false;
  const runLocked = async (
    weights: WeightFeed,
    inputs: Inputs,
    targets: Readonly<Record<string, DeviceArray>>,
    signal: AbortSignal | undefined,
  ): Promise<InferenceSession.OnnxValueMapType> => {
    throwIfAborted(signal);
    if (disposed) throw fail('disposed', `${graph.name}: this model was disposed.`);
    const feeds: Record<string, Tensor> = {};
    for (const [name, { tensor }] of Object.entries(weights())) feeds[name] = tensor;
    for (const input of graph.inputs) feeds[input.name] = toTensor(ort, graph, input, inputs[input.name]);
    const fetches: Record<string, Tensor> = {};
    for (const output of graph.outputs) {
      const target = targets[output.name];
      if (target !== undefined) fetches[output.name] = toTensor(ort, graph, output, target);
    }
    const start = performance.now();
    // On the CPU a given output is not written to, but made anew.
    const results = await orLost(() =>
      location === 'cpu' || Object.keys(fetches).length === 0 ? session.run(feeds) : session.run(feeds, fetches),
    );
    context.onRun(performance.now() - start);
    // What was computed with a buffer that could not be had is dropped by the device without a word: its numbers are none.
    const short = context.shortage?.();
    if (short?.certain === true) throw outOfMemory(`${graph.name}: ${short.message}`, undefined);
    return results;
  };
  const execute: typeof runLocked = (weights, inputs, targets, signal) =>
    lock(() => runLocked(weights, inputs, targets, signal)).catch((error: unknown) => {
      throw runtimeError(context, `${graph.name}: the run failed`, error);
    });
  const runKept = async (weights: WeightFeed, inputs: Inputs, signal?: AbortSignal): Promise<SplitOutputs> => {
    const results = await execute(weights, inputs, {}, signal);
    const arrays: Record<string, Float32Array> = {};
    const kept: Record<string, DeviceArray> = {};
    for (const { name, value } of graph.outputs) {
      const tensor = results[name];
      if (tensor !== undefined && keep.includes(name))
        kept[name] = context.arrays.adopt(tensor, value.shape, floatType(value.dtype));
      else arrays[name] = toFloat32(tensor?.data, `${graph.name}: output "${name}"`);
    }
    return { arrays, kept };
  };

  const dispose = async (): Promise<void> => {
    if (disposed) return;
    disposed = true;
    // What failed before on a lost device says more than a release that fails there, or never ends; and nothing is left there to free.
    await lock(async () => {
      const released = session.release().catch(() => undefined);
      await orLost(() => released);
    }).catch(() => undefined);
  };

  const fedWith = (weights: WeightFeed): Model => ({
    graph,
    runKept: (inputs, signal) => runKept(weights, inputs, signal),
    async run(inputs, signal) {
      const { arrays, kept } = await runKept(weights, inputs, signal);
      const all: Record<string, Float32Array> = { ...arrays };
      try {
        for (const [name, array] of Object.entries(kept)) all[name] = await array.read();
      } finally {
        for (const array of Object.values(kept)) array.dispose();
      }
      return all;
    },
    async runInto(inputs, targets, signal) {
      const results = await execute(weights, inputs, targets, signal);
      if (location === 'cpu')
        for (const [name, target] of Object.entries(targets)) copyTensor(results[name], target.tensor);
      for (const name of keep) if (!(name in targets)) results[name]?.dispose();
    },
    withWeights: fedWith,
    dispose,
  });
  return fedWith(parts.weights ?? noWeights);
}

const noWeights: WeightFeed = () => ({});

/** An input, or an array that takes an output, in the graph's shape. */
function toTensor(
  ort: Ort,
  graph: Graph,
  { name, value }: NamedValue,
  data: Float32Array | DeviceArray | undefined,
): Tensor {
  const [dtype, expected] = [floatType(value.dtype), elementCount(value.shape)];
  const plain = data === undefined || data instanceof Float32Array;
  const count = plain ? data?.length : elementCount(data.shape);
  if (data === undefined || count !== expected || (!plain && data.dtype !== dtype)) {
    const got = plain ? `${count ?? 'none'}` : `${count} of ${data.dtype}`;
    throw fail('internalError', `${graph.name}: "${name}" needs ${expected} values of ${dtype}, got ${got}.`);
  }
  if (data instanceof Float32Array) return new ort.Tensor(dtype, toStored(data, dtype), value.shape);
  return data.shape.join() === value.shape.join() ? data.tensor : data.tensor.reshape(value.shape);
}

/** Both on the CPU. */
function copyTensor(from: Tensor | undefined, to: Tensor): void {
  const [source, target] = [from?.data, to.data];
  if (!ArrayBuffer.isView(source) || !ArrayBuffer.isView(target) || source.byteLength !== target.byteLength)
    throw fail('internalError', 'Outputs are written only into arrays of their own size and type.');
  new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(
    new Uint8Array(source.buffer, source.byteOffset, source.byteLength),
  );
}

function floatType(dtype: string): FloatType {
  if (dtype === 'float32' || dtype === 'float16') return dtype;
  throw fail('internalError', `A graph input of type ${dtype} cannot be fed.`);
}

function runtimeError({ onTrap }: SessionContext, what: string, error: unknown): DarkroomError {
  if (error instanceof WebAssembly.RuntimeError) onTrap?.();
  if (error instanceof DarkroomError) return error;
  const message = `${what}: ${error instanceof Error ? error.message : String(error)}`;
  return isOutOfMemory(error) ? outOfMemory(message, error) : fail('runtimeFailed', message, { cause: error });
}
