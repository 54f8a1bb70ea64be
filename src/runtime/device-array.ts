/** @file Arrays where sessions compute: GPU buffers, or plain arrays on the CPU; so that numbers need not pass through JavaScript. */
import type { Tensor } from 'onnxruntime-web';
import { elementCount, type FloatType } from '../base/dtype.js';
import { fail } from '../base/errors.js';
import { float16ToFloat32, float32ToFloat16 } from '../base/half.js';
import type { Lock } from './lock.js';
import type { Ort } from './ort.js';

/** Numbers on the device of one runtime. Has one owner, who disposes it. */
export interface DeviceArray {
  readonly shape: readonly number[];
  readonly dtype: FloatType;
  /** What sessions of the same runtime are fed. */
  readonly tensor: Tensor;
  /** The values, as float32. */
  read(): Promise<Float32Array>;
  /** Frees it; a second call does nothing. Not while a run that reads it is under way. */
  dispose(): void;
}

/** Values as the device holds them: float16 as its bits. */
export type Stored = Float32Array | Uint16Array;

/** Makes arrays on one device. */
export interface ArrayStore {
  /** @param label for messages and graphics debuggers @throws outOfMemory */
  zeros(shape: readonly number[], dtype: FloatType, label?: string): Promise<DeviceArray>;
  /** A copy of `values` on the device; on the CPU the values themselves. @throws outOfMemory */
  store(values: Stored, shape: readonly number[], dtype: FloatType, label?: string): Promise<DeviceArray>;
  /** Takes over an output that a session left on the device. */
  adopt(output: Tensor, shape: readonly number[], dtype: FloatType): DeviceArray;
}

/** `values` in the type that `dtype` is stored in. */
export function toStored(values: Float32Array, dtype: FloatType): Stored {
  return dtype === 'float16' ? float32ToFloat16(values) : values;
}

/** What ONNX Runtime gives for a float tensor → float32; float16 comes as Float16Array where the engine has it, as bits elsewhere. */
export function toFloat32(data: unknown, what: string): Float32Array {
  if (data instanceof Float32Array) return data;
  if (data instanceof Uint16Array) return float16ToFloat32(data);
  if (ArrayBuffer.isView(data))
    return float16ToFloat32(new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2));
  throw fail('internalError', `${what} is not a float tensor.`);
}

/** Arrays of the CPU backend. */
export function createCpuArrays(ort: Ort): ArrayStore {
  const adopt = (tensor: Tensor, shape: readonly number[], dtype: FloatType): DeviceArray => ({
    shape,
    dtype,
    tensor,
    read: () => Promise.resolve(toFloat32(tensor.data, 'An array').slice()),
    dispose: () => undefined,
  });
  const store: ArrayStore['store'] = (values, shape, dtype, label = 'array') => {
    checkCount(values.length, shape, label);
    return Promise.resolve(adopt(new ort.Tensor(dtype, values, shape), shape, dtype));
  };
  return {
    zeros: (shape, dtype, label = 'zeros') => {
      const count = elementCount(shape);
      return store(dtype === 'float16' ? new Uint16Array(count) : new Float32Array(count), shape, dtype, label);
    },
    store,
    adopt,
  };
}

/** Arrays in GPU buffers. */
export function createGpuArrays(ort: Ort, device: GPUDevice, lock: Lock): ArrayStore {
  const wrap = (tensor: Tensor, shape: readonly number[], dtype: FloatType, release: () => void): DeviceArray => {
    // Tensor.getData would move the tensor to the CPU for good.
    const buffer = tensor.gpuBuffer;
    let disposed = false;
    return {
      shape,
      dtype,
      tensor,
      read: () => lock(() => download(device, buffer, elementCount(shape), dtype)),
      dispose() {
        if (!disposed) release();
        disposed = true;
      },
    };
  };
  const make = async (
    shape: readonly number[],
    dtype: FloatType,
    label: string,
    values?: Stored,
  ): Promise<DeviceArray> => {
    const buffer = await createBuffer(device, label, elementCount(shape) * BYTES[dtype], values);
    const tensor = ort.Tensor.fromGpuBuffer(buffer, { dataType: dtype, dims: [...shape] });
    return wrap(tensor, shape, dtype, () => buffer.destroy());
  };
  return {
    zeros: (shape, dtype, label = 'zeros') => make(shape, dtype, label),
    store(values, shape, dtype, label = 'array') {
      checkCount(values.length, shape, label);
      return make(shape, dtype, label, values);
    },
    adopt: (output, shape, dtype) =>
      wrap(output, shape, dtype, () => void lock(() => Promise.resolve(output.dispose()))),
  };
}

const BYTES = { float32: 4, float16: 2 } as const satisfies Record<FloatType, number>;

function checkCount(count: number, shape: readonly number[], label: string): void {
  if (count === elementCount(shape)) return;
  throw fail('internalError', `${label}: [${shape.join(', ')}] needs ${elementCount(shape)} values, got ${count}.`);
}

/**
 * A buffer that sessions can bind: zeros, or `values`. Its error scope is closed before anybody else can open one, so that it never mixes
 * with those of ONNX Runtime.
 */
async function createBuffer(device: GPUDevice, label: string, bytes: number, values?: Stored): Promise<GPUBuffer> {
  const size = Math.max(16, Math.ceil(bytes / 16) * 16);
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  device.pushErrorScope('out-of-memory');
  let buffer: GPUBuffer | undefined;
  let problem: unknown;
  try {
    buffer = device.createBuffer({ label, size, usage, mappedAtCreation: values !== undefined });
    if (values !== undefined) {
      new Uint8Array(buffer.getMappedRange()).set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      buffer.unmap();
    }
  } catch (error) {
    problem = error; // a RangeError where the memory to map cannot be had
  }
  problem = (await device.popErrorScope()) ?? problem;
  if (buffer !== undefined && problem === undefined) return buffer;
  buffer?.destroy();
  throw fail('outOfMemory', `${label}: a buffer of ${size} bytes could not be made.`, {
    hint: 'Use a smaller picture or a smaller model, or close other pages that use the GPU.',
    cause: problem,
  });
}

/** Copies a buffer's first `count` values to JavaScript. */
async function download(device: GPUDevice, buffer: GPUBuffer, count: number, dtype: FloatType): Promise<Float32Array> {
  const bytes = count * BYTES[dtype];
  const size = Math.ceil(bytes / 4) * 4;
  const staging = device.createBuffer({
    label: 'read',
    size,
    usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
  });
  try {
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, 0, staging, 0, size);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const copy = staging.getMappedRange().slice(0, bytes);
    return dtype === 'float16' ? float16ToFloat32(new Uint16Array(copy)) : new Float32Array(copy);
  } finally {
    staging.destroy();
  }
}
