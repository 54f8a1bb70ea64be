/**
 * @file T5's encoder on the CPU against transformers, with and without hidden tokens: in one graph and by block sessions. The golden's residual
 * reaches 1.9e5, three times what float16 can hold.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openWeights, type WeightFile } from '../../src/assets/weights.js';
import type { FloatType } from '../../src/base/dtype.js';
import {
  T5_BIAS_TABLE,
  t5BlockGraph,
  t5BlockPrefix,
  t5EncoderGraph,
  T5_IO,
  t5OutputGraph,
  t5PositionBias,
  T5_TOKEN_TABLE,
} from '../../src/graphs/t5.js';
import { parseT5Config, type T5Config } from '../../src/models/configs/t5.js';
import { wasmDialect } from '../../src/onnx/dialects/wasm.js';
import { loadOrtInNode } from '../../src/runtime/ort-node.js';
import { createRuntime, type Runtime } from '../../src/runtime/runtime.js';
import type { Inputs } from '../../src/runtime/session.js';
import { readGoldenJson, readTensors } from '../golden-runner/files.js';
import { nodeFolder } from '../golden-runner/node.js';
import { compareByStd, floats, outOfTolerance, PLAIN_LAYOUT, runGraph, weightsUnder } from './block-sessions.js';

const UNIT = 'unit/t5-encoder-large-activations';
const folder = nodeFolder(join(import.meta.dirname, '../golden'));
const graphOptions = (dtype: FloatType) => ({ dialect: wasmDialect, dtype }) as const;

let runtime: Runtime;
let weights: WeightFile;
let config: T5Config;
let golden: ReadonlyMap<string, Float64Array>;
let table: Float32Array;
/** Two sequences. */
const SEQUENCES = [0, 1] as const;
let tokens: number;

beforeAll(async () => {
  runtime = await createRuntime({ backend: 'wasm', loadOrt: loadOrtInNode });
  weights = await openWeights(folder.tree('unit'), UNIT.slice('unit/'.length), ['model'], { layout: PLAIN_LAYOUT });
  config = parseT5Config(await readGoldenJson(folder, `${UNIT}/config.json`));
  golden = await readTensors(folder, `${UNIT}/tensors.safetensors`);
  table = await weights.read(T5_TOKEN_TABLE, 'float32');
  tokens = (golden.get('input_ids')?.length ?? 0) / SEQUENCES.length;
});
afterAll(() => runtime.dispose());

/** Sequence `index` of a golden of both. */
function part(name: string, index: number): Float32Array {
  const all = floats(golden.get(name));
  const size = all.length / SEQUENCES.length;
  return all.subarray(index * size, (index + 1) * size);
}

async function inputs(index: number, masked: boolean): Promise<Inputs> {
  const rows = [...part('input_ids', index)].flatMap((id) => [
    ...table.subarray(id * config.width, (id + 1) * config.width),
  ]);
  const mask = masked ? part('attention_mask', index) : undefined;
  const bias = t5PositionBias(config, await weights.read(T5_BIAS_TABLE, 'float32'), tokens, mask);
  return { [T5_IO.hidden]: floats(rows), [T5_IO.bias]: bias };
}

async function encodeByBlocks(dtype: FloatType, given: Inputs): Promise<{ first: Float32Array; last: Float32Array }> {
  const states: Float32Array[] = [];
  let x = given[T5_IO.hidden];
  for (let i = 0; i < config.layers; i++) {
    const graph = t5BlockGraph(config, tokens, graphOptions(dtype));
    const file = weightsUnder(t5BlockPrefix(i), weights);
    const made = await runGraph(runtime, file, graph, { ...given, [T5_IO.hidden]: x ?? floats([]) });
    x = floats(made[T5_IO.next]);
    states.push(floats(made[T5_IO.next]));
  }
  const out = t5OutputGraph(config, tokens, graphOptions(dtype));
  const { [T5_IO.last]: last } = await runGraph(runtime, weights, out, { [T5_IO.hidden]: x ?? floats([]) });
  return { first: states[0] ?? floats([]), last: floats(last) };
}

describe.each([
  ['float32', 1e-4],
  ['float16', 1e-2],
] as const)('T5 encoder in %s', (dtype, share) => {
  it.each([false, true])('gives what transformers gives, whole and by blocks; tokens hidden: %s', async (masked) => {
    const name = masked ? 'with_mask' : 'without_mask';
    const results = [];
    for (const index of SEQUENCES) {
      const given = await inputs(index, masked);
      const graph = t5EncoderGraph(config, tokens, graphOptions(dtype));
      const { [T5_IO.last]: whole = floats([]) } = await runGraph(runtime, weights, graph, given);
      const blocks = await encodeByBlocks(dtype, given);
      results.push(compareByStd(`${name} ${index} whole`, whole, part(name, index), share));
      results.push(compareByStd(`${name} ${index} blocks`, blocks.last, part(name, index), share));
      if (masked) continue;
      results.push(compareByStd('block 0', blocks.first, part('block0_without_mask', index), share));
      expect(Math.max(...blocks.first.map(Math.abs))).toBeGreaterThan(65_504);
    }
    expect(outOfTolerance(results)).toEqual([]);
  });
});

describe('position bias', () => {
  it('is the row of the golden for the first query', async () => {
    const bias = t5PositionBias(config, await weights.read(T5_BIAS_TABLE, 'float32'), tokens);
    const rows = Array.from({ length: config.heads }, (_, head) => [
      ...bias.subarray(head * tokens * tokens, (head * tokens + 1) * tokens),
    ]).flat();
    expect(rows).toEqual([...(golden.get('position_bias_row0') ?? [])]);
  });
});
