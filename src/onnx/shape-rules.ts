/** @file The verifier: for every operator in use, input types and shapes → output types and shapes, or an error. */
import { elementCount } from '../base/dtype.js';
import { fail } from '../base/errors.js';
import {
  expect,
  input,
  dim,
  isFloat,
  attribute,
  numbers,
  same,
  like,
  constant,
  refuse,
  type Call,
  type TypedShape,
} from './call.js';
import { SEQUENCE_RULES } from './sequence-rules.js';
import { ELEMENT_TYPE_CODE } from './types.js';
import { VISION_RULES } from './vision-rules.js';

type Rule = (call: Call) => readonly TypedShape[];

/** Infers the outputs of one operator call. @throws invalidGraph naming operator, got and expected. */
export function inferOutputs(domain: string, call: Call): readonly TypedShape[] {
  const rule = RULES[domain === '' ? call.op : `${domain}:${call.op}`];
  if (rule === undefined)
    throw fail('invalidGraph', `${call.op}: no shape rule for this operator (domain "${domain}").`);
  return rule(call);
}

const elementwise: Rule = (call) => {
  const x = input(call, 0);
  expect(call, isFloat(x), 'needs a float tensor');
  return like(x);
};

const broadcast: Rule = (call) => {
  const a = input(call, 0);
  const b = input(call, 1);
  expect(call, a.dtype === b.dtype, 'both sides must have the same dtype');
  const rank = Math.max(a.shape.length, b.shape.length);
  const shape = Array.from({ length: rank }, (_, i) => {
    const m = a.shape[a.shape.length - rank + i] ?? 1;
    const n = b.shape[b.shape.length - rank + i] ?? 1;
    expect(call, m === n || m === 1 || n === 1, `shapes do not broadcast at axis ${i}`);
    return Math.max(m, n);
  });
  return like(a, shape);
};

/** A vector input of length `size`, same dtype as x. */
function vector(call: Call, index: number, size: number, what: string): void {
  const v = call.inputs[index];
  if (v === undefined) return;
  expect(call, same(v.shape, [size]), `${what} must be [${size}]`);
  expect(call, v.dtype === input(call, 0).dtype, `${what} must have the dtype of the first input`);
}

/** Convolution over two spatial axes; `channels` and `spatial` say where they are in X. W is OIHW. */
function convolution(channels: number, spatial: readonly [number, number]): Rule {
  return (call) => {
    const x = input(call, 0);
    const w = input(call, 1);
    const group = attribute(call, 'group', 1);
    expect(call, isFloat(x) && x.shape.length === 4 && w.shape.length === 4, 'needs a float rank-4 X and W');
    expect(call, w.dtype === x.dtype, 'W must have the dtype of X');
    expect(
      call,
      dim(w, 1) * group === dim(x, channels),
      `W expects ${dim(w, 1) * group} input channels, X has ${dim(x, channels)}`,
    );
    vector(call, 2, dim(w, 0), 'bias');
    const pads = numbers(call, 'pads', [0, 0, 0, 0]);
    const strides = numbers(call, 'strides', [1, 1]);
    expect(
      call,
      same(numbers(call, 'kernel_shape', w.shape.slice(2)), w.shape.slice(2)),
      'kernel_shape differs from W',
    );
    const shape = [...x.shape];
    shape[channels] = dim(w, 0);
    spatial.forEach((axis, i) => {
      const padded = dim(x, axis) + (pads[i] ?? 0) + (pads[i + 2] ?? 0);
      shape[axis] = Math.floor((padded - dim(w, 2 + i)) / (strides[i] ?? 1)) + 1;
      expect(call, (shape[axis] ?? 0) > 0, 'the kernel is larger than the padded input');
    });
    return like(x, shape);
  };
}

const cast: Rule = (call) => {
  const x = input(call, 0);
  const code = attribute(call, 'to', 0);
  if (code === ELEMENT_TYPE_CODE.float32) return [{ dtype: 'float32', shape: x.shape }];
  if (code === ELEMENT_TYPE_CODE.float16) return [{ dtype: 'float16', shape: x.shape }];
  return refuse(call, `to must be a float type, not ${code}`);
};

/** Reduces the axes named by a constant; they stay, with size 1. */
const reduce: Rule = (call) => {
  const x = input(call, 0);
  const axes = constant(call, 1);
  expect(call, isFloat(x) && axes.every((axis) => axis >= 0 && axis < x.shape.length), 'needs axes of a float tensor');
  expect(call, attribute(call, 'keepdims', 1) === 1, 'keepdims must be 1');
  return like(
    x,
    x.shape.map((size, axis) => (axes.includes(axis) ? 1 : size)),
  );
};

const gemm: Rule = (call) => {
  const a = input(call, 0);
  const b = input(call, 1);
  const c = call.inputs[2];
  expect(call, a.shape.length === 2 && b.shape.length === 2, 'needs two matrices');
  expect(call, isFloat(a) && a.dtype === b.dtype, 'needs float matrices of one dtype');
  const [m, k] = attribute(call, 'transA', 0) === 1 ? [dim(a, 1), dim(a, 0)] : [dim(a, 0), dim(a, 1)];
  const [n, k2] = attribute(call, 'transB', 0) === 1 ? [dim(b, 0), dim(b, 1)] : [dim(b, 1), dim(b, 0)];
  expect(call, k === k2, `inner sizes differ: ${k} and ${k2}`);
  if (c !== undefined) {
    expect(call, same(c.shape, [n]) || same(c.shape, [m, n]), `C must be [${n}] or [${m},${n}]`);
    expect(call, c.dtype === a.dtype, 'C must have the dtype of A');
  }
  return like(a, [m, n]);
};

const matMul: Rule = (call) => {
  const a = input(call, 0);
  const b = input(call, 1);
  expect(call, isFloat(a) && a.dtype === b.dtype, 'needs float tensors of one dtype');
  expect(call, a.shape.length >= 2 && a.shape.length === b.shape.length, 'needs tensors of one rank ≥ 2');
  expect(call, same(a.shape.slice(0, -2), b.shape.slice(0, -2)), 'batch sizes differ');
  expect(call, dim(a, -1) === dim(b, -2), `inner sizes differ: ${dim(a, -1)} and ${dim(b, -2)}`);
  return like(a, [...a.shape.slice(0, -1), dim(b, -1)]);
};

const groupNorm: Rule = (call) => {
  const x = input(call, 0);
  const groups = attribute(call, 'groups', 0);
  expect(call, isFloat(x) && x.shape.length >= 3, 'needs a float tensor [N,…,C]');
  const channels = dim(x, -1);
  expect(call, groups > 0 && channels % groups === 0, `${channels} channels do not divide into ${groups} groups`);
  vector(call, 1, channels, 'gamma');
  vector(call, 2, channels, 'beta');
  return like(x);
};

const skipGroupNorm: Rule = (call) => {
  const [y] = groupNorm(call);
  const x = input(call, 0);
  const skip = input(call, 3);
  const perChannel = [dim(x, 0), dim(x, -1)];
  expect(
    call,
    same(skip.shape, x.shape) || same(skip.shape, perChannel),
    `skip must be [${x.shape.join(',')}] or [${perChannel.join(',')}]`,
  );
  vector(call, 4, dim(x, -1), 'bias');
  return y === undefined ? [] : [y, y];
};

const layerNorm: Rule = (call) => {
  const x = input(call, 0);
  expect(call, isFloat(x), 'needs a float tensor');
  vector(call, 1, dim(x, -1), 'scale');
  vector(call, 2, dim(x, -1), 'bias');
  return like(x);
};

const skipLayerNorm: Rule = (call) => {
  const x = input(call, 0);
  expect(call, isFloat(x) && same(x.shape, input(call, 1).shape), 'input and skip must have one shape');
  vector(call, 2, dim(x, -1), 'gamma');
  vector(call, 3, dim(x, -1), 'beta');
  vector(call, 4, dim(x, -1), 'bias');
  return [...like(x), ...like(x), ...like(x), ...like(x)];
};

const multiHeadAttention: Rule = (call) => {
  const [q, k, v] = [input(call, 0), input(call, 1), input(call, 2)];
  const heads = attribute(call, 'num_heads', 0);
  expect(
    call,
    [q, k, v].every((t) => isFloat(t) && t.shape.length === 3),
    'needs [B,S,D] query, key and value',
  );
  expect(
    call,
    heads > 0 && dim(q, 2) % heads === 0 && dim(v, 2) % heads === 0,
    `width does not divide into ${heads} heads`,
  );
  expect(call, dim(q, 2) === dim(k, 2), 'query and key widths differ');
  expect(
    call,
    dim(k, 1) === dim(v, 1) && dim(q, 0) === dim(k, 0) && dim(k, 0) === dim(v, 0),
    'batch or key/value lengths differ',
  );
  const bias = call.inputs[5];
  if (bias !== undefined) {
    const [b, n, s, t] = bias.shape;
    const fits =
      bias.shape.length === 4 &&
      (b === 1 || b === dim(q, 0)) &&
      (n === 1 || n === heads) &&
      s === dim(q, 1) &&
      t === dim(k, 1);
    expect(call, fits, `attention_bias must be [1|B, 1|${heads}, ${dim(q, 1)}, ${dim(k, 1)}]`);
  }
  return like(q, [dim(q, 0), dim(q, 1), dim(v, 2)]);
};

const biasSplitGelu: Rule = (call) => {
  const x = input(call, 0);
  expect(call, isFloat(x) && x.shape.length === 3 && dim(x, -1) % 2 === 0, 'needs [N,S,2D]');
  vector(call, 1, dim(x, -1), 'bias');
  return like(x, [...x.shape.slice(0, -1), dim(x, -1) / 2]);
};

const biasAdd: Rule = (call) => {
  const x = input(call, 0);
  expect(call, isFloat(x) && x.shape.length === 3 && same(x.shape, input(call, 2).shape), 'needs X and skip [N,S,C]');
  vector(call, 1, dim(x, -1), 'bias');
  return like(x);
};

const reshape: Rule = (call) => {
  const x = input(call, 0);
  const shape = constant(call, 1);
  expect(
    call,
    shape.every((size) => size > 0),
    'the new shape must be written out',
  );
  expect(
    call,
    elementCount(shape) === elementCount(x.shape),
    `${elementCount(x.shape)} elements do not fit [${shape.join(',')}]`,
  );
  return like(x, shape);
};

const expand: Rule = (call) => {
  const x = input(call, 0);
  const shape = constant(call, 1);
  expect(call, shape.length === x.shape.length, 'rank differs');
  expect(
    call,
    x.shape.every((size, i) => size === 1 || size === shape[i]),
    `cannot expand to [${shape.join(',')}]`,
  );
  return like(x, shape);
};

const transpose: Rule = (call) => {
  const x = input(call, 0);
  const order = numbers(call, 'perm', []);
  expect(
    call,
    same(
      [...order].sort((a, b) => a - b),
      x.shape.map((_, i) => i),
    ),
    'perm is not a permutation of the axes',
  );
  return like(
    x,
    order.map((axis) => dim(x, axis)),
  );
};

const concat: Rule = (call) => {
  const first = input(call, 0);
  const axis = attribute(call, 'axis', 0);
  let total = 0;
  call.inputs.forEach((_, i) => {
    const x = input(call, i);
    expect(call, x.dtype === first.dtype && x.shape.length === first.shape.length, 'dtypes or ranks differ');
    expect(
      call,
      x.shape.every((size, a) => a === axis || size === first.shape[a]),
      'shapes differ outside the axis',
    );
    total += dim(x, axis);
  });
  return like(
    first,
    first.shape.map((size, a) => (a === axis ? total : size)),
  );
};

const split: Rule = (call) => {
  const x = input(call, 0);
  const sizes = constant(call, 1);
  const axis = (attribute(call, 'axis', 0) + x.shape.length) % x.shape.length;
  expect(
    call,
    sizes.reduce((a, b) => a + b, 0) === dim(x, axis),
    `parts [${sizes.join(',')}] do not add up to ${dim(x, axis)}`,
  );
  return sizes.flatMap((size) =>
    like(
      x,
      x.shape.map((s, a) => (a === axis ? size : s)),
    ),
  );
};

const slice: Rule = (call) => {
  const x = input(call, 0);
  const [starts, ends, axes] = [constant(call, 1), constant(call, 2), constant(call, 3)];
  const shape = [...x.shape];
  axes.forEach((axis, i) => {
    const from = starts[i] ?? 0;
    const to = ends[i] ?? 0;
    expect(call, from >= 0 && from < to && to <= (shape[axis] ?? 0), `part ${from}…${to} is outside axis ${axis}`);
    shape[axis] = to - from;
  });
  return like(x, shape);
};

const pad: Rule = (call) => {
  const x = input(call, 0);
  const pads = constant(call, 1);
  const rank = x.shape.length;
  expect(call, pads.length === 2 * rank && pads.every((size) => size >= 0), `pads must be ${2 * rank} sizes ≥ 0`);
  return like(
    x,
    x.shape.map((size, axis) => size + (pads[axis] ?? 0) + (pads[rank + axis] ?? 0)),
  );
};

const RULES: Readonly<Record<string, Rule>> = {
  Add: broadcast,
  Mul: broadcast,
  Sub: broadcast,
  Div: broadcast,
  Max: broadcast,
  Cast: cast,
  ReduceL2: reduce,
  ReduceMean: reduce,
  ReduceSumSquare: reduce,
  Sigmoid: elementwise,
  Sqrt: elementwise,
  Tanh: elementwise,
  Relu: elementwise,
  Gelu: elementwise,
  Softmax: elementwise,
  Conv: convolution(1, [2, 3]),
  'com.ms.internal.nhwc:Conv': convolution(3, [1, 2]),
  Gemm: gemm,
  MatMul: matMul,
  LayerNormalization: layerNorm,
  Reshape: reshape,
  Expand: expand,
  Transpose: transpose,
  Concat: concat,
  Pad: pad,
  Split: split,
  Slice: slice,
  'com.microsoft:QuickGelu': elementwise,
  'com.microsoft:GroupNorm': groupNorm,
  'com.microsoft:SkipGroupNorm': skipGroupNorm,
  'com.microsoft:SkipLayerNormalization': skipLayerNorm,
  'com.microsoft:MultiHeadAttention': multiHeadAttention,
  'com.microsoft:BiasSplitGelu': biasSplitGelu,
  'com.microsoft:BiasAdd': biasAdd,
  ...VISION_RULES,
  ...SEQUENCE_RULES,
};
