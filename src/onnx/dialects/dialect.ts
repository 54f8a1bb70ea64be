/** @file What a dialect must spell: neural-network primitives on values, in that dialect's own memory layout. Interface only. */
import type { GraphBuilder } from '../builder.js';
import type { ElementType, Value } from '../types.js';

export type Activation = 'silu' | 'gelu' | 'gelu_new' | 'quick_gelu' | 'relu' | 'tanh';

/** Logical size of an image tensor. */
export interface ImageSize {
  readonly n: number;
  readonly h: number;
  readonly w: number;
  readonly c: number;
}

export interface NormOptions {
  readonly groups: number;
  readonly eps: number;
  readonly silu: boolean;
}

export interface ConvOptions {
  readonly kernel: number;
  readonly stride: number;
  /** top, left, bottom, right. */
  readonly pads: readonly [number, number, number, number];
  readonly silu: boolean;
}

/** A norm of a sum: the normalised tensor and the sum itself. */
export interface NormOfSum {
  readonly y: Value;
  readonly sum: Value;
}

/** Queries `[n·s, ·]` against keys and values `[n·t, ·]`. */
export interface AttentionOptions {
  readonly n: number;
  readonly s: number;
  readonly t: number;
  readonly heads: number;
  /** Token i sees tokens 0…i. */
  readonly causal: boolean;
  /** Added to the scores: `[1, 1 or heads, s, t]`. */
  readonly bias?: Value | undefined;
  /** Default 1/√(head size). */
  readonly scale?: number;
}

/** Where a primitive is written: the builder, the scope for names, the dtype of activations. */
export interface Site {
  readonly g: GraphBuilder;
  readonly scope: string;
  readonly dtype: ElementType;
}

/**
 * One way to spell the network. Image tensors are in `imageShape` layout; tokens are matrices `[N·S, C]`; rows are `[N, C]`.
 * Weights have the layout of the files: OIHW kernels, `[out, in]` matrices.
 */
export interface Dialect {
  readonly name: 'webgpu' | 'wasm';
  /** `nhwc`: images and their tokens are the same bytes. The layout of a graph's image inputs and outputs. */
  readonly layout: 'nhwc' | 'nchw';
  /** Whether `normOfSum`/`addBias` take the branch's bias for free; else the producer adds it. */
  readonly deferBias: boolean;
  /** Shape of the weight of a 1×1 convolution. */
  readonly pointwiseShape: (out: number, channels: number) => readonly number[];
  imageShape(size: ImageSize): readonly number[];
  conv(at: Site, x: Value, w: Value, bias: Value | undefined, options: ConvOptions): Value;
  /** 1×1 convolution, plus an image of the output's size. */
  pointwise(at: Site, x: Value, w: Value, bias: Value | undefined, plus: Value | undefined, out: ImageSize): Value;
  groupNorm(at: Site, x: Value, gamma: Value, beta: Value, options: NormOptions): Value;
  /** GroupNorm of `x + skip + bias`; skip is an image or rows `[N, C]`. */
  groupNormOfSum(
    at: Site,
    parts: { readonly x: Value; readonly skip: Value; readonly bias: Value | undefined; readonly size: ImageSize },
    norm: { readonly gamma: Value; readonly beta: Value } & NormOptions,
  ): NormOfSum;
  /** `x + skip (+ bias)` where no norm follows; `n`, `s`, `c` describe the rows of both. */
  addBias(
    at: Site,
    x: Value,
    skip: Value,
    bias: Value | undefined,
    size: { readonly n: number; readonly c: number },
  ): Value;
  /** Adds rows `[N, C]` to every pixel. */
  addRows(at: Site, x: Value, rows: Value, size: ImageSize): Value;
  upsample2x(at: Site, x: Value, size: ImageSize): Value;
  concatChannels(at: Site, a: Value, b: Value): Value;
  imageToTokens(at: Site, x: Value, size: ImageSize): Value;
  tokensToImage(at: Site, x: Value, size: ImageSize): Value;
  /** softmax(q·kᵀ/√d)·v per head; q, k, v and the result are token matrices. */
  attention(at: Site, q: Value, k: Value, v: Value, options: AttentionOptions): Value;
  /** `value · gelu(gate)` of `x·Wᵀ + bias` split in two halves; x is `[N·S, I]`, the result `[N·S, D]`. */
  geglu(at: Site, x: Value, w: Value, bias: Value, tokens: { readonly n: number; readonly s: number }): Value;
}

/** Operators that are the same in every dialect. */
export function activate(at: Site, x: Value, kind: Activation): Value {
  const { g, scope } = at;
  switch (kind) {
    case 'silu':
      return g.call('QuickGelu', [x], { domain: 'com.microsoft', scope, attributes: { alpha: { float: 1 } } });
    case 'quick_gelu':
      return g.call('QuickGelu', [x], { domain: 'com.microsoft', scope, attributes: { alpha: { float: 1.702 } } });
    case 'gelu':
      return g.call('Gelu', [x], { scope, attributes: { approximate: 'none' } });
    case 'gelu_new':
      return g.call('Gelu', [x], { scope, attributes: { approximate: 'tanh' } });
    case 'relu':
      return g.call('Relu', [x], { scope });
    case 'tanh':
      return g.call('Tanh', [x], { scope });
    default:
      return kind satisfies never;
  }
}

/** Reshape to a written-out shape; costs nothing at run time. */
export function reshape(at: Site, x: Value, shape: readonly number[]): Value {
  if (x.shape.length === shape.length && x.shape.every((size, i) => size === shape[i])) return x;
  return at.g.call('Reshape', [x, at.g.ints(shape)], { scope: at.scope });
}

/** `x·Wᵀ + c` on matrices; `c` is a bias `[out]` or a full matrix. */
export function gemm(at: Site, x: Value, w: Value, c: Value | undefined, alpha = 1): Value {
  const attributes = alpha === 1 ? { transB: 1 } : { transB: 1, alpha: { float: alpha } };
  return at.g.call('Gemm', [x, w, c], { scope: at.scope, attributes });
}

/** The fused operator: one flash-attention kernel where the head size allows. */
export function fusedAttention(
  at: Site,
  q: Value,
  k: Value,
  v: Value,
  { n, s, t, heads, causal, bias, scale }: AttentionOptions,
): Value {
  const [qk, width] = [q.shape[1] ?? 0, v.shape[1] ?? 0];
  const y = at.g.call(
    'MultiHeadAttention',
    [reshape(at, q, [n, s, qk]), reshape(at, k, [n, t, qk]), reshape(at, v, [n, t, width]), undefined, undefined, bias],
    {
      domain: 'com.microsoft',
      scope: at.scope,
      attributes: {
        num_heads: heads,
        ...(causal ? { unidirectional: 1 } : {}),
        ...(scale === undefined ? {} : { scale: { float: scale } }),
      },
    },
  );
  return reshape(at, y, [n * s, width]);
}
