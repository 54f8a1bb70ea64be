/** @file Words of the graph language for networks that look at pictures: pooling, resizing, transposed convolution, norms without weights. */
import { reshape } from './dialects/dialect.js';
import type { CustomSite, Feature, Image, Net, Tokens } from './net.js';
import type { Attributes, Value } from './types.js';

const NHWC = 'com.ms.internal.nhwc';

/** The largest of each 2×2 pixels; an odd last row or column is dropped. */
export function maxPool2x2(net: Net, x: Image): Image {
  const out = { ...x, h: Math.floor(x.h / 2), w: Math.floor(x.w / 2) };
  return net.custom('', [x], out, (at, [value]) =>
    spatial(at, 'MaxPool', [value], { kernel_shape: [2, 2], strides: [2, 2], pads: [0, 0, 0, 0] }),
  );
}

export interface ConvTransposeOptions {
  readonly channels: number;
  readonly kernel: number;
  readonly stride: number;
  /** Cut off on every side; default 0. */
  readonly padding?: number;
  /** More rows and columns at the bottom and right; default 0. */
  readonly outputPadding?: number;
  /** Default true. */
  readonly bias?: boolean;
}

/** Transposed convolution (torch `ConvTranspose2d`), weight `[I, O, k, k]`. */
export function convTranspose(net: Net, name: string, x: Image, options: ConvTransposeOptions): Image {
  const { channels, kernel, stride, padding = 0, outputPadding = 0, bias = true } = options;
  const grow = (size: number): number => (size - 1) * stride + kernel + outputPadding - 2 * padding;
  const out: Image = { kind: 'image', n: x.n, h: grow(x.h), w: grow(x.w), c: channels };
  return net.custom(name, [x], out, (at, [value]) => {
    const w = at.weight('weight', [x.c, channels, kernel, kernel], 'conv');
    const b = bias ? at.weight('bias', [channels], 'vector') : undefined;
    return spatial(at, 'ConvTranspose', [value, w, b], {
      kernel_shape: [kernel, kernel],
      strides: [stride, stride],
      pads: [padding, padding, padding, padding],
      output_padding: [outputPadding, outputPadding],
      dilations: [1, 1],
      group: 1,
    });
  });
}

/** Mirrors the picture at its borders, without repeating the border itself (torch `ReflectionPad2d`). */
export function reflectPad(net: Net, x: Image, by: number): Image {
  const out = { ...x, h: x.h + 2 * by, w: x.w + 2 * by };
  return net.custom('', [x], out, ({ g, scope, dialect }, [value]) => {
    const side = dialect.layout === 'nhwc' ? [0, by, by, 0] : [0, 0, by, by];
    return g.call('Pad', [value, g.ints([...side, ...side])], { scope, attributes: { mode: 'reflect' } });
  });
}

/**
 * Bilinear interpolation (torch `interpolate(mode='bilinear')`). Always of channels-first images: of channels-last ones, the `Resize` of
 * ONNX Runtime's WebGPU provider gives wrong numbers.
 */
export function resizeLinear(
  net: Net,
  x: Image,
  h: number,
  w: number,
  options: { readonly alignCorners: boolean },
): Image {
  if (x.h === h && x.w === w) return x;
  const attributes = {
    mode: 'linear',
    coordinate_transformation_mode: options.alignCorners ? 'align_corners' : 'half_pixel',
  } as const;
  return net.custom('', [x], { ...x, h, w }, ({ g, scope, dialect }, [value]) => {
    const turn = (v: Value | undefined, perm: readonly number[]): Value | undefined =>
      dialect.layout === 'nhwc' ? g.call('Transpose', [v], { scope, attributes: { perm } }) : v;
    const sizes = g.ints([x.n, x.c, h, w]);
    const resized = g.call('Resize', [turn(value, [0, 3, 1, 2]), undefined, undefined, sizes], { scope, attributes });
    return turn(resized, [0, 2, 3, 1]) ?? resized;
  });
}

/** Instance normalization without weights (Ulyanov et al. 2016): each channel of each picture to mean 0 and variance 1. */
export function instanceNorm(net: Net, x: Image, eps = 1e-5): Image {
  return net.custom('', [x], x, (at, [value]) => {
    const { g, dialect, dtype } = at;
    const ones = g.floats(Array<number>(x.c).fill(1), dtype);
    const zeros = g.floats(Array<number>(x.c).fill(0), dtype);
    return dialect.groupNorm(at, required(value), ones, zeros, { groups: x.c, eps, silu: false });
  });
}

/** x·slope where x is negative. */
export function leakyRelu(net: Net, x: Image, slope: number): Image {
  return net.custom('', [x], x, ({ g, scope }, [value]) =>
    g.call('LeakyRelu', [value], { scope, attributes: { alpha: { float: slope } } }),
  );
}

export function sigmoid<T extends Feature>(net: Net, x: T): T {
  return net.custom('', [x], x, ({ g, scope }, [value]) => g.call('Sigmoid', [value], { scope }));
}

/** Every channel of every token times the weight `name` `[C]` (LayerScale, Touvron et al. 2021, eq. 3). */
export function scaleChannels(net: Net, name: string, x: Tokens): Tokens {
  return net.custom(name, [x], x, (at, [value]) =>
    at.g.call('Mul', [value, at.weight('', [x.c], 'vector')], { scope: at.scope }),
  );
}

/** The picture minus the weight `name` `[1, C, 1, 1]`. */
export function subtractChannels(net: Net, name: string, x: Image): Image {
  return net.custom(name, [x], x, (at, [value]) => {
    const shape = at.dialect.imageShape({ n: 1, h: 1, w: 1, c: x.c });
    const offset = reshape(at, at.weight('', [1, x.c, 1, 1], 'vector'), shape);
    return at.g.call('Sub', [value, offset], { scope: at.scope });
  });
}

/** One sequence after the other; both of one picture. */
export function joinTokens(net: Net, a: Tokens, b: Tokens): Tokens {
  return net.custom('', [a, b], { ...a, s: a.s + b.s }, ({ g, scope }, values) =>
    g.call('Concat', values, { scope, attributes: { axis: 0 } }),
  );
}

/** The sequence of one picture without its first `count` tokens. */
export function dropTokens(net: Net, x: Tokens, count: number): Tokens {
  return net.custom('', [x], { ...x, s: x.s - count }, ({ g, scope }, [value]) =>
    g.call('Slice', [value, g.ints([count]), g.ints([x.s]), g.ints([0])], { scope }),
  );
}

/** An operator over the two spatial axes, in the dialect's layout. */
function spatial(
  { g, scope, dialect }: CustomSite,
  op: string,
  inputs: readonly (Value | undefined)[],
  attributes: Attributes,
): Value {
  return g.call(op, inputs, { scope, attributes, ...(dialect.layout === 'nhwc' ? { domain: NHWC } : {}) });
}

function required(value: Value | undefined): Value {
  if (value === undefined) throw new TypeError('an operator of one input was written without it');
  return value;
}
