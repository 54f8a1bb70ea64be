/** @file Words of the graph language for pictures in bands of rows: rows cut and stacked, and a GroupNorm whose statistics come from outside. */
import { activate, reshape } from './dialects/dialect.js';
import type { CustomSite, Image, Net, Tokens } from './net.js';
import type { Value } from './types.js';

const heightAxis = ({ dialect }: CustomSite): number => (dialect.layout === 'nhwc' ? 1 : 2);

/** Rows `from`…`to − 1`. */
export function cutRows(net: Net, x: Image, from: number, to: number): Image {
  return net.custom('', [x], { ...x, h: to - from }, (at, [value]) => {
    const bounds = [from, to, heightAxis(at)].map((bound) => at.g.ints([bound]));
    return at.g.call('Slice', [value, ...bounds], { scope: at.scope });
  });
}

/** Images of one width, from top to bottom. */
export function stackRows(net: Net, top: Image, ...others: readonly Image[]): Image {
  const h = others.reduce((rows, { h: more }) => rows + more, top.h);
  return net.custom('', [top, ...others], { ...top, h }, (at, values) =>
    at.g.call('Concat', values, { scope: at.scope, attributes: { axis: heightAxis(at) } }),
  );
}

/** Every value times one number, a token of width 1. */
export function times(net: Net, x: Image, factor: Tokens): Image {
  return net.custom('', [x, factor], x, ({ g, scope }, values) => g.call('Mul', values, { scope }));
}

/**
 * Mean and variance of each row in each channel, in two passes so that a large mean costs no digits: `[2h, C]`, h rows of means, then h
 * rows of variances. Of one image.
 */
export function rowMoments(net: Net, x: Image): Tokens {
  const out: Tokens = { kind: 'tokens', n: 1, s: 2 * x.h, c: x.c };
  return net.custom('', [x], out, (at, [value]) => {
    if (value === undefined) throw new TypeError('an image is read');
    return at.dialect.layout === 'nhwc' ? momentsByProduct(at, value, x) : momentsByReduction(at, value, x);
  });
}

/** Sums as products with ones, a batch for each row; reductions over that axis would add transposes. */
function momentsByProduct(at: CustomSite, value: Value, { h, w, c }: Image): Value {
  const { g, scope, dtype } = at;
  const one = reshape(at, g.floats(Array<number>(w).fill(1 / w), dtype), [1, 1, w]);
  const weights = g.call('Expand', [one, g.ints([h, 1, w])], { scope });
  const meanOf = (v: Value): Value => g.call('MatMul', [weights, v], { scope });
  const rows = reshape(at, value, [h, w, c]);
  const mean = meanOf(rows);
  const rest = g.call('Sub', [rows, mean], { scope });
  const variance = meanOf(g.call('Mul', [rest, rest], { scope }));
  return reshape(at, g.call('Concat', [mean, variance], { scope, attributes: { axis: 0 } }), [2 * h, c]);
}

function momentsByReduction(at: CustomSite, value: Value, { h, c }: Image): Value {
  const { g, scope } = at;
  const meanOf = (v: Value): Value => g.call('ReduceMean', [v, g.ints([3])], { scope, attributes: { keepdims: 1 } });
  const mean = meanOf(value);
  const rest = g.call('Sub', [value, mean], { scope });
  const variance = meanOf(g.call('Mul', [rest, rest], { scope }));
  const both = [mean, variance].map((v) => reshape(at, v, [c, h]));
  const joined = g.call('Concat', both, { scope, attributes: { axis: 1 } });
  return g.call('Transpose', [joined], { scope, attributes: { perm: [1, 0] } });
}

/** What a norm does to each channel: x → x·scale + shift, both `[1, C]`. */
export interface Affine {
  readonly scale: Tokens;
  readonly shift: Tokens;
}

/**
 * The affine map of the norm `module` (Wu & He 2018, eq. 1 and 6) where each channel's mean and 1/√(variance + eps) are known, both `[1, C]`:
 * (x − mean)·rstd·gamma + beta.
 */
export function normAffine(net: Net, module: string, mean: Tokens, rstd: Tokens): Affine {
  const [scale, shift] = net.customAll(module, [mean, rstd], [mean, mean], (at, [m, r]) => {
    const { g, scope } = at;
    const [gamma, beta] = [at.weight('weight', [mean.c], 'vector'), at.weight('bias', [mean.c], 'vector')];
    const a = g.call('Mul', [r, gamma], { scope });
    return [a, g.call('Sub', [beta, g.call('Mul', [m, a], { scope })], { scope })];
  });
  if (scale === undefined || shift === undefined) throw new TypeError('two results');
  return { scale, shift };
}

/** SiLU(x·scale + shift), channel by channel. */
export function affineSilu(net: Net, x: Image, { scale, shift }: Affine): Image {
  return net.custom('', [x, scale, shift], x, (at, [value, a, b]) => {
    if (value === undefined || a === undefined || b === undefined) throw new TypeError('three values are read');
    const { g, scope } = at;
    const vector = (v: Value, shape: readonly number[]): Value => reshape(at, v, shape);
    if (at.dialect.layout === 'nchw') {
      const scaled = g.call('Mul', [value, vector(a, [1, x.c, 1, 1])], { scope });
      return activate(at, g.call('Add', [scaled, vector(b, [1, x.c, 1, 1])], { scope }), 'silu');
    }
    // A convolution of each channel by itself: one dispatch, SiLU included.
    return g.call('Conv', [value, vector(a, [x.c, 1, 1, 1]), vector(b, [x.c])], {
      domain: 'com.ms.internal.nhwc',
      scope,
      attributes: {
        kernel_shape: [1, 1],
        strides: [1, 1],
        pads: [0, 0, 0, 0],
        dilations: [1, 1],
        group: x.c,
        activation: 'QuickGelu',
        activation_params: { floats: [1] },
      },
    });
  });
}
