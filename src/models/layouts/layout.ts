/** @file How a file's weights are found under internal names (those of current diffusers): the type that every layout has, and prefixes. */

/** `count` (default 1) of `of` equal parts of a tensor's rows, from part `index` on. */
export interface RowPart {
  readonly index: number;
  readonly of: number;
  readonly count?: number;
}

/** Where a weight is in a file. */
export interface WeightPlace {
  /** The tensor's name in the file. */
  readonly name: string;
  /** The weight is only some rows: `{ index: 1, of: 3 }` is k in a packed q, k, v. */
  readonly part?: RowPart;
  /** The file has the second half of the rows first. */
  readonly swapped?: true;
  /** The file has the matrix as `[in, out]` where `[out, in]` is expected. */
  readonly transposed?: true;
}

/** One component's layout. */
export interface WeightLayout {
  /** Where a file may have the weight `internal`, the likeliest first; none when the layout has no such weight. */
  readonly places: (internal: string) => readonly WeightPlace[];
  /** The shape `internal` has in the graphs, from its shape at its place; the bytes are the same. */
  readonly shape: (internal: string, stored: readonly number[]) => readonly number[];
}

/** What a layout may look at: the names and shapes of a file. */
export type TensorShapes = ReadonlyMap<string, { readonly shape: readonly number[] }>;

export const sameShape: WeightLayout['shape'] = (_internal, stored) => stored;

/** A matrix that some files keep as a 1×1 convolution: `[out, in, 1, 1]` → `[out, in]`; anything else as it is. */
export function withoutKernel(stored: readonly number[]): readonly number[] {
  const [out, input, ...kernel] = stored;
  const pointwise = kernel.length === 2 && kernel.every((side) => side === 1);
  return pointwise && out !== undefined && input !== undefined ? [out, input] : stored;
}

/** `layout` for files that put `prefix` before every name. */
export function withPrefix(prefix: string, layout: WeightLayout): WeightLayout {
  return {
    places: (internal) => layout.places(internal).map((place) => ({ ...place, name: prefix + place.name })),
    shape: layout.shape,
  };
}

/** The tensors whose names begin with `prefix`, without it. */
export function tensorsUnder<T>(prefix: string, tensors: ReadonlyMap<string, T>): ReadonlyMap<string, T> {
  return new Map(
    [...tensors].flatMap(([name, tensor]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), tensor]] : [])),
  );
}

/** True for what files carry besides weights: `position_ids` of old text encoders is 0, 1, 2, …. */
export function isJunkWeight(name: string): boolean {
  return name === 'position_ids' || name.endsWith('.position_ids');
}
