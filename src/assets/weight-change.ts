/** @file What a LoRA or LyCORIS file does to the weights of a model: a change per weight, still in factors. */

/** Row-major `[rows, columns]`. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly values: Float32Array;
}

/** `left · right`: `[rows, rank] · [rank, columns]`. */
export interface Product {
  readonly left: Matrix;
  readonly right: Matrix;
}

/**
 * Δ of a weight `[O, I]`, or of a kernel `[O, I, h, w]` seen as the matrix `[O, I·h·w]`, which is the same bytes:
 * `product` LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685), `hadamard` LoHa (Hyeon-Woo et al. 2021,
 * https://arxiv.org/abs/2108.06098), `kronecker` LoKr (Yeh et al. 2023, https://arxiv.org/abs/2309.14859), `full` the difference itself.
 */
export type Delta =
  | { readonly kind: 'product'; readonly factor: Product }
  | { readonly kind: 'hadamard'; readonly first: Product; readonly second: Product }
  | { readonly kind: 'kronecker'; readonly left: Matrix; readonly right: Matrix }
  | { readonly kind: 'full'; readonly values: Matrix };

/** The change of one weight. */
export interface WeightChange {
  /** The weight's internal name, e.g. `down_blocks.0.attentions.0.proj_in.weight`. */
  readonly tensor: string;
  /** Multiplies Δ: alpha ÷ rank, where the format has them. */
  readonly scale: number;
  /**
   * DoRA (Liu et al. 2024, https://arxiv.org/abs/2402.09353): whether `read` also gives norms that W + Δ is brought to. `rowNorms` `[O]`, of each
   * output, or `inputNorms` `[I]`, of each input over all outputs and places of a kernel (LyCORIS with `wd_on_out=False`).
   */
  readonly rescales: boolean;
  /** Where Δ can be written as one product: the columns of its left factor. */
  readonly rank?: number | undefined;
  /** Reads the factors, from the file or from memory. @throws invalidModelFile (not finite, wrong length) */
  read(
    signal?: AbortSignal,
  ): Promise<{ readonly delta: Delta; readonly rowNorms?: Float32Array; readonly inputNorms?: Float32Array }>;
}

/**
 * A change as a request asks for it. With several on one weight: W + Σ strength·scale·Δ; one that rescales adds
 * strength·(rescaled(W + scale·Δ) − W).
 */
export interface AppliedChange extends WeightChange {
  /** Names file and weight, so that what is already applied is known: equal ids have equal factors. */
  readonly id: string;
  /** The request's weight, −4…4. */
  readonly strength: number;
}

/** What is changed of a network, by the tensors' names. */
export type ChangedWeights = ReadonlyMap<string, readonly WeightChange[]>;

/** In the order in which they are given. */
export function changesByTensor(changes: readonly WeightChange[]): ChangedWeights {
  const groups = new Map<string, WeightChange[]>();
  for (const change of changes) {
    const group = groups.get(change.tensor);
    if (group === undefined) groups.set(change.tensor, [change]);
    else group.push(change);
  }
  return groups;
}

/** The rank of the product that all of them make together; `undefined` where they make none. */
export function productRank(changes: readonly WeightChange[]): number | undefined {
  let sum = 0;
  for (const { rank, rescales } of changes) {
    if (rank === undefined || rescales) return undefined;
    sum += rank;
  }
  return sum;
}

/** Products share one of all their ranks, filled up with zeros to a multiple of this: few different graphs, and whole vectors. */
const RANK_STEP = 8;

/** The rank that graphs are written with for products of `rank` in all. */
export function wholeRank(rank: number): number {
  return Math.ceil(rank / RANK_STEP) * RANK_STEP;
}

/** The networks that a file may change. */
export type ChangedNetwork = 'unet' | 'encoder1' | 'encoder2' | 'transformer';
