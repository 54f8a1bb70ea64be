/**
 * @file The wasm dialect: channels-first images and only operators with a CPU kernel. float32.
 * The fallback where there is no WebGPU, and what the Node test tier runs.
 */
import type { Value } from '../types.js';
import {
  activate,
  fusedAttention,
  gemm,
  reshape,
  type Dialect,
  type ImageSize,
  type NormOptions,
  type Site,
} from './dialect.js';

/**
 * GroupNorm (Wu & He 2018, eq. 1 and 6). The provider adds up one value after the other, and in its InstanceNormalization a whole group so: of 2²⁰ values
 * of mean 0 the result was off by 7e-4, of mean 1 and deviation 0.01, as in pictures that are mostly one colour, by 2e-2. Hence means of the means of
 * pieces, and what is left of the mean is taken away with the shift.
 */
function groupNorm(at: Site, x: Value, gamma: Value, beta: Value, { groups, eps, silu }: NormOptions): Value {
  const { g, scope } = at;
  const call = (op: string, a: Value, b: Value): Value => g.call(op, [a, b], { scope });
  const reduce = (op: string, values: Value, axis: number): Value =>
    g.call(op, [values, g.ints([axis])], { scope, attributes: { keepdims: 1 } });
  const meanOfPieces = (op: string, values: Value): Value => reduce('ReduceMean', reduce(op, values, 2), 1);
  const number = (value: number): Value => g.floats([value], at.dtype);

  const [n = 1, c = 1, ...area] = x.shape;
  const size = (c / groups) * area.reduce((a, b) => a * b, 1);
  const piece = divisorUpTo(Math.sqrt(size), size);
  const pieces = reshape(at, x, [n * groups, size / piece, piece]);
  const rest = call('Sub', pieces, meanOfPieces('ReduceMean', pieces));
  const variance = call('Mul', meanOfPieces('ReduceSumSquare', rest), number(1 / piece));
  const deviation = g.call('Sqrt', [call('Add', variance, number(eps))], { scope });

  const byGroup = (values: Value): Value => reshape(at, values, [n, groups, 1]);
  const byChannel = (values: Value): Value => reshape(at, values, [n, c, ...area.map(() => 1)]);
  const ofGroups = (values: Value): Value => reshape(at, values, [1, groups, c / groups]);
  const factor = call('Div', ofGroups(gamma), byGroup(deviation));
  const shift = call('Sub', ofGroups(beta), call('Mul', byGroup(meanOfPieces('ReduceMean', rest)), factor));
  const y = call('Add', call('Mul', reshape(at, rest, x.shape), byChannel(factor)), byChannel(shift));
  return silu ? activate(at, y, 'silu') : y;
}

/** The largest divisor of `size` that is at most `most`. */
function divisorUpTo(most: number, size: number): number {
  let divisor = Math.max(1, Math.floor(most));
  while (size % divisor !== 0) divisor--;
  return divisor;
}

/** A 1-D bias `[C]` over the channel axis of an image or of tokens. */
function addVector(at: Site, x: Value, bias: Value | undefined): Value {
  if (bias === undefined) return x;
  const c = bias.shape[0] ?? 1;
  return at.g.call('Add', [x, x.shape.length === 4 ? reshape(at, bias, [1, c, 1, 1]) : bias], { scope: at.scope });
}

export const wasmDialect: Dialect = {
  name: 'wasm',
  layout: 'nchw',
  deferBias: false,
  pointwiseShape: (out, channels) => [out, channels, 1, 1],
  imageShape: ({ n, h, w, c }) => [n, c, h, w],

  conv(at, x, w, bias, { kernel, stride, pads, silu }) {
    const y = at.g.call('Conv', [x, w, bias], {
      scope: at.scope,
      attributes: { kernel_shape: [kernel, kernel], strides: [stride, stride], pads, dilations: [1, 1], group: 1 },
    });
    return silu ? activate(at, y, 'silu') : y;
  },

  pointwise(at, x, w, bias, plus) {
    const y = this.conv(at, x, w, bias, { kernel: 1, stride: 1, pads: [0, 0, 0, 0], silu: false });
    return plus === undefined ? y : at.g.call('Add', [y, plus], { scope: at.scope });
  },

  groupNorm,

  groupNormOfSum(at, { x, skip, bias, size }, { gamma, beta, ...options }) {
    const biased = addVector(at, x, bias);
    const sum =
      skip.shape.length === 2
        ? this.addRows(at, biased, skip, size)
        : at.g.call('Add', [biased, skip], { scope: at.scope });
    return { y: groupNorm(at, sum, gamma, beta, options), sum };
  },

  addBias(at, x, skip, bias) {
    return at.g.call('Add', [addVector(at, x, bias), skip], { scope: at.scope });
  },

  addRows(at, x, value, { n, c }) {
    return at.g.call('Add', [x, reshape(at, value, [n, c, 1, 1])], { scope: at.scope });
  },

  upsample2x(at, x, { n, h, w, c }) {
    const spread = reshape(at, x, [n * c, h, 1, w, 1]);
    const copied = at.g.call('Expand', [spread, at.g.ints([n * c, h, 2, w, 2])], { scope: at.scope });
    return reshape(at, copied, [n, c, 2 * h, 2 * w]);
  },

  concatChannels: (at, a, b) => at.g.call('Concat', [a, b], { scope: at.scope, attributes: { axis: 1 } }),

  imageToTokens(at, x, { n, h, w, c }: ImageSize) {
    const flat = reshape(at, x, [n, c, h * w]);
    const turned = at.g.call('Transpose', [flat], { scope: at.scope, attributes: { perm: [0, 2, 1] } });
    return reshape(at, turned, [n * h * w, c]);
  },

  tokensToImage(at, x, { n, h, w, c }: ImageSize) {
    const flat = reshape(at, x, [n, h * w, c]);
    const turned = at.g.call('Transpose', [flat], { scope: at.scope, attributes: { perm: [0, 2, 1] } });
    return reshape(at, turned, [n, c, h, w]);
  },

  attention: fusedAttention,

  geglu(at, x, w, bias) {
    const d = (w.shape[0] ?? 0) / 2;
    const both = gemm(at, x, w, bias);
    const [value, gate] = at.g.callAll('Split', [both, at.g.ints([d, d])], {
      scope: at.scope,
      attributes: { axis: 1 },
    });
    if (value === undefined || gate === undefined) throw new TypeError('Split has two outputs');
    return at.g.call('Mul', [value, activate(at, gate, 'gelu')], { scope: at.scope });
  },
};
