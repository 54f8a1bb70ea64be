/** @file Linear layers on matrices of few bits, on the CPU, against the bytes and products of ONNX Runtime's own block quantiser. */
import { join } from 'node:path';
import type { Tensor } from 'onnxruntime-web';
import { beforeAll, describe, expect, it } from 'vitest';
import { memorySource } from '../../src/assets/byte-source.js';
import { openSafetensors } from '../../src/assets/safetensors.js';
import { float16ToFloat32, float32ToFloat16 } from '../../src/base/half.js';
import { wasmDialect } from '../../src/onnx/dialects/wasm.js';
import { encodeModel } from '../../src/onnx/encode.js';
import { writeGraph } from '../../src/onnx/net.js';
import type { PackedPart } from '../../src/onnx/types.js';
import type { Ort } from '../../src/runtime/ort.js';
import { loadOrtInNode } from '../../src/runtime/ort-node.js';
import { toFloat32 } from '../../src/runtime/device-array.js';
import { readGoldenJson } from '../golden-runner/files.js';
import { nodeFolder } from '../golden-runner/node.js';
import { compare } from '../golden-runner/report.js';
import { outOfTolerance } from './block-sessions.js';

interface Shape {
  readonly N: number;
  readonly K: number;
  readonly M: number;
  readonly block: number;
  readonly bits: 4 | 8;
  readonly symmetric: boolean;
  readonly scales: 'f32' | 'f16';
  readonly bias?: boolean;
}

const folder = nodeFolder(join(import.meta.dirname, '../golden'));
const { shapes } = (await readGoldenJson(folder, 'unit/matmulnbits/case.json')) as {
  readonly shapes: readonly Shape[];
};
/** By name: the bytes as they are stored. */
const stored = new Map<string, { readonly dtype: string; readonly bytes: Uint8Array }>();
let ort: Ort;

beforeAll(async () => {
  ort = await loadOrtInNode('wasm');
  const bytes = await folder.read('unit/matmulnbits/tensors.safetensors');
  const { tensors } = await openSafetensors(memorySource('tensors', bytes));
  for (const [name, { dtype, start, end }] of tensors) stored.set(name, { dtype, bytes: bytes.slice(start, end) });
});

function bytesOf(name: string): Uint8Array {
  const found = stored.get(name);
  if (found === undefined) throw new Error(`the golden has no ${name}`);
  return found.bytes;
}

/** float16 or float32 as stored, as float32. */
function floatsOf(name: string): Float32Array {
  const { buffer } = bytesOf(name).slice();
  return stored.get(name)?.dtype === 'F16' ? float16ToFloat32(new Uint16Array(buffer)) : new Float32Array(buffer);
}

const GOLDEN_NAME = { codes: 'B', scales: 'scales', zeros: 'zero_points' } as const satisfies Record<
  PackedPart['part'],
  string
>;

describe('linear on a packed matrix', () => {
  it.each(shapes.map((shape, i) => [i, shape] as const))('%i: %j', async (i, shape) => {
    const { N, K, M, block, bits, symmetric } = shape;
    const dtype = shape.scales === 'f16' ? 'float16' : 'float32';
    const graph = writeGraph(
      'packed',
      { dialect: wasmDialect, dtype, packing: () => ({ bits, block, zeros: !symmetric }) },
      (net) =>
        net.output(
          'y',
          net.linear('layer', net.tokens('x', { n: 1, s: M, c: K }), { channels: N, bias: shape.bias === true }),
        ),
    );
    const { bytes } = encodeModel(graph, () => 'input');
    const session = await ort.InferenceSession.create(bytes, { graphOptimizationLevel: 'disabled' });
    const floats = (values: Float32Array, dims: readonly number[]): Tensor =>
      new ort.Tensor(dtype, dtype === 'float16' ? float32ToFloat16(values) : values, dims);
    const feeds: Record<string, Tensor> = { x: floats(floatsOf(`${i}.A`), [M, K]) };
    for (const { name, packed, value } of graph.weights) {
      const part = packed?.part;
      if (part === undefined) feeds[name] = floats(floatsOf(`${i}.bias`), value.shape);
      else if (part === 'scales') feeds[name] = floats(floatsOf(`${i}.scales`), value.shape);
      else feeds[name] = new ort.Tensor('uint8', bytesOf(`${i}.${GOLDEN_NAME[part]}`), value.shape);
    }
    const { y } = await session.run(feeds);
    const got = toFloat32(y?.data, 'y');
    await session.release();
    const tolerance = dtype === 'float16' ? { absolute: 0, relative: 2e-3 } : { absolute: 0, relative: 1e-6 };
    expect(outOfTolerance([compare('Y', got, floatsOf(`${i}.Y`), tolerance)])).toEqual([]);
  });
});
