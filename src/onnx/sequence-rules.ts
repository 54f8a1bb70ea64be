/** @file Shape rules of operators that transformers use (RMS norms, rotary positions, packed matrices); part of shape-rules.ts. */
import { elementCount } from '../base/dtype.js';
import { attribute, dim, expect, input, isFloat, like, same, type Call, type TypedShape } from './call.js';
import type { Value } from './types.js';

type Rule = (call: Call) => readonly TypedShape[];

/** A float vector `[size]` of the dtype of x. */
function vector(call: Call, v: Value | undefined, size: number, what: string): void {
  if (v === undefined) return;
  expect(call, same(v.shape, [size]), `${what} must be [${size}]`);
  expect(call, v.dtype === input(call, 0).dtype, `${what} must have the dtype of the first input`);
}

const rmsNorm: Rule = (call) => {
  const x = input(call, 0);
  expect(call, isFloat(x), 'needs a float tensor');
  vector(call, input(call, 1), dim(x, -1), 'scale');
  return like(x);
};

const skipRmsNorm: Rule = (call) => {
  const [x, skip] = [input(call, 0), input(call, 1)];
  expect(call, isFloat(x) && same(x.shape, skip.shape), 'input and skip must have one shape');
  expect(call, x.dtype === skip.dtype, 'input and skip must have one dtype');
  vector(call, input(call, 2), dim(x, -1), 'gamma');
  vector(call, call.inputs[3], dim(x, -1), 'bias');
  return [...like(x), ...like(x), ...like(x), ...like(x)];
};

/** x `[B, S, heads·size]`, positions `[1]` (of the first token), caches `[≥ S, size/2]`. */
const rotaryEmbedding: Rule = (call) => {
  const [x, positions, cos, sin] = [input(call, 0), input(call, 1), input(call, 2), input(call, 3)];
  const heads = attribute(call, 'num_heads', 0);
  expect(call, isFloat(x) && x.shape.length === 3, 'needs x [B,S,D]');
  expect(call, heads > 0 && dim(x, 2) % (2 * heads) === 0, `the width is not ${heads} heads of pairs`);
  expect(call, positions.dtype === 'int64' && same(positions.shape, [1]), 'positions must be int64[1]');
  expect(call, cos.dtype === x.dtype && sin.dtype === x.dtype, 'the caches must have the dtype of x');
  const size = dim(x, 2) / heads;
  const fits =
    same(cos.shape, sin.shape) && cos.shape.length === 2 && dim(cos, 0) >= dim(x, 1) && dim(cos, 1) === size / 2;
  expect(call, fits, `the caches must be [≥ ${dim(x, 1)}, ${size / 2}]`);
  return like(x);
};

const packedProduct: Rule = (call) => {
  const [a, codes, scales, zeros] = [input(call, 0), input(call, 1), input(call, 2), call.inputs[3]];
  const [n, k] = [attribute(call, 'N', 0), attribute(call, 'K', 0)];
  const [bits, block] = [attribute(call, 'bits', 4), attribute(call, 'block_size', 0)];
  expect(call, bits === 4 || bits === 8, 'bits must be 4 or 8');
  expect(call, block >= 16 && Number.isInteger(Math.log2(block)), 'block_size must be a power of two ≥ 16');
  expect(call, isFloat(a) && dim(a, -1) === k, `A must be […, ${k}]`);
  const blocks = Math.ceil(k / block);
  const bytes = [n, blocks, (block * bits) / 8];
  expect(call, codes.dtype === 'uint8' && same(codes.shape, bytes), `B must be uint8[${bytes.join(',')}]`);
  expect(call, scales.dtype === a.dtype, 'scales must have the dtype of A');
  expect(call, elementCount(scales.shape) === n * blocks, `there must be ${n * blocks} scales`);
  const zeroBytes = n * Math.ceil((blocks * bits) / 8);
  const fits = zeros === undefined || (zeros.dtype === 'uint8' && elementCount(zeros.shape) === zeroBytes);
  expect(call, fits, `zero points must be ${zeroBytes} bytes`);
  vector(call, call.inputs[5], n, 'bias');
  return like(a, [...a.shape.slice(0, -1), n]);
};

/** Bounds are single numbers. */
const clip: Rule = (call) => {
  const x = input(call, 0);
  expect(call, isFloat(x), 'needs a float tensor');
  vector(call, call.inputs[1], 1, 'min');
  vector(call, call.inputs[2], 1, 'max');
  return like(x);
};

export const SEQUENCE_RULES: Readonly<Record<string, Rule>> = {
  Clip: clip,
  SimplifiedLayerNormalization: rmsNorm,
  'com.microsoft:SkipSimplifiedLayerNormalization': skipRmsNorm,
  'com.microsoft:RotaryEmbedding': rotaryEmbedding,
  'com.microsoft:MatMulNBits': packedProduct,
};
