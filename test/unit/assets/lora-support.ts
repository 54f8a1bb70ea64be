/** @file For the tests of LoRA files: the weights of the tiny models, changes merged in float64, and digests of what they add. */
import { readFileSync } from 'node:fs';
import { elementCount } from '../../../src/base/dtype.js';
import { openLora, type LoraChanges, type LoraFile } from '../../../src/assets/lora-file.js';
import { openWeights, type WeightFile } from '../../../src/assets/weights.js';
import type { ChangedNetwork, Delta, Matrix, Product, WeightChange } from '../../../src/assets/weight-change.js';
import { CLIP_TEXT_LAYOUT, UNET_LAYOUT } from '../../../src/models/layouts/diffusers.js';
import type { NetworkWeights } from '../../../src/models/lora/addresses.js';
import { memoryTree } from '../../../src/assets/file-tree.js';
import { float32Bytes, folderTree, safetensors, type Stored } from './support.js';

export const GOLDEN = 'test/golden';

export function readGolden(path: string): unknown {
  return JSON.parse(readFileSync(new URL(`../../golden/${path}`, import.meta.url), 'utf8'));
}

/** Of a tiny model, its networks and where their weights are. */
export interface TinyModel {
  readonly networks: readonly NetworkWeights[];
  readonly files: ReadonlyMap<ChangedNetwork, WeightFile>;
}

const FOLDERS = [
  ['unet', 'unet', 'diffusion_pytorch_model', UNET_LAYOUT],
  ['encoder1', 'text_encoder', 'model', CLIP_TEXT_LAYOUT],
  ['encoder2', 'text_encoder_2', 'model', CLIP_TEXT_LAYOUT],
] as const;

export async function openTinyModel(name: 'sd15-tiny' | 'sdxl-tiny'): Promise<TinyModel> {
  const tree = folderTree(`${GOLDEN}/models/${name}`);
  const found = FOLDERS.slice(0, name === 'sd15-tiny' ? 2 : 3);
  const files = new Map<ChangedNetwork, WeightFile>();
  for (const [network, folder, stem, layout] of found)
    files.set(network, await openWeights(tree, folder, [stem], { layout }));
  return { files, networks: [...files].map(([network, file]) => ({ network, weights: weightsOf(file) })) };
}

/** Internal names: transformers 5 writes text encoders without `text_model.`. */
function weightsOf(file: WeightFile): NetworkWeights['weights'] {
  return [...file.tensors].map(([name, { shape }]) => {
    const isText = /^(encoder|embeddings|final_layer_norm)\./.test(name);
    return { name: isText ? `text_model.${name}` : name, shape };
  });
}

/** A change at strength 1, in float64: what it adds to the weight. */
export async function addedBy(change: WeightChange, file: WeightFile | undefined): Promise<Float64Array> {
  const { delta, rowNorms, inputNorms } = await change.read();
  const scaled = valuesOf(delta).map((value) => value * change.scale);
  const wanted = rowNorms ?? inputNorms;
  if (wanted === undefined) return scaled;
  if (file === undefined) throw new Error(`${change.tensor} needs the weight itself`);
  const weight = await file.read(change.tensor, 'float32');
  const sum = scaled.map((value, i) => value + (weight[i] ?? 0));
  const [rows = 1, inputs = 1, ...kernel] = file.find(change.tensor)?.shape ?? [];
  const places = kernel.reduce((product, side) => product * side, 1);
  // of `[O, I, h, w]` each output, or each input
  const group = (i: number): number =>
    rowNorms === undefined ? Math.floor(i / places) % inputs : Math.floor(i / (weight.length / rows));
  const squares = new Float64Array(wanted.length);
  sum.forEach((value, i) => (squares[group(i)] = (squares[group(i)] ?? 0) + value * value));
  return sum.map(
    (value, i) => (value / Math.sqrt(squares[group(i)] ?? NaN)) * (wanted[group(i)] ?? NaN) - (weight[i] ?? 0),
  );
}

function valuesOf(delta: Delta): Float64Array {
  switch (delta.kind) {
    case 'product':
      return productOf(delta.factor);
    case 'hadamard': {
      const second = productOf(delta.second);
      return productOf(delta.first).map((value, i) => value * (second[i] ?? 0));
    }
    case 'kronecker':
      return kronecker(delta.left, delta.right);
    case 'full':
      return Float64Array.from(checked(delta.values).values);
    default:
      return delta satisfies never;
  }
}

function productOf({ left, right }: Product): Float64Array {
  if (checked(left).columns !== checked(right).rows) throw new Error(`${left.columns} columns by ${right.rows} rows`);
  const out = new Float64Array(left.rows * right.columns);
  return out.map((_, at) => {
    const [row, column] = [Math.floor(at / right.columns), at % right.columns];
    let sum = 0;
    for (let k = 0; k < right.rows; k++)
      sum += (left.values[row * left.columns + k] ?? 0) * (right.values[k * right.columns + column] ?? 0);
    return sum;
  });
}

function kronecker(left: Matrix, right: Matrix): Float64Array {
  const columns = checked(left).columns * checked(right).columns;
  return new Float64Array(left.rows * right.rows * columns).map((_, at) => {
    const [row, column] = [Math.floor(at / columns), at % columns];
    const a = left.values[Math.floor(row / right.rows) * left.columns + Math.floor(column / right.columns)];
    const b = right.values[(row % right.rows) * right.columns + (column % right.columns)];
    return (a ?? NaN) * (b ?? NaN);
  });
}

function checked(matrix: Matrix): Matrix {
  if (matrix.values.length !== matrix.rows * matrix.columns) throw new Error(`${matrix.values.length} values`);
  return matrix;
}

/** Sum, checksum and three elements, as the golden files have them. */
export function digest(values: Float64Array): readonly number[] {
  const n = values.length;
  const checksum = values.reduce((sum, value, i) => sum + value * (((i * 37) % 101) - 50), 0);
  return [
    values.reduce((a, b) => a + b, 0),
    checksum,
    values[0] ?? NaN,
    values[Math.floor(n / 3)] ?? NaN,
    values[n - 1] ?? NaN,
  ];
}

/** How far apart two digests are, with `size` for the sums' rounding: the sum of what their elements amount to. */
export function distance(got: readonly number[], wanted: readonly number[], values: Float64Array): number {
  const amount = values.reduce((sum, value) => sum + Math.abs(value), 0);
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const units = [amount, amount * 50, largest, largest, largest];
  if (got.length !== units.length || wanted.length !== units.length)
    throw new Error(`${wanted.length} numbers in a digest`);
  return Math.max(...units.map((unit, i) => Math.abs((got[i] ?? NaN) - (wanted[i] ?? NaN)) / unit));
}

export type Shapes = Readonly<Record<string, readonly number[]>>;

/** A float32 tensor of small numbers. */
export function tensor(shape: readonly number[], value = 0.01): Stored {
  return { dtype: 'F32', shape, bytes: float32Bytes(Array<number>(elementCount(shape)).fill(value)) };
}

/** A LoRA file of these tensors; shapes stand for tensors of small numbers. */
export function loraOf(
  tensors: Readonly<Record<string, Stored | readonly number[]>>,
  metadata?: Readonly<Record<string, string>>,
): Promise<LoraFile> {
  const stored = Object.entries(tensors).map(([name, it]) => [name, 'dtype' in it ? it : tensor(it)] as const);
  return openLora(memoryTree('style', { 'style.safetensors': safetensors(Object.fromEntries(stored), metadata) }));
}

/** The networks of a model of these weights. */
export function networksOf(weights: Partial<Record<ChangedNetwork, Shapes>>): readonly NetworkWeights[] {
  return (['unet', 'encoder1', 'encoder2'] as const).flatMap((network) => {
    const shapes = weights[network];
    return shapes === undefined
      ? []
      : [{ network, weights: Object.entries(shapes).map(([name, shape]) => ({ name, shape })) }];
  });
}

/** `network/weight` of every change. */
export function changedBy({ changes }: LoraChanges): readonly string[] {
  return [...changes].flatMap(([network, list]) => list.map(({ tensor: name }) => `${network}/${name}`));
}
