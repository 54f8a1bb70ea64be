/** @file One weight of a graph, read from the model's files: checked, summed where it is a sum, in the graph's type. */
import type { OnBytes } from '../assets/source.js';
import type { WeightFile } from '../assets/weights.js';
import type { FloatType } from '../base/dtype.js';
import { fail } from '../base/errors.js';
import { float32ToFloat16 } from '../base/half.js';
import type { Weight } from '../onnx/types.js';
import type { Stored } from './device-array.js';

export interface ReadOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onBytes?: OnBytes | undefined;
}

/** @throws missingWeight, invalidModelFile (another shape than the graph was written for), aborted */
export async function readWeight(file: WeightFile, weight: Weight, { signal, onBytes }: ReadOptions): Promise<Stored> {
  for (const name of weight.tensors) checkShape(file, name, weight);
  const [first, ...rest] = weight.tensors;
  if (first === undefined) throw fail('internalError', `${weight.name}: a weight without tensors.`);
  if (rest.length === 0) return file.read(first, weightType(weight), signal, onBytes);
  const sum = new Float32Array(await file.read(first, 'float32', signal, onBytes));
  for (const name of rest) {
    const more = await file.read(name, 'float32', signal, onBytes);
    for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) + (more[i] ?? 0);
  }
  return weightType(weight) === 'float32' ? sum : float32ToFloat16(sum);
}

export function weightType(weight: Weight): FloatType {
  const { dtype } = weight.value;
  if (dtype === 'float32' || dtype === 'float16') return dtype;
  throw fail('internalError', `${weight.name}: weights are floats, not ${dtype}.`);
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
