/** @file The vocabulary of a graph: element types, values, nodes, weights. Data only. */

export type ElementType = 'float32' | 'float16' | 'int64' | 'int32' | 'uint8' | 'bool';

/** ONNX `TensorProto.DataType`. */
export const ELEMENT_TYPE_CODE = {
  float32: 1,
  uint8: 2,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
} as const satisfies Record<ElementType, number>;

export const ELEMENT_BYTES = {
  float32: 4,
  int32: 4,
  int64: 8,
  uint8: 1,
  bool: 1,
  float16: 2,
} as const satisfies Record<ElementType, number>;

/** A typed tensor of a graph. Immutable; belongs to the graph that made it. */
export interface Value {
  readonly id: number;
  readonly dtype: ElementType;
  readonly shape: readonly number[];
}

export type Attribute =
  number | string | readonly number[] | { readonly float: number } | { readonly floats: readonly number[] };
export type Attributes = Readonly<Record<string, Attribute>>;

/** Domains of the operators in use; '' is standard ONNX. */
export type Domain = '' | 'com.microsoft' | 'com.ms.internal.nhwc';

/** One operator call. `undefined` inputs are optional inputs left out. */
export interface Node {
  readonly opType: string;
  readonly domain: Domain;
  /** Scope that wrote it, e.g. `down_blocks.0/resnets.1/conv1`. */
  readonly scope: string;
  readonly inputs: readonly (Value | undefined)[];
  readonly outputs: readonly (Value | undefined)[];
  readonly attributes: Attributes;
}

/** How the runtime should bind a weight: convolution kernels are prepacked once, so they are initializers. */
export type WeightUse = 'conv' | 'linear' | 'vector';

/**
 * How a matrix `[out, in]` is kept in few bits: in each row, every `block` columns share a scale (and a zero point), and
 * value = (code − zero)·scale. Without zero points zero is `2^(bits − 1)`.
 */
export interface PackedFormat {
  readonly bits: 4 | 8;
  /** Columns that share a scale: a power of two ≥ 16. */
  readonly block: number;
  readonly zeros: boolean;
}

/**
 * One of the tensors that a packed matrix is made of, of B = ⌈in/block⌉ blocks a row: `codes` `[out, B, block·bits/8]` uint8, of 4 bits the even
 * column low; `scales` `[out·B]` floats; `zeros` `[out·⌈B·bits/8⌉]` uint8, of 4 bits the even block low.
 */
export interface PackedPart {
  readonly part: 'codes' | 'scales' | 'zeros';
  readonly format: PackedFormat;
}

/**
 * One of the two factors of what is added beside a packed matrix `[out, in]`: `left` `[out, rank]`, `right` `[rank, in]`. They are in no file; whoever
 * runs the graph has them, or zeros.
 */
export type BranchSide = 'left' | 'right';

/** A weight the graph needs, by the name it has in the model's files. */
export interface Weight {
  /** The tensor's name, or names joined by `+`; of a part of a packed matrix, or of what is added to it, followed by `:` and the part. */
  readonly name: string;
  /** Names of the tensors to read; more than one = their elementwise sum (biases folded together). */
  readonly tensors: readonly string[];
  readonly use: WeightUse;
  /** Only where the value is made of the matrix `tensors`, not the matrix itself. */
  readonly packed?: PackedPart;
  /** Only of what is added beside the matrix `tensors`. */
  readonly branch?: BranchSide;
  readonly value: Value;
}

export interface NamedValue {
  readonly name: string;
  readonly value: Value;
}

/** A small constant stored inside the model (shapes, axes, scalars). */
export interface Constant {
  readonly value: Value;
  readonly data: readonly number[];
}

/** A finished graph. Nothing in it depends on how it will be run. */
export interface Graph {
  readonly name: string;
  readonly inputs: readonly NamedValue[];
  readonly outputs: readonly NamedValue[];
  readonly weights: readonly Weight[];
  readonly constants: readonly Constant[];
  readonly nodes: readonly Node[];
}
