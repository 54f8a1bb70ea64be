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
 * GroupNorm (Wu & He 2018) as InstanceNormalization over `[N, groups, …]`, then the affine part per channel.
 */
function groupNorm(at: Site, x: Value, gamma: Value, beta: Value, { groups, eps, silu }: NormOptions): Value {
  const { g, scope } = at;
  const [n = 1, c = 1] = x.shape;
  const size = x.shape.slice(1).reduce((a, b) => a * b, 1);
  const ones = g.floats(Array<number>(groups).fill(1), at.dtype);
  const zeros = g.floats(Array<number>(groups).fill(0), at.dtype);
  const grouped = reshape(at, x, [n, groups, size / groups]);
  const normal = g.call('InstanceNormalization', [grouped, ones, zeros], {
    scope,
    attributes: { epsilon: { float: eps } },
  });
  const channels = [1, c, ...x.shape.slice(2).map(() => 1)];
  const scaled = g.call('Mul', [reshape(at, normal, x.shape), reshape(at, gamma, channels)], { scope });
  const y = g.call('Add', [scaled, reshape(at, beta, channels)], { scope });
  return silu ? activate(at, y, 'silu') : y;
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
