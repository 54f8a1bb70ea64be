/** @file Norms over the channels of tokens, each with the residual sum before it in its own kernel; the same in every dialect. */
import type { Site } from './dialects/dialect.js';
import type { Value } from './types.js';

const MS = 'com.microsoft';

/** What a norm reads: `value`, or the sum `value + skip (+ bias)` that nobody has read yet. All of one shape, but the bias `[C]`. */
export interface NormParts {
  readonly value: Value;
  readonly skip?: Value;
  readonly bias?: Value | undefined;
}

/** What a norm makes: its result, and of a sum the sum itself, for its other readers. */
export interface NormResult {
  readonly y: Value;
  readonly sum?: Value | undefined;
}

/** (x − mean)/√(variance + eps)·gamma + beta (Ba et al. 2016, eq. 4). gamma and beta `[C]` may be results of the graph. */
export function layerNorm(at: Site, parts: NormParts, affine: { gamma: Value; beta: Value }, eps: number): NormResult {
  const { value, skip, bias } = parts;
  const { gamma, beta } = affine;
  const epsilon = { float: eps };
  if (skip === undefined) {
    return {
      y: at.g.call('LayerNormalization', [value, gamma, beta], { scope: at.scope, attributes: { axis: -1, epsilon } }),
    };
  }
  const outputs = at.g.callAll('SkipLayerNormalization', [value, skip, gamma, beta, bias], {
    domain: MS,
    scope: at.scope,
    attributes: { epsilon },
  });
  return first(outputs);
}

/** x/√(mean of squares + eps)·gamma (Zhang & Sennrich 2019, eq. 4), statistics in float32. gamma `[C]`, C the last axis of x. */
export function rmsNorm(at: Site, { value, skip, bias }: NormParts, gamma: Value, eps: number): NormResult {
  const epsilon = { float: eps };
  if (skip === undefined) {
    const attributes = { axis: -1, epsilon, stash_type: 1 };
    return { y: at.g.call('SimplifiedLayerNormalization', [value, gamma], { scope: at.scope, attributes }) };
  }
  const outputs = at.g.callAll('SkipSimplifiedLayerNormalization', [value, skip, gamma, bias], {
    domain: MS,
    scope: at.scope,
    attributes: { epsilon },
  });
  return first(outputs);
}

/** The fused norms give the result first and the sum fourth. */
function first([y, , , sum]: readonly Value[]): NormResult {
  if (y === undefined || sum === undefined) throw new TypeError('a norm of a sum has four outputs');
  return { y, sum };
}
