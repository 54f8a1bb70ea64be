/** @file Names of values, assigned once from scope and operator, so that the same graph always gives the same bytes. */
import type { Graph, Value } from './types.js';

/** Value id → its name in the model. Inputs, outputs and weights keep their own names. */
export function nameValues(graph: Graph): (value: Value) => string {
  const names = new Map<number, string>();
  const taken = new Set<string>();
  const assign = (value: Value, wanted: string): void => {
    let name = wanted;
    for (let n = 2; taken.has(name); n++) name = `${wanted}.${n}`;
    taken.add(name);
    names.set(value.id, name);
  };
  for (const { name, value } of [...graph.inputs, ...graph.outputs, ...graph.weights]) assign(value, name);
  graph.constants.forEach(({ value }, i) => assign(value, `const.${i}`));
  for (const node of graph.nodes) {
    node.outputs.forEach((value, i) => {
      if (value === undefined || names.has(value.id)) return;
      assign(value, `${node.scope === '' ? '' : `${node.scope}/`}${node.opType}${i === 0 ? '' : `:${i}`}`);
    });
  }
  return (value) => names.get(value.id) ?? `v${value.id}`;
}
