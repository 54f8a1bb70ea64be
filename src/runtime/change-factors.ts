/** @file The changes of one weight → the shapes that their graph is written for and the numbers that it is fed. */
import { transpose } from '../assets/lora-algebra.js';
import { wholeRank, type AppliedChange, type Delta, type Matrix, type Product } from '../assets/weight-change.js';
import type { FloatType } from '../base/dtype.js';
import { fail } from '../base/errors.js';
import {
  CHANGE_IO,
  changeType,
  type ChangeShape,
  type DeltaShape,
  type FactorName,
  type MatrixSize,
} from '../graphs/weight-change.js';

/** For {@link weightChangeGraph}: what it is written for, and its inputs but the weight. */
export interface ChangePlan {
  readonly size: MatrixSize;
  readonly changes: readonly ChangeShape[];
  /** What the inputs are stored in. */
  readonly dtype: FloatType;
  readonly inputs: Readonly<Record<string, FactorInput>>;
}

export interface FactorInput {
  readonly values: Float32Array;
  readonly shape: readonly number[];
}

/** A change without its file. */
interface ReadChange {
  readonly delta: Delta;
  /** Strength and scale; scale alone where the change rescales. */
  readonly amount: number;
  /** Times strength. */
  readonly norms?: Norms;
}

interface Norms {
  readonly of: 'rows' | 'inputs';
  readonly values: Float32Array;
}

/**
 * Reads all changes of the weight `name`, a matrix of `size`.
 * @throws incompatibleLora when one has another shape; invalidModelFile when numbers leave the range of the weight's type; aborted
 */
export async function readChanges(
  name: string,
  size: MatrixSize,
  applied: readonly AppliedChange[],
  dtype: FloatType,
  signal?: AbortSignal,
): Promise<ChangePlan> {
  const read: ReadChange[] = [];
  for (const change of applied) read.push(await readOne(name, size, change, signal));
  const products = read.flatMap(({ delta, amount, norms }) =>
    delta.kind === 'product' && norms === undefined ? [{ ...delta.factor, amount }] : [],
  );
  const others = read.filter(({ delta, norms }) => delta.kind !== 'product' || norms !== undefined);

  const changes: ChangeShape[] = [];
  const inputs: Record<string, FactorInput> = {};
  const add = (parts: Parts, norms?: Norms): void => {
    const at = changes.length;
    const count = norms?.values.length ?? 0;
    const inputsOf = norms?.of === 'inputs' ? { inputs: count } : {};
    changes.push({ ...parts.shape, rescales: norms !== undefined, ...inputsOf });
    for (const { factor, ...input } of parts.factors) inputs[CHANGE_IO.factor(at, factor)] = input;
    if (norms !== undefined) {
      const shape = norms.of === 'rows' ? [count, 1] : [1, count, 1];
      inputs[CHANGE_IO.factor(at, 'norms')] = { values: norms.values, shape };
    }
  };
  if (products.length > 0) add(partsOfProducts(size, products));
  for (const { delta, amount, norms } of others) add(partsOf(size, delta, amount), norms);

  const rescaling = applied.filter(({ rescales }) => rescales);
  if (rescaling.length > 0) {
    const kept = rescaling.reduce((rest, { strength }) => rest - strength, 1);
    inputs[CHANGE_IO.kept] = { values: Float32Array.of(kept), shape: [1] };
  }
  const type = changeType(changes, dtype);
  for (const { values } of Object.values(inputs)) checkRange(name, values, type);
  return { size, changes, dtype: type, inputs };
}

/**
 * The factors of all changes of the weight `name`, a matrix of `size`, as one product of `rank`, which they fit into (`productRank`), with amounts in it.
 * @throws as {@link readChanges}
 */
export async function readBranch(
  name: string,
  size: MatrixSize,
  applied: readonly AppliedChange[],
  { rank, dtype }: { readonly rank: number; readonly dtype: FloatType },
  signal?: AbortSignal,
): Promise<Readonly<Record<'left' | 'right', FactorInput>>> {
  const products: ScaledProduct[] = [];
  for (const change of applied) {
    const { delta, amount } = await readOne(name, size, change, signal);
    const product = productOf(delta);
    if (product === undefined) throw fail('internalError', `${change.id}: a ${delta.kind} is no product.`);
    products.push({ ...product, amount });
  }
  const factors = joinProducts(size, products, rank);
  for (const { values } of Object.values(factors)) checkRange(name, values, dtype);
  return factors;
}

async function readOne(
  name: string,
  size: MatrixSize,
  change: AppliedChange,
  signal: AbortSignal | undefined,
): Promise<ReadChange> {
  const { id, scale, strength, rescales } = change;
  const { delta, rowNorms, inputNorms } = await change.read(signal);
  const { rows, columns } = sizeOf(id, delta);
  if (rows !== size.rows || columns !== size.columns) {
    throw fail(
      'incompatibleLora',
      `${id}: changes "${name}" by [${rows}, ${columns}]; the model's is [${size.rows}, ${size.columns}].`,
      { hint: 'It was made for another family of models.' },
    );
  }
  if (!rescales) return { delta, amount: strength * scale };
  const strong = (norms: Float32Array): Float32Array => norms.map((norm) => norm * strength);
  if (rowNorms === undefined && inputNorms !== undefined && size.columns % inputNorms.length === 0)
    return { delta, amount: scale, norms: { of: 'inputs', values: strong(inputNorms) } };
  if (rowNorms?.length !== size.rows) {
    throw fail(
      'incompatibleLora',
      `${id}: has ${rowNorms?.length ?? 'no'} row norms for "${name}" of ${size.rows} rows.`,
      { hint: 'It was made for another family of models.' },
    );
  }
  return { delta, amount: scale, norms: { of: 'rows', values: strong(rowNorms) } };
}

/** The matrix that a Δ is. @throws incompatibleLora when its own factors do not fit together */
function sizeOf(id: string, delta: Delta): MatrixSize {
  const ofProduct = ({ left, right }: Product): MatrixSize => {
    if (left.columns === right.rows) return { rows: left.rows, columns: right.columns };
    throw fail(
      'incompatibleLora',
      `${id}: factors [${left.rows}, ${left.columns}] and [${right.rows}, ${right.columns}] do not fit together.`,
    );
  };
  switch (delta.kind) {
    case 'product':
      return ofProduct(delta.factor);
    case 'hadamard': {
      const [first, second] = [ofProduct(delta.first), ofProduct(delta.second)];
      if (first.rows === second.rows && first.columns === second.columns) return first;
      throw fail('incompatibleLora', `${id}: its two products have different shapes.`);
    }
    case 'kronecker':
      return { rows: delta.left.rows * delta.right.rows, columns: delta.left.columns * delta.right.columns };
    case 'full':
      return delta.values;
    default:
      return delta satisfies never;
  }
}

/** One entry of the graph and its inputs. */
interface Parts {
  readonly shape: DeltaShape;
  readonly factors: readonly (FactorInput & { readonly factor: FactorName })[];
}

function partsOf(size: MatrixSize, delta: Delta, amount: number): Parts {
  switch (delta.kind) {
    case 'product':
      return partsOfProducts(size, [{ ...delta.factor, amount }]);
    case 'hadamard': {
      const [first, second] = [balance({ ...delta.first, amount: 1 }), balance({ ...delta.second, amount })];
      return {
        shape: { kind: 'hadamard', ranks: [delta.first.left.columns, delta.second.left.columns] },
        factors: [
          { factor: 'left', ...times(delta.first.left, first.left) },
          { factor: 'right', ...times(delta.first.right, first.right) },
          { factor: 'left2', ...times(delta.second.left, second.left) },
          { factor: 'right2', ...times(delta.second.right, second.right) },
        ],
      };
    }
    case 'kronecker': {
      const { left, right } = delta;
      const sizes = { left: [left.rows, left.columns], right: [right.rows, right.columns] } as const;
      return {
        shape: { kind: 'kronecker', ...sizes },
        factors: [
          { factor: 'left', values: times(left, amount).values, shape: [left.rows, 1, left.columns, 1] },
          { factor: 'right', values: right.values, shape: [1, right.rows, 1, right.columns] },
        ],
      };
    }
    case 'full':
      return { shape: { kind: 'full' }, factors: [{ factor: 'values', ...times(delta.values, amount) }] };
    default:
      return delta satisfies never;
  }
}

/** `amount · left · right`. */
type ScaledProduct = Product & { readonly amount: number };

/** (a·b) ∘ (c·d) = (columns aᵢ∘cⱼ)·(rows bᵢ∘dⱼ), for all i and j: the product of Khatri and Rao (1968). */
function productOf(delta: Delta): Product | undefined {
  if (delta.kind === 'product') return delta.factor;
  if (delta.kind !== 'hadamard') return undefined;
  const { first, second } = delta;
  const [columnsLeft, rowsRight] = [
    khatriRao(transpose(first.left), transpose(second.left)),
    khatriRao(first.right, second.right),
  ];
  return { left: transpose(columnsLeft), right: rowsRight };
}

/** Each row of one times each of the other, element by element. */
function khatriRao(a: Matrix, b: Matrix): Matrix {
  const { columns } = a;
  const values = new Float32Array(a.rows * b.rows * columns);
  for (let i = 0; i < a.rows; i++)
    for (let j = 0; j < b.rows; j++)
      for (let x = 0; x < columns; x++)
        values[(i * b.rows + j) * columns + x] =
          (a.values[i * columns + x] ?? NaN) * (b.values[j * columns + x] ?? NaN);
  return { rows: a.rows * b.rows, columns, values };
}

function partsOfProducts(size: MatrixSize, products: readonly ScaledProduct[]): Parts {
  const rank = wholeRank(products.reduce((sum, { left }) => sum + left.columns, 0));
  const { left, right } = joinProducts(size, products, rank);
  return {
    shape: { kind: 'product', rank },
    factors: [
      { factor: 'left', ...left },
      { factor: 'right', ...right },
    ],
  };
}

/** Σ amountᵢ·leftᵢ·rightᵢ = [left₁ left₂ …]·[right₁; right₂; …], filled up with zeros. */
function joinProducts(
  { rows, columns }: MatrixSize,
  products: readonly ScaledProduct[],
  rank: number,
): Readonly<Record<'left' | 'right', FactorInput>> {
  const left = new Float32Array(rows * rank);
  const right = new Float32Array(rank * columns);
  let at = 0;
  for (const product of products) {
    const factors = balance(product);
    const own = product.left.columns;
    for (let row = 0; row < rows; row++)
      for (let k = 0; k < own; k++)
        left[row * rank + at + k] = factors.left * (product.left.values[row * own + k] ?? NaN);
    for (let i = 0; i < own * columns; i++) right[at * columns + i] = factors.right * (product.right.values[i] ?? NaN);
    at += own;
  }
  return { left: { values: left, shape: [rows, rank] }, right: { values: right, shape: [rank, columns] } };
}

/**
 * Numbers to multiply the factors of a product with, so that it gets its amount and both have numbers of one magnitude: what trainers
 * leave in them may be too small or too large for float16. The shift between them is a power of two, which changes no digit.
 */
function balance({ left, right, amount }: ScaledProduct): { readonly left: number; readonly right: number } {
  const [a, b] = [largest(left.values), largest(right.values) * Math.abs(amount)];
  const shift = a > 0 && b > 0 ? 2 ** Math.round(Math.log2(a / b) / 2) : 1;
  return Number.isFinite(shift) && shift > 0 ? { left: 1 / shift, right: amount * shift } : { left: 1, right: amount };
}

function times({ rows, columns, values }: Matrix, factor: number): FactorInput {
  return { values: factor === 1 ? values : values.map((value) => value * factor), shape: [rows, columns] };
}

function largest(values: Float32Array): number {
  let most = 0;
  for (const value of values) most = Math.max(most, Math.abs(value));
  return most;
}

/** The largest numbers that do not become Infinity. */
const LIMIT = { float32: 3.4028234663852886e38, float16: 65504 } as const satisfies Record<FloatType, number>;

function checkRange(name: string, values: Float32Array, dtype: FloatType): void {
  const most = largest(values);
  if (most <= LIMIT[dtype]) return;
  throw fail('invalidModelFile', `A LoRA changes "${name}" by ${most}, which ${dtype} cannot hold.`, {
    hint: 'Give it a weight nearer to 0, or use another file.',
  });
}
