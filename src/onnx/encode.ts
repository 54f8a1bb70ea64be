/** @file Graph → ModelProto bytes (https://github.com/onnx/onnx/blob/v1.17.0/onnx/onnx.proto). Weights stay outside. */
import { elementCount } from '../base/dtype.js';
import { toFloat16Bits } from '../base/half.js';
import { nameValues } from './naming.js';
import { message, toBytes, type Message } from './protobuf.js';
import {
  ELEMENT_BYTES,
  ELEMENT_TYPE_CODE,
  type Attribute,
  type Constant,
  type Graph,
  type NamedValue,
  type Node,
  type Value,
  type Weight,
} from './types.js';

/** Pinned: the newest pair that keeps every operator in use on the GPU (docs/architecture.md §2). */
export const IR_VERSION = 10;
export const OPSET = 21;

/** A weight is fed on each run (`input`, a buffer we own) or read once when the session is made (`initializer`). */
export type Binding = 'input' | 'initializer';

export interface EncodedModel {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Weights bound as inputs, under their own names. */
  readonly inputWeights: readonly Weight[];
  /** Weights bound as external data: `path` is what the runtime mounts. */
  readonly initializers: readonly { readonly weight: Weight; readonly path: string }[];
}

/** Encodes `graph`; `bind` decides how each weight reaches the session. */
export function encodeModel(graph: Graph, bind: (weight: Weight) => Binding): EncodedModel {
  const nameOf = nameValues(graph);
  const inputWeights = graph.weights.filter((w) => bind(w) === 'input');
  const initializers = graph.weights
    .filter((w) => bind(w) === 'initializer')
    .map((weight, i) => ({ weight, path: `weight-${i}` }));

  const body = message();
  for (const node of graph.nodes) body.message(1, encodeNode(node, nameOf));
  body.text(2, graph.name);
  for (const constant of graph.constants) body.message(5, encodeConstant(constant, nameOf));
  for (const { weight, path } of initializers) body.message(5, encodeExternal(weight, path));
  for (const input of [...graph.inputs, ...inputWeights]) body.message(11, encodeValueInfo(input));
  for (const output of graph.outputs) body.message(12, encodeValueInfo(output));

  const model = message().varint(1, IR_VERSION).text(2, 'darkroom').message(7, body);
  for (const [domain, version] of opsets(graph)) model.message(8, message().text(1, domain).varint(2, version));
  return { bytes: toBytes(model), inputWeights, initializers };
}

function opsets(graph: Graph): readonly (readonly [string, number])[] {
  const used = new Set(graph.nodes.map((n) => n.domain));
  const all = [
    ['', OPSET],
    ['com.microsoft', 1],
    ['com.ms.internal.nhwc', OPSET],
  ] as const;
  return all.filter(([domain]) => domain === '' || used.has(domain));
}

function encodeNode(node: Node, nameOf: (value: Value) => string): Message {
  const out = message();
  const list = (field: number, values: readonly (Value | undefined)[]): void => {
    for (const value of trimRight(values)) out.text(field, value === undefined ? '' : nameOf(value));
  };
  list(1, node.inputs);
  list(2, node.outputs);
  const first = node.outputs.find((v) => v !== undefined);
  out.text(3, first === undefined ? node.scope : nameOf(first)).text(4, node.opType);
  for (const [name, value] of Object.entries(node.attributes)) out.message(5, encodeAttribute(name, value));
  if (node.domain !== '') out.text(7, node.domain);
  return out;
}

function trimRight(values: readonly (Value | undefined)[]): readonly (Value | undefined)[] {
  let end = values.length;
  while (end > 0 && values[end - 1] === undefined) end--;
  return values.slice(0, end);
}

const FLOAT = 1;
const INT = 2;
const STRING = 3;
const FLOATS = 6;
const INTS = 7;

function encodeAttribute(name: string, value: Attribute): Message {
  const out = message().text(1, name);
  if (typeof value === 'number') return out.varint(3, value).varint(20, INT);
  if (typeof value === 'string') return out.text(4, value).varint(20, STRING);
  if ('float' in value) return out.float(2, value.float).varint(20, FLOAT);
  if ('floats' in value) return out.packedFloats(7, value.floats).varint(20, FLOATS);
  return out.packedVarints(8, value).varint(20, INTS);
}

function encodeConstant({ value, data }: Constant, nameOf: (value: Value) => string): Message {
  return message()
    .packedVarints(1, value.shape)
    .varint(2, ELEMENT_TYPE_CODE[value.dtype])
    .text(8, nameOf(value))
    .bytes(9, rawBytes(value, data));
}

function rawBytes(value: Value, data: readonly number[]): Uint8Array {
  switch (value.dtype) {
    case 'int64':
      return new Uint8Array(BigInt64Array.from(data, BigInt).buffer);
    case 'int32':
      return new Uint8Array(Int32Array.from(data).buffer);
    case 'float32':
      return new Uint8Array(Float32Array.from(data).buffer);
    case 'float16':
      return new Uint8Array(Uint16Array.from(data, toFloat16Bits).buffer);
    case 'uint8':
    case 'bool':
      return Uint8Array.from(data);
    default:
      return value.dtype satisfies never;
  }
}

const EXTERNAL = 1;

function encodeExternal(weight: Weight, path: string): Message {
  const { dtype, shape } = weight.value;
  const entry = (key: string, value: string): Message => message().text(1, key).text(2, value);
  return message()
    .packedVarints(1, shape)
    .varint(2, ELEMENT_TYPE_CODE[dtype])
    .text(8, weight.name)
    .message(13, entry('location', path))
    .message(13, entry('offset', '0'))
    .message(13, entry('length', String(elementCount(shape) * ELEMENT_BYTES[dtype])))
    .varint(14, EXTERNAL);
}

function encodeValueInfo({ name, value }: NamedValue): Message {
  const shape = message();
  for (const size of value.shape) shape.message(1, message().varint(1, size));
  const tensor = message().varint(1, ELEMENT_TYPE_CODE[value.dtype]).message(2, shape);
  return message().text(1, name).message(2, message().message(1, tensor));
}
