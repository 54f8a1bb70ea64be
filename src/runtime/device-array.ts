/** @file Arrays where sessions compute: GPU buffers, or plain arrays on the CPU; so that numbers need not pass through JavaScript. */
import type { Tensor } from 'onnxruntime-web';
import { padded } from '../base/arrays.js';
import { elementCount, type FloatType } from '../base/dtype.js';
import { fail } from '../base/errors.js';
import { float16ToFloat32, float32ToFloat16 } from '../base/half.js';
import { createBusy, type Busy } from './busy.js';
import { CODED_VALUES, createDeviceFloats, type Conversion, type ConversionPipelines } from './device-floats.js';
import { createHostFloats, isSoftware } from './host-floats.js';
import type { Lock } from './lock.js';
import type { Ort } from './ort.js';

/** What arrays hold: numbers to compute with, or codes of matrices of few bits. */
export type ArrayType = FloatType | 'uint8';

/** Numbers on the device of one runtime. Has one owner, who disposes it. */
export interface DeviceArray {
  readonly shape: readonly number[];
  readonly dtype: ArrayType;
  /** What sessions of the same runtime are fed. */
  readonly tensor: Tensor;
  /** The values of floats, as float32. */
  read(): Promise<Float32Array>;
  /** Frees it; a second call does nothing. Not while a run that reads it is under way. */
  dispose(): void;
}

/** Floats as the device holds them: float16 as its bits. */
export type StoredFloats = Float32Array | Uint16Array;
/** Values as the device holds them. */
export type Stored = StoredFloats | Uint8Array;
/** All values of an array, in order. */
export type Pieces = AsyncIterable<Stored> | Iterable<Stored>;

/** Makes arrays on one device. */
export interface ArrayStore {
  /** @param label for messages and graphics debuggers @throws outOfMemory */
  zeros(shape: readonly number[], dtype: ArrayType, label?: string): Promise<DeviceArray>;
  /** A copy of `values` on the device; on the CPU the values themselves. @throws outOfMemory */
  store(values: Stored, shape: readonly number[], dtype: ArrayType, label?: string): Promise<DeviceArray>;
  /**
   * The same of values that come in pieces, in order, of which one is held at a time (on the CPU: all).
   * @param reserved where they go; default: where there is room then. What throws, frees it
   * @throws outOfMemory, and what the pieces throw
   */
  storePieces(
    pieces: Pieces,
    shape: readonly number[],
    dtype: ArrayType,
    label?: string,
    reserved?: Promise<DeviceArray>,
  ): Promise<DeviceArray>;
  /**
   * An array for values that come later. Whether there is room for it is known when the device has come to it, through all that it was given before;
   * so whoever asks ahead need not wait. Absent on the CPU. @throws outOfMemory
   */
  reserve?(shape: readonly number[], dtype: ArrayType, label?: string): Promise<DeviceArray>;
  /**
   * For as long as weights are read: the device converts small floats itself. Absent on the CPU.
   * @param besideRuns whether it is given runs meanwhile, so that to wait for what is sent would be to wait for them. Default: no
   */
  openConverter?(besideRuns?: boolean): Converter;
  /**
   * `values` in the place of what `array`, an array of this store of the same size, held: on the GPU in its buffer, for the runs after those
   * that were begun; on the CPU in another array. `array` is not to be used any more.
   */
  refill(array: DeviceArray, values: Stored): Promise<DeviceArray>;
  /**
   * The same of values that come in pieces, in order, of which one is held at a time (on the CPU: all). Where it throws, `array` holds whatever came
   * before.
   * @throws what the pieces throw
   */
  refillPieces(array: DeviceArray, pieces: Pieces): Promise<DeviceArray>;
  /** Resolves when the device has done all that it was given up to now. */
  settled(): Promise<void>;
  /** Takes over an output that a session left on the device. */
  adopt(output: Tensor, shape: readonly number[], dtype: ArrayType): DeviceArray;
}

/** Makes arrays of floats that files have in another coding. */
export interface Converter {
  /** Whether an array of so many values can be made here. */
  takes(count: number, dtype: FloatType): boolean;
  /**
   * As `storePieces`, of floats of the coding `conversion.from`; pieces but the last have an even number of values.
   * @throws outOfMemory, and what the pieces throw
   */
  store(
    pieces: AsyncIterable<Uint16Array>,
    conversion: Conversion,
    shape: readonly number[],
    label?: string,
    reserved?: Promise<DeviceArray>,
  ): Promise<DeviceArray>;
  /** As `refillPieces`, of such floats. @throws what the pieces throw */
  refill(array: DeviceArray, pieces: AsyncIterable<Uint16Array>, conversion: Conversion): Promise<DeviceArray>;
  /** Whether any finite value was too large for float16; waits for the device. */
  overflowed(): Promise<boolean>;
  /** Frees what it needed beside the arrays. */
  dispose(): void;
}

/** `values` in the type that `dtype` is stored in. */
export function toStored(values: Float32Array, dtype: FloatType): StoredFloats {
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
  const adopt = (tensor: Tensor, shape: readonly number[], dtype: ArrayType): DeviceArray => ({
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
  const storePieces: ArrayStore['storePieces'] = async (pieces, shape, dtype, label = 'array') => {
    const values = new HOLDERS[dtype](elementCount(shape));
    let at = 0;
    for await (const piece of pieces) {
      checkRoom(at + piece.length, values.length, label);
      values.set(piece, at);
      at += piece.length;
    }
    checkCount(at, shape, label);
    return store(values, shape, dtype, label);
  };
  return {
    zeros: (shape, dtype, label = 'zeros') => store(new HOLDERS[dtype](elementCount(shape)), shape, dtype, label),
    store,
    storePieces,
    refill: ({ shape, dtype }, values) => store(values, shape, dtype),
    refillPieces: ({ shape, dtype }, pieces) => storePieces(pieces, shape, dtype),
    settled: () => Promise.resolve(),
    adopt,
  };
}

/**
 * Arrays in GPU buffers.
 * @param busy is told of copies to the device, which block while it has too much to do
 */
export function createGpuArrays(ort: Ort, device: GPUDevice, lock: Lock, busy: Busy = createBusy()): ArrayStore {
  const wrap = (tensor: Tensor, shape: readonly number[], dtype: ArrayType, release: () => void): DeviceArray => {
    // Tensor.getData would move the tensor to the CPU for good.
    const buffer = tensor.gpuBuffer;
    let disposed = false;
    return {
      shape,
      dtype,
      tensor,
      read: () => lock(() => download(device, buffer, elementCount(shape), floatsOnly(dtype))),
      dispose() {
        if (!disposed) release();
        disposed = true;
      },
    };
  };
  const write = createWriter(device, busy);
  /** For what is sent while the device computes: to wait for all that it was given would be to wait for that too. */
  const writeBeside = createWriter(device, busy, MARKS_BESIDE_RUNS);
  const pipelines: ConversionPipelines = new Map();
  const make = async (
    shape: readonly number[],
    dtype: ArrayType,
    label = 'array',
    values?: Stored,
  ): Promise<DeviceArray> => {
    const buffer = await createBuffer(device, busy, { label, bytes: elementCount(shape) * BYTES[dtype], values });
    const tensor = ort.Tensor.fromGpuBuffer(buffer, { dataType: dtype, dims: [...shape] });
    return wrap(tensor, shape, dtype, () => buffer.destroy());
  };
  return {
    zeros: (shape, dtype, label = 'zeros') => make(shape, dtype, label),
    reserve: (shape, dtype, label) => make(shape, dtype, label),
    store(values, shape, dtype, label = 'array') {
      checkCount(values.length, shape, label);
      return make(shape, dtype, label, values);
    },
    async storePieces(pieces, shape, dtype, label = 'array', reserved = make(shape, dtype, label)) {
      return orDispose(await reserved, (array) => fill(array, write, pieces, label));
    },
    openConverter(besideRuns = false) {
      const send = besideRuns ? writeBeside : write;
      const software = isSoftware(device);
      const floats = software ? createHostFloats(send) : createDeviceFloats(device, send, pipelines);
      const convert = async (
        array: DeviceArray,
        pieces: AsyncIterable<Uint16Array>,
        conversion: Conversion,
        label: string,
      ): Promise<DeviceArray> => {
        const each = CODED_VALUES[conversion.from];
        let at = 0;
        for await (const piece of pieces) {
          checkRoom(at + each * piece.length, elementCount(array.shape), label);
          await floats.write(array.tensor.gpuBuffer, at, piece, conversion);
          at += each * piece.length;
        }
        checkCount(at, array.shape, label);
        return array;
      };
      return {
        takes: (count, dtype) =>
          software ? dtype === 'float32' : count * BYTES[dtype] <= device.limits.maxStorageBufferBindingSize - 16,
        async store(pieces, conversion, shape, label = 'array', reserved = make(shape, conversion.to, label)) {
          return orDispose(await reserved, (array) => convert(array, pieces, conversion, label));
        },
        refill: (array, pieces, conversion) => convert(array, pieces, conversion, 'refill'),
        overflowed: () => floats.overflowed(),
        dispose: () => floats.dispose(),
      };
    },
    refill(array, values) {
      checkCount(values.length, array.shape, 'refill');
      const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      const whole = padded(bytes, 4);
      busy.call(() =>
        device.queue.writeBuffer(array.tensor.gpuBuffer, 0, whole.buffer, whole.byteOffset, whole.length),
      );
      return Promise.resolve(array);
    },
    refillPieces: (array, pieces) => fill(array, writeBeside, pieces, 'refill'),
    settled: () => device.queue.onSubmittedWorkDone(),
    adopt: (output, shape, dtype) => wrap(output, shape, dtype, () => giveBack(output, lock)),
  };
}

/** Lets ONNX Runtime have its buffer back, in turn. On a lost device that fails, and needs not be done: nobody waits for it. */
function giveBack(output: Tensor, lock: Lock): void {
  lock(() => Promise.resolve(output.dispose())).catch(() => undefined);
}

const BYTES = { float32: 4, float16: 2, uint8: 1 } as const satisfies Record<ArrayType, number>;

/** What values of a type are held in. */
const HOLDERS = { float32: Float32Array, float16: Uint16Array, uint8: Uint8Array } as const satisfies Record<
  ArrayType,
  unknown
>;

/** @throws internalError for what holds no floats */
export function floatsOnly(dtype: ArrayType): FloatType {
  if (dtype !== 'uint8') return dtype;
  throw fail('internalError', 'Codes of a packed matrix are not numbers to compute with.');
}

function checkCount(count: number, shape: readonly number[], label: string): void {
  if (count === elementCount(shape)) return;
  throw fail('internalError', `${label}: [${shape.join(', ')}] needs ${elementCount(shape)} values, got ${count}.`);
}

interface BufferOf {
  readonly label: string;
  readonly bytes: number;
  readonly values: Stored | undefined;
}

/**
 * A buffer that sessions can bind: zeros, or `values`. Its error scope is closed before anybody else can open one, so that it never mixes
 * with those of ONNX Runtime.
 */
async function createBuffer(device: GPUDevice, busy: Busy, { label, bytes, values }: BufferOf): Promise<GPUBuffer> {
  const size = Math.max(16, Math.ceil(bytes / 16) * 16);
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  device.pushErrorScope('out-of-memory');
  let buffer: GPUBuffer | undefined;
  let problem: unknown;
  try {
    buffer = device.createBuffer({ label, size, usage, mappedAtCreation: values !== undefined });
    if (values !== undefined) {
      new Uint8Array(buffer.getMappedRange()).set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      busy.call(() => buffer?.unmap());
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

/** Sends bytes, a multiple of 4, to a place in a buffer. */
type Write = (buffer: GPUBuffer, at: number, bytes: Uint8Array) => Promise<void>;

/** After so much is marked how far the device has come. */
const MARKED_BYTES = 16 << 20;

/**
 * So many marks may be on their way before the first is waited for: the browser copies what is written, and frees the copies when the GPU has them. Never
 * all are waited for, since meanwhile nothing would be read.
 */
const MARKS_AHEAD = 3;

/** Where runs are under way: about as much as comes while a block runs. */
const MARKS_BESIDE_RUNS = 31;

function createWriter(device: GPUDevice, busy: Busy, ahead = MARKS_AHEAD): Write {
  const marks: Promise<unknown>[] = [];
  let queued = 0;
  return async (buffer, at, bytes) => {
    busy.call(() => device.queue.writeBuffer(buffer, at, bytes.buffer, bytes.byteOffset, bytes.length));
    queued += bytes.length;
    if (queued < MARKED_BYTES) return;
    queued = 0;
    const mark = device.queue.onSubmittedWorkDone();
    mark.catch(() => undefined); // told to whoever waits for it
    marks.push(mark);
    if (marks.length > ahead) await marks.shift();
  };
}

/** `work` on an array that is freed where it fails. */
async function orDispose(array: DeviceArray, work: (array: DeviceArray) => Promise<DeviceArray>): Promise<DeviceArray> {
  try {
    return await work(array);
  } catch (error) {
    array.dispose();
    throw error;
  }
}

/** All values of an array on the GPU. */
async function fill(array: DeviceArray, write: Write, pieces: Pieces, label: string): Promise<DeviceArray> {
  checkCount(await writePieces(write, array.tensor.gpuBuffer, pieces, label), array.shape, label);
  return array;
}

/** Writes pieces one after the other from the buffer's beginning. @returns how many values there were */
async function writePieces(write: Write, buffer: GPUBuffer, pieces: Pieces, label: string): Promise<number> {
  let count = 0;
  let at = 0;
  let odd = new Uint8Array(0);
  for await (const piece of pieces) {
    const own = new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength);
    const bytes = odd.length === 0 ? own : joinBytes(odd, own);
    const even = bytes.length - (bytes.length % 4);
    checkRoom(at + bytes.length, buffer.size, label);
    await write(buffer, at, bytes.subarray(0, even));
    odd = bytes.slice(even);
    at += even;
    count += piece.length;
  }
  if (odd.length > 0) await write(buffer, at, padded(odd, 4));
  return count;
}

function checkRoom(needed: number, there: number, label: string): void {
  if (needed > there) throw fail('internalError', `${label}: more values came than it holds.`);
}

function joinBytes(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
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
