/** @file Graph → text for people: one line per operator, with shapes, in the order in which it runs. */
import { nameValues } from './naming.js';
import type { Attribute, Graph, Value } from './types.js';

/** The whole graph as text; the same graph always gives the same text. */
export function dumpGraph(graph: Graph): string {
  const nameOf = nameValues(graph);
  const typed = (value: Value): string => `${value.dtype}[${value.shape.join(',')}]`;
  const constants = new Map(graph.constants.map((c) => [c.value.id, `[${c.data.join(',')}]`]));
  const argument = (value: Value | undefined): string =>
    value === undefined ? '–' : (constants.get(value.id) ?? nameOf(value));
  const lines = [`graph ${graph.name}`];
  for (const { name, value } of graph.inputs) lines.push(`  input  ${name}: ${typed(value)}`);
  for (const { name, value, use } of graph.weights) lines.push(`  weight ${name}: ${typed(value)} ${use}`);
  for (const node of graph.nodes) {
    const outputs = node.outputs.map((v) => (v === undefined ? '–' : `${nameOf(v)}: ${typed(v)}`)).join(', ');
    const attributes = Object.entries(node.attributes).map(([key, value]) => `${key}=${attributeText(value)}`);
    const op = node.domain === '' ? node.opType : `${node.domain}:${node.opType}`;
    const suffix = attributes.length === 0 ? '' : ` {${attributes.join(', ')}}`;
    lines.push(`  ${outputs} = ${op}(${node.inputs.map(argument).join(', ')})${suffix}`);
  }
  for (const { name, value } of graph.outputs) lines.push(`  output ${name}: ${typed(value)}`);
  return `${lines.join('\n')}\n`;
}

function attributeText(value: Attribute): string {
  if (typeof value === 'number' || typeof value === 'string') return String(value);
  if ('float' in value) return String(value.float);
  if ('floats' in value) return `[${value.floats.join(',')}]`;
  return `[${value.join(',')}]`;
}
