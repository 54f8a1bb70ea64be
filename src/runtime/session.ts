/** @file One ONNX Runtime session of a graph: creation from encoded bytes and weights, runs on named arrays, release. */
import type { InferenceSession, Tensor } from 'onnxruntime-web';
import { elementCount, type FloatType } from '../base/dtype.js';
import { DarkroomError, fail, throwIfAborted } from '../base/errors.js';
import { float16ToFloat32, float32ToFloat16 } from '../base/half.js';
import type { Graph, NamedValue } from '../onnx/types.js';
import type { Lock } from './lock.js';
import type { Ort } from './ort.js';

/** Named float32 arrays in and out, in the graph's shapes; float16 graphs are converted at the border. */
export type Arrays = Readonly<Record<string, Float32Array>>;

/** A runnable graph. Owns its session; weights given as inputs belong to whoever made them. */
export interface Model {
  readonly graph: Graph;
  /** @throws runtimeFailed, deviceLost, aborted (before it starts; a run cannot be interrupted) */
  run(inputs: Arrays, signal?: AbortSignal): Promise<Record<string, Float32Array>>;
  dispose(): Promise<void>;
}

/** What sessions of one device share. */
export interface SessionContext {
  readonly ort: Ort;
  readonly lock: Lock;
  readonly options: InferenceSession.SessionOptions;
  /** Rejects when the device is lost; never resolves. */
  readonly lost: Promise<never>;
  /** Adds the wall time of a run. */
  readonly onRun: (milliseconds: number) => void;
}

export interface SessionParts {
  readonly graph: Graph;
  readonly bytes: Uint8Array;
  readonly externalData: readonly { readonly path: string; readonly data: Uint8Array }[];
  /** Inputs that are the same on every run: weights on the GPU. */
  readonly fixedFeeds: Readonly<Record<string, Tensor>>;
}

/** @throws runtimeFailed with the graph's name */
export async function createModel(context: SessionContext, parts: SessionParts): Promise<Model> {
  const { ort, lock, lost } = context;
  const { graph, fixedFeeds } = parts;
  const session = await lock(() =>
    orLost(lost, () =>
      ort.InferenceSession.create(parts.bytes, { ...context.options, externalData: [...parts.externalData] }),
    ),
  ).catch((error: unknown) => {
    throw runtimeError(`${graph.name}: the session could not be made`, error);
  });

  let disposed = false;
  const runLocked = async (inputs: Arrays, signal?: AbortSignal): Promise<Record<string, Float32Array>> => {
    throwIfAborted(signal);
    if (disposed) throw fail('disposed', `${graph.name}: this model was disposed.`);
    const feeds: Record<string, Tensor> = { ...fixedFeeds };
    for (const input of graph.inputs) feeds[input.name] = toTensor(ort, graph, input, inputs[input.name]);
    const start = performance.now();
    const results = await orLost(lost, () => session.run(feeds));
    context.onRun(performance.now() - start);
    const out: Record<string, Float32Array> = {};
    for (const { name } of graph.outputs) out[name] = fromTensor(graph, name, results[name]);
    return out;
  };

  return {
    graph,
    run: (inputs, signal) =>
      lock(() => runLocked(inputs, signal)).catch((error: unknown) => {
        throw runtimeError(`${graph.name}: the run failed`, error);
      }),
    dispose: async () => {
      if (disposed) return;
      disposed = true;
      await lock(() => session.release());
    },
  };
}

/** Whatever happens first: the work's end or the loss of the device (ONNX Runtime may then never answer). */
function orLost<T>(lost: Promise<never>, work: () => Promise<T>): Promise<T> {
  return Promise.race([work(), lost]);
}

function toTensor(ort: Ort, graph: Graph, { name, value }: NamedValue, data: Float32Array | undefined): Tensor {
  const expected = elementCount(value.shape);
  if (data?.length !== expected) {
    throw fail(
      'internalError',
      `${graph.name}: input "${name}" needs ${expected} values, got ${data?.length ?? 'none'}.`,
    );
  }
  return new ort.Tensor(floatType(value.dtype), value.dtype === 'float16' ? float32ToFloat16(data) : data, value.shape);
}

function fromTensor(graph: Graph, name: string, tensor: Tensor | undefined): Float32Array {
  const data = tensor?.data;
  if (data instanceof Float32Array) return data;
  // float16 comes as Float16Array where the engine has it, as bits elsewhere.
  if (data instanceof Uint16Array) return float16ToFloat32(data);
  if (ArrayBuffer.isView(data))
    return float16ToFloat32(new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2));
  throw fail('internalError', `${graph.name}: output "${name}" is not a float tensor.`);
}

function floatType(dtype: string): FloatType {
  if (dtype === 'float32' || dtype === 'float16') return dtype;
  throw fail('internalError', `A graph input of type ${dtype} cannot be fed.`);
}

function runtimeError(what: string, error: unknown): DarkroomError {
  if (error instanceof DarkroomError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const memory = /out of memory|memory access out of bounds|allocation failed|failed to allocate|bad_alloc/i.test(
    message,
  );
  return fail(memory ? 'outOfMemory' : 'runtimeFailed', `${what}: ${message}`, {
    ...(memory ? { hint: 'Use a smaller picture or a smaller model, or close other pages that use the GPU.' } : {}),
    cause: error,
  });
}
