/** @file Reads the tensors of one change of a LoRA file: its factors as float32 matrices, checked, and small products done. */
import { DTYPE_BYTES, elementCount } from '../base/dtype.js';
import { fail } from '../base/errors.js';
import type { Factor, Factors, Form } from '../models/lora/form.js';
import type { ChangeRows } from '../models/lora/flux-addresses.js';
import { showKey, type LoraTensor } from '../models/lora/keys.js';
import { decodeFloats } from './floats.js';
import { expandCore, kroneckerRows, multiply, pickRows, transpose } from './lora-algebra.js';
import type { TensorInfo } from './safetensors.js';
import type { ByteSource } from './source.js';
import type { Delta, Matrix, Product } from './weight-change.js';

/** Where the tensors of a file are. */
export interface LoraTensors {
  readonly source: ByteSource;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
}

export interface ReadDeltaOptions {
  /** Only these rows, in the order of the layer. */
  readonly rows?: ChangeRows | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** @throws invalidModelFile naming the tensor (not finite, not floats), downloadFailed, aborted */
export async function readDelta(
  form: Form,
  file: LoraTensors,
  { rows, signal }: ReadDeltaOptions = {},
): Promise<Delta> {
  // the rows of a product are those of its left factor
  const cut = ({ left, right }: Product): Product => ({ left: pickRows(left, rows), right });
  switch (form.kind) {
    case 'product':
      return { kind: 'product', factor: cut(await readFactors(form.factor, file, signal)) };
    case 'hadamard': {
      const first = cut(await readFactors(form.first, file, signal));
      return { kind: 'hadamard', first, second: cut(await readFactors(form.second, file, signal)) };
    }
    case 'kronecker': {
      const left = await readFactor(form.left, file, signal);
      return kroneckerRows(left, await readFactor(form.right, file, signal), rows);
    }
    case 'full':
      return { kind: 'full', values: pickRows(await readMatrix(form.values, file, signal), rows) };
    default:
      return form satisfies never;
  }
}

/** The product itself is left to the device. */
async function readFactors(
  { left, right, core, turned }: Factors,
  file: LoraTensors,
  signal?: AbortSignal,
): Promise<Product> {
  const stored = await readMatrix(left, file, signal);
  const inner = await readMatrix(right, file, signal);
  return {
    left: turned ? transpose(stored) : stored,
    right:
      core === undefined ? inner : finite(expandCore(await readMatrix(core, file, signal), inner), core.name, file),
  };
}

async function readFactor(factor: Factor, file: LoraTensors, signal?: AbortSignal): Promise<Matrix> {
  if ('whole' in factor) return readMatrix(factor.whole, file, signal);
  const { left, right } = await readFactors(factor, file, signal);
  return finite(multiply(left, right), factor.left.name, file);
}

/** A kernel `[O, I, h, w]` as `[O, I·h·w]`, a vector `[O]` as `[O, 1]`. */
async function readMatrix({ name, shape }: LoraTensor, file: LoraTensors, signal?: AbortSignal): Promise<Matrix> {
  const [rows = 1, ...rest] = shape;
  return { rows, columns: elementCount(rest), values: await readValues(name, file, signal) };
}

/** @throws invalidModelFile (not floats; NaN or infinite) */
export async function readValues(name: string, file: LoraTensors, signal?: AbortSignal): Promise<Float32Array> {
  const { dtype, start, end } = tensorOf(name, file);
  const bytes = await file.source.read(start, end, signal);
  const values = decodeFloats(bytes, dtype, 'float32', `${file.source.name}: tensor ${showKey(name)}`);
  checkFinite(values, name, file);
  return values;
}

/** One number, of any type that alphas are saved in. @throws invalidModelFile */
export async function readScalar(name: string, file: LoraTensors, signal?: AbortSignal): Promise<number> {
  const { dtype, shape, start, end } = tensorOf(name, file);
  if (elementCount(shape) !== 1) {
    throw fail(
      'invalidModelFile',
      `${file.source.name}: tensor ${showKey(name)} is [${shape.join(', ')}]; one number was expected.`,
    );
  }
  if (dtype !== 'I64' && dtype !== 'I32') return (await readValues(name, file, signal))[0] ?? NaN;
  const bytes = await file.source.read(start, end, signal);
  const view = new DataView(bytes.buffer, bytes.byteOffset, DTYPE_BYTES[dtype]);
  return dtype === 'I64' ? Number(view.getBigInt64(0, true)) : view.getInt32(0, true);
}

function tensorOf(name: string, { source, tensors }: LoraTensors): TensorInfo {
  const tensor = tensors.get(name);
  if (tensor !== undefined) return tensor;
  throw fail('internalError', `${source.name}: tensor ${showKey(name)} was asked for, which the file does not have.`);
}

function finite(matrix: Matrix, name: string, file: LoraTensors): Matrix {
  checkFinite(matrix.values, name, file, ' times its partner');
  return matrix;
}

function checkFinite(values: Float32Array, name: string, { source }: LoraTensors, more = ''): void {
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? 0;
    if (Number.isFinite(value)) continue;
    throw fail(
      'invalidModelFile',
      `${source.name}: tensor ${showKey(name)}${more} holds ${value} (element ${i}); finite numbers were expected.`,
      {
        parameter: 'lora',
        hint: 'The training went wrong, or the file is damaged.',
      },
    );
  }
}
