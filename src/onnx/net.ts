/**
 * @file The language graphs are written in: modules named as in the model's files, on images, tokens and rows.
 *
 * Two things happen behind it. Names: `net.at('mid_block').conv('conv1', x, …)` reads the weight `mid_block.conv1.weight`.
 * Fusion: `add` and `linear` are written down only when somebody reads their result, so that the norm that follows can take
 * residual and bias into its own kernel (`SkipGroupNorm`, `SkipLayerNormalization`), while a graph file just says what the paper says.
 */
import { fail } from '../base/errors.js';
import { createGraphBuilder } from './builder.js';
import {
  activate,
  gemm,
  reshape,
  type Activation,
  type Dialect,
  type ImageSize,
  type Site,
} from './dialects/dialect.js';
import { sameSize, sizeText, type Feature, type Image, type ScoreBias, type Tokens } from './features.js';
import { layerNorm, type NormParts, type NormResult } from './norms.js';
import { packedMatrix, packedProduct, type Branches, type Packing } from './packed.js';
import type { ElementType, Graph, Value, WeightUse } from './types.js';

export type { Feature, Image, ScoreBias, Tokens } from './features.js';

/** How a feature comes about, until it is written down. */
type Recipe =
  | { readonly kind: 'value'; readonly value: Value }
  | {
      readonly kind: 'linear';
      readonly scope: string;
      readonly bias: Value | undefined;
      readonly write: (bias: Value | undefined) => Value;
    }
  | { readonly kind: 'sum'; readonly scope: string; readonly x: Feature; readonly branch: Feature };

/** Where an operator of another file is written (`Net.custom`): with the dialect, and weights of the module. */
export interface CustomSite extends Site {
  readonly dialect: Dialect;
  weight(part: string, shape: readonly number[], use: WeightUse): Value;
}

export interface LinearOptions {
  readonly channels: number;
  /** Default true. */
  readonly bias?: boolean;
}

export interface ConvModuleOptions {
  readonly channels: number;
  /** Odd; default 3. */
  readonly kernel?: number;
  readonly stride?: number;
  /** Default: `kernel >> 1` on every side. Order: top, left, bottom, right. */
  readonly pads?: readonly [number, number, number, number];
  readonly silu?: boolean;
  /** Default true. */
  readonly bias?: boolean;
  /** A bias of a sibling module that is added to this one's (its own product carries none). */
  readonly plusBias?: string;
}

/** Modules under one scope. Every method checks widths at the call and throws `invalidGraph` there. */
export interface Net {
  readonly path: string;
  at(scope: string): Net;
  /** The same scope in another number format: what it declares and computes. Features change theirs only by `cast`. */
  as(dtype: ElementType): Net;
  image(name: string, size: ImageSize): Image;
  tokens(name: string, size: Omit<Tokens, 'kind'>): Tokens;
  /** An input `[1, heads, s, t]` that attention adds to its scores; `heads` 1, the default: the same for all. */
  scoreBias(name: string, s: number, t: number, heads?: number): ScoreBias;
  output(name: string, x: Feature): void;
  /** A weight table `[s, c]` added to every sequence (learned positions). */
  addTable(name: string, x: Tokens): Tokens;
  conv(name: string, x: Image, options: ConvModuleOptions): Image;
  /** 1×1 convolution. With `plus` (an image of the output's size) its own bias must be carried by `plus`. */
  pointwise(name: string, x: Image, options: LinearOptions & { readonly plus?: Image }): Image;
  linear(name: string, x: Tokens, options: LinearOptions): Tokens;
  groupNorm(
    name: string,
    x: Image,
    options: { readonly groups: number; readonly eps: number; readonly silu?: boolean },
  ): Image;
  layerNorm(name: string, x: Tokens, options: { readonly eps: number }): Tokens;
  /** A norm of another file (`norms.ts`); of a sum that nobody has read, `write` gets the parts and gives the sum. `inputs` are read as they are. */
  norm(
    module: string,
    x: Tokens,
    inputs: readonly Tokens[],
    write: (at: CustomSite, x: NormParts, inputs: readonly Value[]) => NormResult,
  ): Tokens;
  /** Residual sum: `x + branch`. A branch of one token per picture is added to every pixel of an image. */
  add(x: Image, branch: Feature): Image;
  add(x: Tokens, branch: Tokens): Tokens;
  scale<T extends Feature>(x: T, factor: number): T;
  shift<T extends Feature>(x: T, offset: number): T;
  activate<T extends Feature>(x: T, kind: Activation): T;
  /** GEGLU (Shazeer 2020, eq. 5): `(xW + b) · gelu(xV + c)` with both products in one weight. */
  geglu(name: string, x: Tokens, options: LinearOptions): Tokens;
  concat(a: Image, b: Image): Image;
  upsample2x(x: Image): Image;
  toTokens(x: Image): Tokens;
  toImage(x: Tokens, h: number, w: number): Image;
  /** softmax(q·kᵀ·scale)·v in `heads` heads (Vaswani et al. 2017, eq. 1); `scale` is 1/√(head size) where none is given. */
  attention(
    q: Tokens,
    k: Tokens,
    v: Tokens,
    options: {
      readonly heads: number;
      readonly causal?: boolean;
      readonly bias?: ScoreBias | undefined;
      readonly scale?: number;
    },
  ): Tokens;
  /** The same with one head too wide for the fused kernel, in blocks of queries that bound the score matrix. */
  wideAttention(q: Tokens, k: Tokens, v: Tokens, options?: { readonly maxScores?: number }): Tokens;
  /** What there is no word for here (see `vision.ts`): `write` makes the value of a feature of the size of `out`. `module` '' has no weights. */
  custom<T extends Feature>(
    module: string,
    inputs: readonly Feature[],
    out: T,
    write: (at: CustomSite, inputs: readonly Value[]) => Value,
  ): T;
  /** The same with several results. */
  customAll<T extends Feature>(
    module: string,
    inputs: readonly Feature[],
    outs: readonly T[],
    write: (at: CustomSite, inputs: readonly Value[]) => readonly Value[],
  ): readonly T[];
}

export interface GraphOptions {
  readonly dialect: Dialect;
  readonly dtype: ElementType;
  /** Which weights of `linear` are kept in few bits; default none. */
  readonly packing?: Packing | undefined;
  /** To which of those something of low rank is added; default none. */
  readonly branches?: Branches | undefined;
}

/** Writes a graph: `write` gets the net at the root scope. */
export function writeGraph(name: string, options: GraphOptions, write: (net: Net) => void): Graph {
  const g = createGraphBuilder(name);
  const { dialect } = options;
  const recipes = new WeakMap<Feature, Recipe>();

  const remember = <T extends Feature>(feature: T, recipe: Recipe): T => {
    recipes.set(feature, recipe);
    return feature;
  };
  const concrete = <T extends Feature>(feature: T, value: Value): T => remember(feature, { kind: 'value', value });

  /** The value of a feature; writes it down at its first reader. */
  const read = (feature: Feature): Value => {
    const recipe = recipes.get(feature);
    if (recipe === undefined) throw fail('invalidGraph', `${name}: a feature of another graph is read here.`);
    if (recipe.kind === 'value') return recipe.value;
    const value = recipe.kind === 'linear' ? recipe.write(recipe.bias) : writeSum(recipe);
    recipes.set(feature, { kind: 'value', value });
    return value;
  };

  /** A branch about to be summed: its value, and its bias if that was left for the sum. */
  const readBranch = (branch: Feature): { readonly value: Value; readonly bias: Value | undefined } => {
    const recipe = recipes.get(branch);
    if (!dialect.deferBias || recipe?.kind !== 'linear') return { value: read(branch), bias: undefined };
    return { value: recipe.write(undefined), bias: recipe.bias };
  };

  const writeSum = ({ scope, x, branch }: Recipe & { readonly kind: 'sum' }): Value => {
    const skip = read(x);
    const site: Site = { g, scope, dtype: skip.dtype };
    if (x.kind === 'image' && branch.kind === 'tokens') return dialect.addRows(site, skip, read(branch), x);
    const { value, bias } = readBranch(branch);
    return dialect.addBias(site, value, skip, bias, x);
  };

  const pendingSum = (x: Feature): (Recipe & { readonly kind: 'sum' }) | undefined => {
    const recipe = recipes.get(x);
    return recipe?.kind === 'sum' ? recipe : undefined;
  };

  const makeNet = (path: string, dtype: ElementType): Net => {
    const join = (module: string): string => (path === '' ? module : `${path}.${module}`);
    const site = (module: string): Site => ({ g, scope: join(module), dtype });
    const vector = (module: string, part: 'weight' | 'bias', size: number, plus: readonly string[] = []): Value =>
      g.weight(`${join(module)}.${part}`, [size], { use: 'vector', dtype, plus });
    const matrix = (module: string, out: number, channels: number): Value =>
      g.weight(`${join(module)}.weight`, [out, channels], { use: 'linear', dtype });
    const customSite = (module: string): CustomSite => {
      const scope = module === '' ? path : join(module);
      const weight = (part: string, shape: readonly number[], use: WeightUse): Value =>
        g.weight(part === '' ? scope : `${scope}.${part}`, shape, { use, dtype });
      return { g, scope, dtype, dialect, weight };
    };
    const refuse = (what: string): never => {
      throw fail('invalidGraph', `${name}/${path}: ${what}.`);
    };

    const net: Net = {
      path,
      at: (scope) => makeNet(join(scope), dtype),
      as: (other) => makeNet(path, other),

      image: (inputName, size) =>
        concrete({ kind: 'image', ...size }, g.input(inputName, dtype, dialect.imageShape(size))),
      tokens: (inputName, size) =>
        concrete({ kind: 'tokens', ...size }, g.input(inputName, dtype, [size.n * size.s, size.c])),
      scoreBias: (inputName, s, t, heads = 1) => ({
        kind: 'scoreBias',
        value: g.input(inputName, dtype, [1, heads, s, t]),
      }),
      output: (outputName, x) => g.output(outputName, read(x)),

      addTable(module, x) {
        const table = g.weight(join(module), [x.s, x.c], { use: 'linear', dtype });
        const sum = g.call('Add', [reshape(site(module), read(x), [x.n, x.s, x.c]), table], { scope: join(module) });
        return concrete({ ...x }, reshape(site(module), sum, [x.n * x.s, x.c]));
      },

      conv(module, x, { channels, kernel = 3, stride = 1, pads, silu = false, bias: biased = true, plusBias }) {
        const w = g.weight(`${join(module)}.weight`, [channels, x.c, kernel, kernel], { use: 'conv', dtype });
        const bias = biased
          ? vector(module, 'bias', channels, plusBias === undefined ? [] : [join(plusBias)])
          : undefined;
        const half = kernel >> 1;
        const value = dialect.conv(site(module), read(x), w, bias, {
          kernel,
          stride,
          pads: pads ?? [half, half, half, half],
          silu,
        });
        const [h = 0, width = 0] = dialect.layout === 'nhwc' ? value.shape.slice(1, 3) : value.shape.slice(2, 4);
        return concrete({ kind: 'image', n: x.n, h, w: width, c: channels }, value);
      },

      pointwise(module, x, { channels, bias = true, plus }) {
        const out: Image = { kind: 'image', n: x.n, h: x.h, w: x.w, c: channels };
        if (plus !== undefined && !sameSize(out, plus)) refuse(`${module}: "plus" must have the size of the output`);
        const use = dialect.name === 'wasm' ? 'conv' : 'linear';
        const w = g.weight(`${join(module)}.weight`, dialect.pointwiseShape(channels, x.c), { use, dtype });
        const source = read(x);
        return remember(out, {
          kind: 'linear',
          scope: join(module),
          bias: bias && plus === undefined ? vector(module, 'bias', channels) : undefined,
          write: (b) => dialect.pointwise(site(module), source, w, b, plus === undefined ? undefined : read(plus), out),
        });
      },

      linear(module, x, { channels, bias = true }) {
        const [at, shape, weight] = [site(module), [channels, x.c] as const, `${join(module)}.weight`];
        const format = options.packing?.(weight, shape);
        const w =
          format === undefined
            ? matrix(module, ...shape)
            : packedMatrix(at, weight, shape, format, options.branches?.(weight));
        const source = read(x);
        return remember(
          { kind: 'tokens', n: x.n, s: x.s, c: channels },
          {
            kind: 'linear',
            scope: join(module),
            bias: bias ? vector(module, 'bias', channels) : undefined,
            write: (b) => ('codes' in w ? packedProduct(at, source, w, b) : gemm(at, source, w, b)),
          },
        );
      },

      groupNorm(module, x, { groups, eps, silu = false }) {
        const at = site(module);
        const [gamma, beta] = [vector(module, 'weight', x.c), vector(module, 'bias', x.c)];
        const sum = pendingSum(x);
        if (sum === undefined)
          return concrete({ ...x }, dialect.groupNorm(at, read(x), gamma, beta, { groups, eps, silu }));
        // A time embedding is the skip of the image it is added to; of a residual sum, the branch is the fresh one.
        const rows = sum.branch.kind === 'tokens';
        const fresh = rows ? { value: read(sum.x), bias: undefined } : readBranch(sum.branch);
        const skip = rows ? read(sum.branch) : read(sum.x);
        const made = dialect.groupNormOfSum(
          at,
          { x: fresh.value, skip, bias: fresh.bias, size: x },
          { gamma, beta, groups, eps, silu },
        );
        recipes.set(x, { kind: 'value', value: made.sum });
        return concrete({ ...x }, made.y);
      },

      layerNorm: (module, x, { eps }) =>
        net.norm(module, x, [], (at, parts) =>
          layerNorm(at, parts, { gamma: vector(module, 'weight', x.c), beta: vector(module, 'bias', x.c) }, eps),
        ),

      norm(module, x, inputs, writeIt) {
        const given = inputs.map(read);
        const pending = pendingSum(x);
        const parts =
          pending === undefined ? { value: read(x) } : { skip: read(pending.x), ...readBranch(pending.branch) };
        const { y, sum } = writeIt(customSite(module), parts, given);
        if (sum !== undefined) recipes.set(x, { kind: 'value', value: sum });
        return concrete({ ...x }, y);
      },

      add<T extends Feature>(x: T, branch: Feature): T {
        const perPicture =
          x.kind === 'image' && branch.kind === 'tokens' && branch.s === 1 && branch.c === x.c && branch.n === x.n;
        if (!perPicture && !sameSize(x, branch)) refuse(`add: ${sizeText(branch)} does not fit ${sizeText(x)}`);
        return remember({ ...x }, { kind: 'sum', scope: path, x, branch });
      },

      scale(x, factor) {
        if (factor === 1) return x;
        return concrete({ ...x }, g.call('Mul', [read(x), g.floats([factor], dtype)], { scope: path }));
      },

      shift: (x, offset) => concrete({ ...x }, g.call('Add', [read(x), g.floats([offset], dtype)], { scope: path })),

      activate: (x, kind) => concrete({ ...x }, activate(site(kind), read(x), kind)),

      geglu(module, x, { channels }) {
        const [w, bias] = [matrix(module, 2 * channels, x.c), vector(module, 'bias', 2 * channels)];
        return concrete(
          { kind: 'tokens', n: x.n, s: x.s, c: channels },
          dialect.geglu(site(module), read(x), w, bias, x),
        );
      },

      concat(a, b) {
        if (!sameSize({ ...a, c: b.c }, b)) refuse(`concat: ${sizeText(b)} does not fit beside ${sizeText(a)}`);
        return concrete({ ...a, c: a.c + b.c }, dialect.concatChannels(site('concat'), read(a), read(b)));
      },

      upsample2x: (x) => concrete({ ...x, h: 2 * x.h, w: 2 * x.w }, dialect.upsample2x(site('upsample'), read(x), x)),
      toTokens: (x) =>
        concrete({ kind: 'tokens', n: x.n, s: x.h * x.w, c: x.c }, dialect.imageToTokens(site('tokens'), read(x), x)),
      toImage(x, h, w) {
        if (x.s !== h * w) refuse(`${x.s} tokens do not make an image of ${h}×${w}`);
        const size = { kind: 'image', n: x.n, h, w, c: x.c } as const;
        return concrete(size, dialect.tokensToImage(site('image'), read(x), size));
      },

      attention(q, k, v, { heads, causal = false, bias, ...rest }) {
        if (q.n !== k.n || k.n !== v.n || k.s !== v.s)
          refuse(`attention: ${sizeText(q)}, ${sizeText(k)} and ${sizeText(v)} do not fit`);
        if (q.c % heads !== 0 || v.c % heads !== 0)
          refuse(`attention: widths ${q.c} and ${v.c} do not divide into ${heads} heads`);
        const options = { n: q.n, s: q.s, t: k.s, heads, causal, bias: bias?.value, ...rest };
        return concrete({ ...q, c: v.c }, dialect.attention(site('attention'), read(q), read(k), read(v), options));
      },

      wideAttention(q, k, v, { maxScores = 2 ** 24 } = {}) {
        const at = site('attention');
        const part = (x: Tokens, from: number, to: number): Value =>
          from === 0 && to === x.n * x.s
            ? read(x)
            : g.call('Slice', [read(x), g.ints([from]), g.ints([to]), g.ints([0])], { scope: at.scope });
        const block = Math.max(1, Math.min(q.s, Math.floor(maxScores / k.s)));
        const blocks: Value[] = [];
        for (let n = 0; n < q.n; n++) {
          const keys = part(k, n * k.s, (n + 1) * k.s);
          const values = part(v, n * v.s, (n + 1) * v.s);
          for (let from = 0; from < q.s; from += block) {
            const queries = part(q, n * q.s + from, n * q.s + Math.min(q.s, from + block));
            const scores = gemm(at, queries, keys, undefined, 1 / Math.sqrt(q.c));
            const weights = g.call('Softmax', [scores], { scope: at.scope, attributes: { axis: -1 } });
            blocks.push(g.call('MatMul', [weights, values], { scope: at.scope }));
          }
        }
        const [only] = blocks;
        const y =
          only !== undefined && blocks.length === 1
            ? only
            : g.call('Concat', blocks, { scope: at.scope, attributes: { axis: 0 } });
        return concrete({ ...q, c: v.c }, y);
      },

      custom: (module, inputs, out, writeIt) => concrete({ ...out }, writeIt(customSite(module), inputs.map(read))),

      customAll(module, inputs, outs, writeIt) {
        const values = writeIt(customSite(module), inputs.map(read));
        return outs.map((out, i) => concrete({ ...out }, values[i] ?? refuse(`${module}: result ${i} is missing`)));
      },
    };
    return net;
  };

  write(makeNet('', options.dtype));
  return g.finish();
}
