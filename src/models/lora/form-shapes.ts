/** @file The shapes of a form's tensors: whether they fit together, and the size of the change that they make. */
import { fail } from '../../base/errors.js';
import type { Factor, Factors, Form, Size } from './form.js';
import { showKey, type LoraLayer, type LoraTensor } from './keys.js';

/** A layer, and its file's name for messages. */
export interface FormContext extends LoraLayer {
  readonly file: string;
}

/** A core has rank² · 9 numbers, and is multiplied out on the CPU: real ones are of rank 4 to 64. */
const MAX_CORE_RANK = 512;

/** @throws invalidModelFile naming the tensors that do not fit together */
export function sizeOfForm(form: Form, context: FormContext): Size {
  switch (form.kind) {
    case 'product':
      return sizeOfFactors(form.factor, context);
    case 'hadamard': {
      const [first, second] = [sizeOfFactors(form.first, context), sizeOfFactors(form.second, context)];
      if (first.rows === second.rows && first.columns === second.columns) return first;
      throw broken(context, `multiplies ${sizeText(first)} and ${sizeText(second)} elementwise`);
    }
    case 'kronecker': {
      const [left, right] = [sizeOfFactor(form.left, context), sizeOfFactor(form.right, context)];
      return { rows: left.rows * right.rows, columns: left.columns * right.columns };
    }
    case 'full':
      return matrixSize(form.values, context);
    default:
      return form satisfies never;
  }
}

function sizeOfFactor(factor: Factor, context: FormContext): Size {
  return 'whole' in factor ? matrixSize(factor.whole, context) : sizeOfFactors(factor, context);
}

function sizeOfFactors({ left, right, core, turned }: Factors, context: FormContext): Size {
  const stored = pointwise(left, context);
  const [rows, rank] = turned ? [stored.columns, stored.rows] : [stored.rows, stored.columns];
  if (core === undefined) {
    const inner = matrixSize(right, context);
    if (inner.rows === rank) return { rows, columns: inner.columns };
    throw unequal(left, right, context);
  }
  const inner = pointwise(right, context);
  const [i, j, ...kernel] = core.shape;
  if (kernel.length !== 2) throw misshapen(core, 'four dimensions were expected', context);
  if (i !== rank) throw unequal(left, core, context);
  if (j !== inner.rows) throw unequal(core, right, context);
  if (Math.max(i, j) > MAX_CORE_RANK) throw misshapen(core, `ranks of at most ${MAX_CORE_RANK} are accepted`, context);
  return { rows, columns: inner.columns * elements(core, kernel, context) };
}

/** @throws invalidModelFile unless the tensor has 1 (a vector), 2 or 4 dimensions, none of them 0 */
function matrixSize(tensor: LoraTensor, context: FormContext): Size {
  const [rows, ...rest] = tensor.shape;
  if (rows === undefined || ![0, 1, 3].includes(rest.length))
    throw misshapen(tensor, 'a matrix or a kernel was expected', context);
  return { rows: elements(tensor, [rows], context), columns: elements(tensor, rest, context) };
}

/** A matrix, also where it is kept as a 1×1 kernel. */
function pointwise(tensor: LoraTensor, context: FormContext): Size {
  const [rows = 0, columns = 0, ...kernel] = tensor.shape;
  if (tensor.shape.length < 2 || kernel.some((side) => side !== 1))
    throw misshapen(tensor, 'a matrix or a 1×1 kernel was expected', context);
  return { rows: elements(tensor, [rows], context), columns: elements(tensor, [columns], context) };
}

function elements(tensor: LoraTensor, sizes: readonly number[], context: FormContext): number {
  if (sizes.includes(0)) throw misshapen(tensor, 'sizes of at least 1 were expected', context);
  return sizes.reduce((product, size) => product * size, 1);
}

/** What alpha is divided by: the rows of `right`. LoKr's second factor counts before its first; whole factors have none. */
export function rankOf(form: Form): number | undefined {
  switch (form.kind) {
    case 'product':
      return form.factor.right.shape[0];
    case 'hadamard':
      return form.first.right.shape[0];
    case 'kronecker':
      for (const factor of [form.right, form.left]) if ('right' in factor) return factor.right.shape[0];
      return undefined;
    case 'full':
      return undefined;
    default:
      return form satisfies never;
  }
}

/** The columns of the left factor where the change can be written as one product of two matrices: LoRA, and LoHa with the product of its ranks. */
export function productRankOf(form: Form): number | undefined {
  const inner = ({ left, turned }: Factors): number => left.shape[turned ? 0 : 1] ?? 0;
  if (form.kind === 'product') return inner(form.factor);
  return form.kind === 'hadamard' ? inner(form.first) * inner(form.second) : undefined;
}

/** DoRA's magnitudes: of what there is one each. */
export interface Magnitude {
  readonly tensor: LoraTensor;
  readonly of: 'rows' | 'inputs';
}

/**
 * DoRA's magnitudes, one per row: LyCORIS' `[O, 1, …]`, peft's `[O]` or, for kernels, `[1, O, 1, 1]`. Or one per input: LyCORIS' `[1, I, 1, 1]`
 * (`wd_on_out=False`, as it was the default of old versions).
 */
export function magnitudeOf({ rows, columns }: Size, context: FormContext): Magnitude | undefined {
  const { parts } = context;
  const scale = parts.get('dora_scale');
  const tensor = scale ?? parts.get('magnitude');
  if (tensor === undefined) return undefined;
  if (scale !== undefined && parts.has('magnitude')) throw broken(context, 'has magnitudes twice');
  const [first, second, ...more] = tensor.shape;
  const count = tensor.shape.reduce((product, size) => product * size, 1);
  if (count === rows && (first === rows || (scale === undefined && second === rows))) return { tensor, of: 'rows' };
  const perInput = scale !== undefined && first === 1 && second === count && more.every((size) => size === 1);
  if (perInput && count > 0 && columns % count === 0) return { tensor, of: 'inputs' };
  throw misshapen(tensor, `${rows} magnitudes, one per row, were expected`, context);
}

export function broken({ file, address }: FormContext, what: string): Error {
  return fail('invalidModelFile', `${file}: the layer ${showKey(address)} ${what}.`, { parameter: 'lora' });
}

function misshapen({ name, shape }: LoraTensor, expected: string, { file }: FormContext): Error {
  return fail('invalidModelFile', `${file}: tensor ${showKey(name)} is [${shape.join(', ')}]; ${expected}.`, {
    parameter: 'lora',
  });
}

function unequal(left: LoraTensor, right: LoraTensor, { file }: FormContext): Error {
  const text = ({ name, shape }: LoraTensor): string => `${showKey(name)} [${shape.join(', ')}]`;
  return fail('invalidModelFile', `${file}: the ranks of ${text(left)} and ${text(right)} are not the same.`, {
    parameter: 'lora',
  });
}

export function sizeText({ rows, columns }: Size): string {
  return `[${rows}, ${columns}]`;
}
