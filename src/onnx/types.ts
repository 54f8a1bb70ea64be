/** @file The vocabulary of a graph: element types, values, nodes, weights. Data only. */

export type ElementType = 'float32' | 'float16' | 'int64' | 'int32' | 'bool';

/** ONNX `TensorProto.DataType`. */
export const ELEMENT_TYPE_CODE = { float32: 1, int32: 6, int64: 7, bool: 9, float16: 10 } as const satisfies Record<
  ElementType,
  number
>;

export const ELEMENT_BYTES = { float32: 4, int32: 4, int64: 8, bool: 1, float16: 2 } as const satisfies Record<
  ElementType,
  number
>;

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

/** A weight the graph needs, by the name it has in the model's files. */
export interface Weight {
  readonly name: string;
  /** Names of the tensors to read; more than one = their elementwise sum (biases folded together). */
  readonly tensors: readonly string[];
  readonly use: WeightUse;
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
