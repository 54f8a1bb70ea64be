/**
 * @file The form of a change as names and shapes of tensors: `Delta` of `assets/weight-change.ts`, before anything is read. Data only.
 */
import type { LoraTensor } from './keys.js';

/**
 * A product: `left` `[rows, rank]` times `right` `[rank, columns]`. With a `core` `[i, j, h, w]` (Tucker decomposition of a kernel) it is
 * left[o, i] · Σⱼ core[i, j, h, w] · right[j, x], a matrix of columns (x, h, w).
 */
export interface Factors {
  readonly left: LoraTensor;
  readonly right: LoraTensor;
  readonly core?: LoraTensor | undefined;
  /** `left` is stored as `[rank, rows]`. */
  readonly turned: boolean;
}

/** A factor that may be stored whole. */
export type Factor = Factors | { readonly whole: LoraTensor };

export type Form =
  | { readonly kind: 'product'; readonly factor: Factors }
  | { readonly kind: 'hadamard'; readonly first: Factors; readonly second: Factors }
  | { readonly kind: 'kronecker'; readonly left: Factor; readonly right: Factor }
  | { readonly kind: 'full'; readonly values: LoraTensor };

/** Of a matrix; a kernel `[O, I, h, w]` is `[O, I·h·w]`. */
export interface Size {
  readonly rows: number;
  readonly columns: number;
}
