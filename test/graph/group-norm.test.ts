/** @file GroupNorm on the CPU against Wu & He 2018, eq. 1 and 6, in float64: also of large groups far from 0, as pictures of one colour make them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memorySource } from '../../src/assets/byte-source.js';
import { viewWeights, type WeightFile } from '../../src/assets/weights.js';
import { wasmDialect } from '../../src/onnx/dialects/wasm.js';
import { writeGraph } from '../../src/onnx/net.js';
import { loadOrtInNode } from '../../src/runtime/ort-node.js';
import { createRuntime, type Runtime } from '../../src/runtime/runtime.js';
import { noise } from '../unit/runtime/fake-weight-file.js';
import { floats, PLAIN_LAYOUT, runGraph } from './block-sessions.js';

interface Size {
  readonly n: number;
  readonly c: number;
  readonly h: number;
  readonly w: number;
  readonly groups: number;
}

const EPS = 1e-6;
let runtime: Runtime;
beforeAll(async () => {
  runtime = await createRuntime({ backend: 'wasm', loadOrt: loadOrtInNode });
});
afterAll(() => runtime.dispose());

function weightsOf(gamma: Float32Array, beta: Float32Array): WeightFile {
  const source = memorySource('memory', new Uint8Array(Float32Array.of(...gamma, ...beta).buffer));
  const at = (start: number) => ({
    dtype: 'F32' as const,
    shape: [gamma.length],
    start,
    end: start + gamma.byteLength,
    source,
  });
  const tensors = new Map([
    ['norm.weight', at(0)],
    ['norm.bias', at(gamma.byteLength)],
  ]);
  return viewWeights('memory', tensors, PLAIN_LAYOUT);
}

function normalised(x: Float32Array, { n, c, h, w, groups }: Size, gamma: Float32Array, beta: Float32Array): number[] {
  const size = (c / groups) * h * w;
  return Array.from({ length: n * groups }, (_, group) => {
    const values = x.subarray(group * size, (group + 1) * size);
    const mean = values.reduce((sum, value) => sum + value, 0) / size;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / size;
    return Array.from(values, (value, i) => {
      const channel = ((group % groups) * c) / groups + Math.floor(i / (h * w));
      return ((value - mean) / Math.sqrt(variance + EPS)) * (gamma[channel] ?? NaN) + (beta[channel] ?? NaN);
    });
  }).flat();
}

describe('GroupNorm of the wasm dialect', () => {
  it.each([
    ['two pictures of odd sizes', { n: 2, c: 6, h: 5, w: 7, groups: 2 }, 0, 1, 1e-6],
    ['one value a group', { n: 1, c: 4, h: 1, w: 1, groups: 4 }, 3, 1, 1e-6],
    ['a large group', { n: 1, c: 2, h: 512, w: 512, groups: 1 }, 0, 1, 5e-6],
    // InstanceNormalization of ONNX Runtime's CPU provider was off by 0.02 here.
    ['a large group that is almost one value', { n: 1, c: 2, h: 512, w: 512, groups: 1 }, 1, 0.01, 5e-6],
  ])('normalises %s', async (_, size, mean, deviation, tolerance) => {
    const { n, c, h, w, groups } = size;
    const x = noise(1, n * c * h * w).map((value) => mean + deviation * value);
    const [gamma, beta] = [noise(2, c), noise(3, c)];
    const graph = writeGraph('norm', { dialect: wasmDialect, dtype: 'float32' }, (net) =>
      net.output('y', net.groupNorm('norm', net.image('x', { n, h, w, c }), { groups, eps: EPS, silu: false })),
    );
    const y = floats((await runGraph(runtime, weightsOf(gamma, beta), graph, { x })).y);
    const off = normalised(x, size, gamma, beta).reduce((most, value, i) => {
      const difference = Math.abs(value - (y[i] ?? NaN));
      return difference <= most ? most : difference;
    }, 0);
    expect(y).toHaveLength(x.length);
    expect(off).toBeLessThan(tolerance);
  });
});
