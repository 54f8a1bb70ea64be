/** @file The graph writer: declares inputs, weights and constants, appends operators, and verifies each call as it is written. */
import { DarkroomError, fail } from '../base/errors.js';
import { inferOutputs } from './shape-rules.js';
import type {
  Attributes,
  BranchSide,
  Constant,
  Domain,
  ElementType,
  Graph,
  NamedValue,
  Node,
  PackedPart,
  Value,
  Weight,
  WeightUse,
} from './types.js';

export interface WeightOptions {
  readonly use: WeightUse;
  readonly dtype: ElementType;
  /** More tensors to add to this one elementwise on the way in (folded biases). */
  readonly plus?: readonly string[];
  /** What of a packed matrix this is. */
  readonly packed?: PackedPart | undefined;
  /** What of a packed matrix' branch this is. */
  readonly branch?: BranchSide | undefined;
}

export interface CallOptions {
  readonly domain?: Domain;
  readonly scope?: string;
  readonly attributes?: Attributes;
}

/** Writes one graph. Values are immutable; `finish` can be called once the outputs are declared. */
export interface GraphBuilder {
  input(name: string, dtype: ElementType, shape: readonly number[]): Value;
  output(name: string, value: Value): void;
  weight(name: string, shape: readonly number[], options: WeightOptions): Value;
  /** int64 constant (shapes, axes, split sizes); equal ones are stored once. */
  ints(data: readonly number[]): Value;
  /** Float constant vector; equal ones are stored once. */
  floats(data: readonly number[], dtype: ElementType): Value;
  /** One operator, first output. @throws invalidGraph where it is written, with the scope. */
  call(opType: string, inputs: readonly (Value | undefined)[], options?: CallOptions): Value;
  /** One operator, all outputs. */
  callAll(opType: string, inputs: readonly (Value | undefined)[], options?: CallOptions): readonly Value[];
  finish(): Graph;
}

/** Starts an empty graph. */
export function createGraphBuilder(name: string): GraphBuilder {
  let nextId = 0;
  const inputs: NamedValue[] = [];
  const outputs: NamedValue[] = [];
  const nodes: Node[] = [];
  const weights = new Map<string, Weight>();
  const constants = new Map<string, Constant>();
  const constantData = new Map<number, readonly number[]>();
  const owned = new Set<Value>();

  const newValue = (dtype: ElementType, shape: readonly number[]): Value => {
    const value = Object.freeze({ id: nextId++, dtype, shape: Object.freeze([...shape]) });
    owned.add(value);
    return value;
  };

  const constant = (dtype: ElementType, data: readonly number[], shape: readonly number[]): Value => {
    const key = `${dtype}:${shape.join('x')}:${data.join(',')}`;
    const existing = constants.get(key);
    if (existing !== undefined) return existing.value;
    const value = newValue(dtype, shape);
    constants.set(key, { value, data });
    constantData.set(value.id, data);
    return value;
  };

  const checkShape = (what: string, shape: readonly number[]): void => {
    if (shape.every((size) => Number.isInteger(size) && size > 0)) return;
    throw fail(
      'invalidGraph',
      `${name}: ${what} has the shape [${shape.join(',')}]; every size must be a whole number ≥ 1.`,
    );
  };

  const builder: GraphBuilder = {
    input(inputName, dtype, shape) {
      checkShape(`input "${inputName}"`, shape);
      if (inputs.some((i) => i.name === inputName))
        throw fail('invalidGraph', `${name}: input "${inputName}" is declared twice.`);
      const value = newValue(dtype, shape);
      inputs.push({ name: inputName, value });
      return value;
    },

    output(outputName, value) {
      if (!owned.has(value)) throw fail('invalidGraph', `${name}: output "${outputName}" belongs to another graph.`);
      if (outputs.some((o) => o.name === outputName))
        throw fail('invalidGraph', `${name}: output "${outputName}" is declared twice.`);
      outputs.push({ name: outputName, value });
    },

    weight(weightName, shape, { use, dtype, plus = [], packed, branch }) {
      checkShape(`weight "${weightName}"`, shape);
      const tensors = [weightName, ...plus];
      const part = packed?.part ?? branch;
      const key = part === undefined ? tensors.join('+') : `${weightName}:${part}`;
      const existing = weights.get(key);
      if (existing !== undefined) {
        if (existing.value.shape.join() === shape.join() && existing.value.dtype === dtype) return existing.value;
        throw fail('invalidGraph', `${name}: weight "${weightName}" is used with two shapes or dtypes.`);
      }
      const value = newValue(dtype, shape);
      weights.set(key, { name: key, tensors, use, value, ...(packed && { packed }), ...(branch && { branch }) });
      return value;
    },

    ints: (data) => constant('int64', data, [data.length]),
    floats: (data, dtype) => constant(dtype, data, [data.length]),

    call(opType, args, options) {
      const [first] = builder.callAll(opType, args, options);
      if (first === undefined) throw fail('invalidGraph', `${opType}: no output.`);
      return first;
    },

    callAll(opType, args, { domain = '', scope = '', attributes = {} } = {}) {
      if (args.some((v) => v !== undefined && !owned.has(v))) {
        throw fail('invalidGraph', `${name}/${scope}: ${opType}: an input belongs to another graph.`);
      }
      try {
        const call = { op: opType, inputs: args, attributes, constant: (v: Value) => constantData.get(v.id) };
        const made = inferOutputs(domain, call).map(({ dtype, shape }) => newValue(dtype, shape));
        nodes.push({ opType, domain, scope, inputs: args, outputs: made, attributes });
        return made;
      } catch (error) {
        if (!(error instanceof DarkroomError)) throw error;
        throw fail('invalidGraph', `${name}/${scope}: ${error.message}`, { cause: error });
      }
    },

    finish() {
      if (outputs.length === 0) throw fail('invalidGraph', `${name}: the graph has no output.`);
      return prune({
        name,
        inputs,
        outputs,
        nodes,
        weights: [...weights.values()],
        constants: [...constants.values()],
      });
    },
  };
  return builder;
}

/** Drops nodes nobody reads and marks unused optional outputs as left out, walking from the outputs back. */
function prune(graph: Graph): Graph {
  const used = new Set<number>(graph.outputs.map((o) => o.value.id));
  const kept: Node[] = [];
  for (const node of [...graph.nodes].reverse()) {
    if (!node.outputs.some((v) => v !== undefined && used.has(v.id))) continue;
    for (const v of node.inputs) if (v !== undefined) used.add(v.id);
    const outputs = node.outputs.map((v) => (v !== undefined && used.has(v.id) ? v : undefined));
    while (outputs.length > 0 && outputs[outputs.length - 1] === undefined) outputs.pop();
    kept.push({ ...node, outputs });
  }
  return {
    ...graph,
    nodes: kept.reverse(),
    weights: graph.weights.filter((w) => used.has(w.value.id)),
    constants: graph.constants.filter((c) => used.has(c.value.id)),
  };
}
