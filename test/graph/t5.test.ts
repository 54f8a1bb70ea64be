/**
 * @file T5's encoder on the CPU against transformers, with and without hidden tokens: in one graph and by block sessions. The golden's residual
 * reaches 1.9e5, three times what float16 can hold.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memorySource } from '../../src/assets/byte-source.js';
import { openWeights, viewWeights, type WeightFile } from '../../src/assets/weights.js';
import type { FloatType } from '../../src/base/dtype.js';
import { packRows, unpackRows } from '../../src/base/packed-matrix.js';
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
import type { WeightBits } from '../../src/models/details.js';
import { wasmDialect } from '../../src/onnx/dialects/wasm.js';
import { createRoundedFile, roundedOfT5 } from '../../src/pipeline/flux/rounding.js';
import { t5Graphs } from '../../src/pipeline/flux/t5-encoder.js';
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

/** The states of the first sequence, by blocks whose matrices are rounded. */
async function encodeRounded(file: WeightFile, bits: WeightBits | undefined): Promise<Float32Array> {
  const given = await inputs(0, false);
  const { block, output, prefixes } = t5Graphs({ config, file, bits }, tokens, graphOptions('float32'));
  let x = given[T5_IO.hidden];
  for (const prefix of prefixes) {
    const made = await runGraph(runtime, weightsUnder(prefix, file), block, {
      ...given,
      [T5_IO.hidden]: x ?? floats([]),
    });
    x = floats(made[T5_IO.next]);
  }
  return floats((await runGraph(runtime, file, output, { [T5_IO.hidden]: x ?? floats([]) }))[T5_IO.last]);
}

/** The same file with these matrices as float32. */
async function replaced(change: (values: Float32Array, name: string) => Float32Array): Promise<WeightFile> {
  const tensors = new Map(weights.tensors);
  for (const { name } of roundedOfT5({ file: weights, config }, 8, wasmDialect)) {
    const tensor = tensors.get(name);
    if (tensor === undefined) throw new Error(name);
    const bytes = new Uint8Array(change(await weights.read(name, 'float32'), name).slice().buffer);
    tensors.set(name, { ...tensor, start: 0, end: bytes.length, source: memorySource(name, bytes) });
  }
  return viewWeights('rounded', tensors, PLAIN_LAYOUT);
}

describe('rounded', () => {
  it('are the products of its blocks, and nothing else', () => {
    const names = roundedOfT5({ file: weights, config }, 4, wasmDialect).map(({ name }) => name);
    const all = [...weights.tensors.keys()].filter((name) => /block.*\.(q|k|v|o|wi_0|wi_1|wo)\.weight$/.test(name));
    expect(names.sort()).toEqual(all.sort());
    expect(names).toHaveLength(7 * config.layers);
  });

  // In float32: in float16 `MatMulNBits` adds up in float16, and this model's output projections, of 3e4, are made to come near its end.
  it.each([
    [8, 0.05],
    [4, 0.6],
  ] as const)('to %d bits: what the rounded values give, and near transformers', async (bits, share) => {
    const format = { bits, block: 32, zeros: false } as const;
    const file = await replaced((values, name) => {
      const columns = weights.find(name)?.shape[1] ?? 0;
      return unpackRows(packRows(values, columns, format), columns, format);
    });
    const golden = part('without_mask', 0);
    const got = await encodeRounded(weights, bits);
    const exact = await encodeRounded(file, undefined);
    const near = compareByStd(`${bits} bits`, got, golden, share);
    expect(outOfTolerance([compareByStd(`${bits} bits`, got, exact, 1e-4), near])).toEqual([]);
    expect(outOfTolerance([compareByStd(`${bits} bits`, got, golden, share / 8)])).not.toEqual([]);
  });

  it('in float16 leaves the last product of a block in float32', () => {
    const { block } = t5Graphs({ config, file: weights, bits: 8 }, tokens, graphOptions('float16'));
    const scales = block.weights.filter(({ packed }) => packed?.part === 'scales');
    expect(scales).toHaveLength(7);
    for (const { tensors, value } of scales)
      expect(value.dtype).toBe(tensors[0]?.includes('.wo.') === true ? 'float32' : 'float16');
  });

  it('to 16 bits, of a file of float32: nothing is packed, and it is near transformers', async () => {
    const rounded = roundedOfT5({ file: weights, config }, 16, wasmDialect);
    expect(rounded.map(({ format }) => format)).toEqual(Array.from(rounded, () => 'float16'));
    expect(rounded).toHaveLength(7 * config.layers);
    const { file } = createRoundedFile({ model: 'golden', network: 'text encoder' }, weights, rounded, undefined);
    const [name = ''] = rounded.map((matrix) => matrix.name);
    expect(await file.read(name, 'float32')).not.toEqual(await weights.read(name, 'float32'));
    const got = await encodeRounded(file, 16);
    expect(outOfTolerance([compareByStd('16 bits', got, part('without_mask', 0), 2e-3)])).toEqual([]);
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
