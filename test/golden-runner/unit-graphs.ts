/** @file Unit goldens of graphs: T5's encoder with and without hidden tokens, and linear layers on matrices of few bits. */
import type { WeightFile } from '../../src/assets/weights.js';
import { T5_BIAS_TABLE, T5_IO, T5_TOKEN_TABLE, t5EncoderGraph, t5PositionBias } from '../../src/graphs/t5.js';
import { parseT5Config } from '../../src/models/configs/t5.js';
import { writeGraph } from '../../src/onnx/net.js';
import type { Graph } from '../../src/onnx/types.js';
import { packRows, type PackingFormat } from '../../src/base/packed-matrix.js';
import { float16ToFloat32, float32ToFloat16 } from '../../src/base/half.js';
import type { Runtime } from '../../src/runtime/runtime.js';
import type { Inputs } from '../../src/runtime/session.js';
import { openGoldenWeights, readGoldenJson, readRaw, readTensors, type GoldenFolder } from './files.js';
import { compare, type Comparison } from './report.js';

async function run(
  runtime: Runtime,
  file: WeightFile,
  graph: Graph,
  inputs: Inputs,
  output: string,
): Promise<Float32Array> {
  const bank = runtime.openBank(file);
  const model = await bank.load(graph);
  try {
    const { [output]: made = new Float32Array() } = await model.run(inputs);
    return made;
  } finally {
    await model.dispose();
    bank.dispose();
  }
}

/** README-transformers §5: an encoder's output within 1e-4 of its standard deviation. */
const ENCODER_SHARE = 1e-4;

export async function compareT5(folder: GoldenFolder, path: string, runtime: Runtime): Promise<readonly Comparison[]> {
  const config = parseT5Config(await readGoldenJson(folder, `${path}/config.json`));
  const { realLengths } = (await readGoldenJson(folder, `${path}/case.json`)) as {
    readonly realLengths: readonly number[];
  };
  const golden = await readTensors(folder, `${path}/tensors.safetensors`);
  const weights = await openGoldenWeights(folder, `${path}/model.safetensors`);
  const table = await weights.read(T5_TOKEN_TABLE, 'float32');
  const biases = await weights.read(T5_BIAS_TABLE, 'float32');
  const tokens = (golden.get('input_ids')?.length ?? 0) / realLengths.length;
  const part = (name: string, index: number): Float32Array => {
    const all = golden.get(name) ?? new Float64Array();
    const size = all.length / realLengths.length;
    return Float32Array.from(all.subarray(index * size, (index + 1) * size));
  };
  const graph = t5EncoderGraph(config, tokens, { dialect: runtime.dialect, dtype: 'float32' });
  const row = t5PositionBias(config, biases, tokens);
  const firstQuery = Array.from({ length: config.heads }, (_, head) => [
    ...row.subarray(head * tokens * tokens, (head * tokens + 1) * tokens),
  ]).flat();
  const out = [
    compare('position bias', firstQuery, golden.get('position_bias_row0') ?? [], { absolute: 0, relative: 0 }),
  ];
  for (const index of realLengths.keys()) {
    const hidden = Float32Array.from(
      [...part('input_ids', index)].flatMap((id) => [...table.subarray(id * config.width, (id + 1) * config.width)]),
    );
    for (const name of ['without_mask', 'with_mask']) {
      const mask = name === 'with_mask' ? part('attention_mask', index) : undefined;
      const inputs = { [T5_IO.hidden]: hidden, [T5_IO.bias]: t5PositionBias(config, biases, tokens, mask) };
      const states = await run(runtime, weights, graph, inputs, T5_IO.last);
      const expected = part(name, index);
      const tolerance = { absolute: ENCODER_SHARE * deviation(expected), relative: 0 };
      out.push(compare(`${name}, sequence ${index}`, states, expected, tolerance));
    }
  }
  return out;
}

function deviation(values: Float32Array): number {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  return Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);
}

interface PackedShape {
  readonly N: number;
  readonly K: number;
  readonly M: number;
  readonly block: number;
  readonly bits: 4 | 8;
  readonly symmetric: boolean;
  readonly source: 'f32' | 'f16' | 'bf16';
  readonly scales: 'f32' | 'f16';
  readonly bias?: boolean;
}

/** Bytes exactly; products of a float16 graph within its rounding. Without float16 on the device they are made in float32 all the same. */
export async function comparePacked(
  folder: GoldenFolder,
  path: string,
  runtime: Runtime,
): Promise<readonly Comparison[]> {
  const { shapes } = (await readGoldenJson(folder, `${path}/case.json`)) as { readonly shapes: readonly PackedShape[] };
  const file = await openGoldenWeights(folder, `${path}/tensors.safetensors`);
  const bytes = await readRaw(folder, `${path}/tensors.safetensors`);
  const out: Comparison[] = [];
  for (const [i, shape] of shapes.entries()) {
    const { N, K, M, bits, block, symmetric } = shape;
    const format: PackingFormat = { bits, block, zeros: !symmetric };
    const packed = packRows(await file.read(`${i}.W`, 'float32'), K, format);
    const exact = { absolute: 0, relative: 0 };
    const scales = shape.scales === 'f16' ? float16ToFloat32(float32ToFloat16(packed.scales)) : packed.scales;
    out.push(compare(`${i}: codes`, packed.codes, bytes(`${i}.B`), exact));
    out.push(compare(`${i}: scales`, scales, await file.read(`${i}.scales`, 'float32'), exact));
    if (!symmetric) out.push(compare(`${i}: zero points`, packed.zeros ?? [], bytes(`${i}.zero_points`), exact));
    const half = shape.scales === 'f16';
    const dtype = half && runtime.info.backend === 'wasm' ? 'float16' : 'float32';
    const graph = writeGraph('packed', { dialect: runtime.dialect, dtype, packing: () => format }, (net) => {
      const x = net.tokens('x', { n: 1, s: M, c: K });
      net.output('y', net.linear('layer', x, { channels: N, bias: shape.bias === true }));
    });
    const bank = runtime.openBank(renamed(file));
    const blocks = await bank.loadBlocks(graph, { prefixes: [`${i}.`] });
    const { y = [] } = await blocks.run(0, { x: await file.read(`${i}.A`, 'float32') });
    await blocks.dispose();
    bank.dispose();
    const tolerance = { absolute: 0, relative: half ? 2e-3 : 1e-5 };
    out.push(compare(`${i}: product`, y, await file.read(`${i}.Y`, 'float32'), tolerance));
  }
  return out;
}

/** `3.layer.weight` is the golden's `3.W`. */
function renamed(file: WeightFile): WeightFile {
  const { name, tensors } = file;
  const inside = (weight: string): string => weight.replace('layer.weight', 'W').replace('layer.bias', 'bias');
  return {
    name,
    tensors,
    find: (weight) => file.find(inside(weight)),
    read: (weight, as, signal, onBytes) => file.read(inside(weight), as, signal, onBytes),
    bytes: (weight, signal, onBytes) => file.bytes(inside(weight), signal, onBytes),
  };
}
