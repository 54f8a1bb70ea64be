/**
 * @file The WebGPU dialect: channels-last images, fused norms, one dispatch per idea.
 * Why each spelling: docs/architecture.md §2 (measured dispatches and bytes against the alternatives).
 */
import type { Value } from '../types.js';
import {
  fusedAttention,
  gemm,
  reshape,
  type AttentionOptions,
  type Dialect,
  type ImageSize,
  type NormOptions,
  type Site,
} from './dialect.js';

const MS = 'com.microsoft';
const NHWC = 'com.ms.internal.nhwc';

const normAttributes = ({ groups, eps, silu }: NormOptions) =>
  ({ groups, epsilon: { float: eps }, activation: silu ? 1 : 0, channels_last: 1 }) as const;

/** `[N,H,W,C]` → the same bytes as `[N·H·W, C]`. */
function rows(at: Site, x: Value): Value {
  const c = x.shape[x.shape.length - 1] ?? 1;
  return reshape(at, x, [x.shape.slice(0, -1).reduce((a, b) => a * b, 1), c]);
}

export const webgpuDialect: Dialect = {
  name: 'webgpu',
  layout: 'nhwc',
  deferBias: true,
  pointwiseShape: (out, channels) => [out, channels],
  imageShape: ({ n, h, w, c }) => [n, h, w, c],

  conv(at, x, w, bias, { kernel, stride, pads, silu }) {
    const fused = silu ? ({ activation: 'QuickGelu', activation_params: { floats: [1] } } as const) : {};
    return at.g.call('Conv', [x, w, bias], {
      domain: NHWC,
      scope: at.scope,
      attributes: {
        kernel_shape: [kernel, kernel],
        strides: [stride, stride],
        pads,
        dilations: [1, 1],
        group: 1,
        ...fused,
      },
    });
  },

  pointwise(at, x, w, bias, plus, out) {
    const shape = this.imageShape(out);
    if (plus === undefined || bias === undefined) {
      return reshape(at, gemm(at, rows(at, x), w, plus === undefined ? bias : rows(at, plus)), shape);
    }
    return this.addBias(at, reshape(at, gemm(at, rows(at, x), w, undefined), shape), plus, bias, out);
  },

  groupNorm(at, x, gamma, beta, options) {
    return at.g.call('GroupNorm', [x, gamma, beta], {
      domain: MS,
      scope: at.scope,
      attributes: normAttributes(options),
    });
  },

  groupNormOfSum(at, { x, skip, bias }, { gamma, beta, ...options }) {
    const [y, sum] = at.g.callAll('SkipGroupNorm', [x, gamma, beta, skip, bias], {
      domain: MS,
      scope: at.scope,
      attributes: normAttributes(options),
    });
    return pair(y, sum);
  },

  addBias(at, x, skip, bias, { n, c }) {
    if (bias === undefined) return at.g.call('Add', [x, skip], { scope: at.scope });
    const s = x.shape.reduce((a, b) => a * b, 1) / (n * c);
    const flat = [n, s, c];
    const sum = at.g.call('BiasAdd', [reshape(at, x, flat), bias, reshape(at, skip, flat)], {
      domain: MS,
      scope: at.scope,
    });
    return reshape(at, sum, x.shape);
  },

  addRows(at, x, value, { n, c }) {
    return at.g.call('Add', [x, reshape(at, value, [n, 1, 1, c])], { scope: at.scope });
  },

  upsample2x(at, x, { n, h, w, c }) {
    const spread = reshape(at, x, [n, h, 1, w, 1, c]);
    const copied = at.g.call('Expand', [spread, at.g.ints([n, h, 2, w, 2, c])], { scope: at.scope });
    return reshape(at, copied, [n, 2 * h, 2 * w, c]);
  },

  concatChannels: (at, a, b) => at.g.call('Concat', [a, b], { scope: at.scope, attributes: { axis: 3 } }),

  imageToTokens: (at, x) => rows(at, x),
  tokensToImage: (at, x, { n, h, w, c }: ImageSize) => reshape(at, x, [n, h, w, c]),

  attention(at, q, k, v, options) {
    const headSize = (q.shape[1] ?? 0) / options.heads;
    return headSize % 4 === 0 ? fusedAttention(at, q, k, v, options) : widenedAttention(at, q, k, v, options);
  },

  geglu(at, x, w, bias, { n, s }) {
    const d2 = w.shape[0] ?? 0;
    const both = reshape(at, gemm(at, x, w, undefined), [n, s, d2]);
    const y = at.g.call('BiasSplitGelu', [both, bias], { domain: MS, scope: at.scope });
    return reshape(at, y, [n * s, d2 / 2]);
  },
};

/**
 * Attention for head sizes that the flash kernel does not take, widened to the next multiple of 4 with zeros: they add nothing to
 * q·k, and what they make of v is cut off. The provider's own substitute was 40 times slower on a software adapter.
 */
function widenedAttention(at: Site, q: Value, k: Value, v: Value, options: AttentionOptions): Value {
  const { g, scope } = at;
  const { heads } = options;
  const size = (q.shape[1] ?? 0) / heads;
  const wide = Math.ceil(size / 4) * 4;
  const widen = (x: Value): Value => {
    const rows = x.shape[0] ?? 0;
    const padded = g.call('Pad', [reshape(at, x, [rows * heads, size]), g.ints([0, 0, 0, wide - size])], { scope });
    return reshape(at, padded, [rows, heads * wide]);
  };
  const y = fusedAttention(at, widen(q), widen(k), widen(v), { scale: 1 / Math.sqrt(size), ...options });
  const rows = y.shape[0] ?? 0;
  const cut = g.call('Slice', [reshape(at, y, [rows * heads, wide]), g.ints([0]), g.ints([size]), g.ints([1])], {
    scope,
  });
  return reshape(at, cut, [rows, heads * size]);
}

function pair(y: Value | undefined, sum: Value | undefined): { readonly y: Value; readonly sum: Value } {
  if (y === undefined || sum === undefined) throw new TypeError('SkipGroupNorm has two outputs');
  return { y, sum };
}
