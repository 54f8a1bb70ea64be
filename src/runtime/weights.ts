/** @file Weights on their way to sessions: read from the model's files, converted, and either uploaded once or handed over. */
import type { Tensor } from 'onnxruntime-web';
import type { OnBytes } from '../assets/source.js';
import type { WeightFile } from '../assets/weights.js';
import type { FloatType } from '../base/dtype.js';
import { fail } from '../base/errors.js';
import { float32ToFloat16 } from '../base/half.js';
import { encodeModel } from '../onnx/encode.js';
import type { Graph, Weight } from '../onnx/types.js';
import { createModel, type Model, type SessionContext } from './session.js';

export interface LoadOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onBytes?: OnBytes | undefined;
}

/** The weights of one component, shared by all its graphs (other sizes, other batches). Owns their GPU buffers. */
export interface WeightBank {
  /** @throws missingWeight, invalidModelFile, runtimeFailed, aborted */
  load(graph: Graph, options?: LoadOptions): Promise<Model>;
  /** Frees the buffers; models loaded from this bank must be disposed before. */
  dispose(): void;
}

/** Everything is an initializer: on the CPU an input would be copied on each run. */
export function createCpuBank(context: SessionContext, file: WeightFile): WeightBank {
  return {
    async load(graph, options = {}) {
      const { bytes, initializers } = encodeModel(graph, () => 'initializer');
      const externalData = await readInitializers(file, initializers, options);
      return createModel(context, { graph, bytes, externalData, fixedFeeds: {} });
    },
    dispose: () => undefined,
  };
}

/** Convolution kernels are initializers (prepacked once); everything else is an input in a buffer that we own. */
export function createGpuBank(context: SessionContext, device: GPUDevice, file: WeightFile): WeightBank {
  const buffers = new Map<string, GPUBuffer>();

  const upload = async (weight: Weight, options: LoadOptions): Promise<Tensor> => {
    const dtype = floatType(weight);
    const key = `${weight.name}:${dtype}`;
    let buffer = buffers.get(key);
    if (buffer === undefined) {
      const data = await readWeight(file, weight, options);
      buffer = toBuffer(device, weight.name, data);
      buffers.set(key, buffer);
    }
    return context.ort.Tensor.fromGpuBuffer(buffer, { dataType: dtype, dims: [...weight.value.shape] });
  };

  return {
    async load(graph, options = {}) {
      const { bytes, inputWeights, initializers } = encodeModel(graph, ({ use }) =>
        use === 'conv' ? 'initializer' : 'input',
      );
      const fixedFeeds: Record<string, Tensor> = {};
      for (const weight of inputWeights) fixedFeeds[weight.name] = await upload(weight, options);
      const externalData = await readInitializers(file, initializers, options);
      return createModel(context, { graph, bytes, externalData, fixedFeeds });
    },
    dispose() {
      for (const buffer of buffers.values()) buffer.destroy();
      buffers.clear();
    },
  };
}

async function readInitializers(
  file: WeightFile,
  initializers: readonly { readonly weight: Weight; readonly path: string }[],
  options: LoadOptions,
): Promise<{ readonly path: string; readonly data: Uint8Array }[]> {
  const externalData: { path: string; data: Uint8Array }[] = [];
  for (const { weight, path } of initializers) {
    const values = await readWeight(file, weight, options);
    externalData.push({ path, data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) });
  }
  return externalData;
}

/** One weight in the graph's dtype, checked against the shape that the graph was written for. */
async function readWeight(
  file: WeightFile,
  weight: Weight,
  { signal, onBytes }: LoadOptions,
): Promise<Float32Array | Uint16Array> {
  for (const name of weight.tensors) checkShape(file, name, weight);
  const [first, ...rest] = weight.tensors;
  if (first === undefined) throw fail('internalError', `${weight.name}: a weight without tensors.`);
  if (rest.length === 0) return file.read(first, floatType(weight), signal, onBytes);
  const sum = new Float32Array(await file.read(first, 'float32', signal, onBytes));
  for (const name of rest) {
    const more = await file.read(name, 'float32', signal, onBytes);
    for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) + (more[i] ?? 0);
  }
  return floatType(weight) === 'float32' ? sum : float32ToFloat16(sum);
}

function checkShape(file: WeightFile, name: string, weight: Weight): void {
  const found = file.find(name);
  if (found === undefined) {
    throw fail('missingWeight', `${file.name} has no weight "${name}" [${weight.value.shape.join(', ')}].`, {
      hint: 'The file does not belong to this config, or it is incomplete.',
    });
  }
  // A 1×1 convolution and a linear layer hold the same bytes: [out, in] and [out, in, 1, 1].
  const [got, wanted] = [squeeze(found.shape), squeeze(weight.value.shape)];
  if (got.join() !== wanted.join()) {
    throw fail(
      'invalidModelFile',
      `${file.name}: "${name}" is [${found.shape.join(', ')}], the config asks for [${weight.value.shape.join(', ')}].`,
      {
        hint: 'The weights do not belong to this config.',
      },
    );
  }
}

/** Drops trailing ones. */
function squeeze(shape: readonly number[]): readonly number[] {
  let end = shape.length;
  while (end > 1 && shape[end - 1] === 1) end--;
  return shape.slice(0, end);
}

function floatType(weight: Weight): FloatType {
  const { dtype } = weight.value;
  if (dtype === 'float32' || dtype === 'float16') return dtype;
  throw fail('internalError', `${weight.name}: weights are floats, not ${dtype}.`);
}

function toBuffer(device: GPUDevice, label: string, data: Float32Array | Uint16Array): GPUBuffer {
  const size = Math.max(16, Math.ceil(data.byteLength / 16) * 16);
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const buffer = device.createBuffer({ label, size, usage, mappedAtCreation: true });
  new Uint8Array(buffer.getMappedRange()).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  buffer.unmap();
  return buffer;
}
