/** @file Words for transformers: what is fused, how number formats change, what matrices of few bits are made of, and what is refused. */
import { describe, expect, it } from 'vitest';
import { DarkroomError } from '../../../src/base/errors.js';
import { webgpuDialect } from '../../../src/onnx/dialects/webgpu.js';
import { createGraphBuilder } from '../../../src/onnx/builder.js';
import { dumpGraph } from '../../../src/onnx/dump.js';
import { writeGraph, type GraphOptions, type Net, type Tokens } from '../../../src/onnx/net.js';
import {
  cast,
  finite,
  modulatedNorm,
  rmsNorm,
  rmsNormHeads,
  rotate,
  rotaryTable,
  splitAt,
} from '../../../src/onnx/sequence.js';
import type { Graph } from '../../../src/onnx/types.js';

const graphOf = (write: (net: Net) => void, options: Partial<GraphOptions> = {}): Graph =>
  writeGraph('test', { dialect: webgpuDialect, dtype: 'float16', ...options }, write);
const operators = ({ nodes }: Graph): readonly string[] =>
  nodes.map((node) => node.opType).filter((op) => op !== 'Reshape');
const tokens = (net: Net, name = 'x', c = 64): Tokens => net.tokens(name, { n: 1, s: 4, c });
const vector = (net: Net, name: string): Tokens => net.tokens(name, { n: 1, s: 1, c: 64 });

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof DarkroomError && error.code === 'invalidGraph') return error.message;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('norms', () => {
  it('take a residual and the bias of its branch in, and write the sum once', () => {
    const graph = graphOf((net) => {
      const x = tokens(net);
      const sum = net.add(x, net.linear('out', x, { channels: 64 }));
      const normal = rmsNorm(net, 'norm', sum, { eps: 1e-6 });
      net.output('y', net.add(sum, normal));
    });
    expect(operators(graph)).toEqual(['Gemm', 'SkipSimplifiedLayerNormalization', 'Add']);
    expect(graph.nodes[1]?.inputs).toHaveLength(4);
  });

  it('take a modulation as gamma and beta', () => {
    const graph = graphOf((net) => {
      const by = { scale: vector(net, 'scale'), shift: vector(net, 'shift') };
      const sum = net.add(tokens(net), tokens(net, 'z'));
      net.output('y', modulatedNorm(net, sum, by, { eps: 1e-6 }));
    });
    expect(operators(graph)).toEqual(['SkipLayerNormalization']);
    expect(graph.weights).toEqual([]);
  });

  it('of heads have one weight for all heads', () => {
    const graph = graphOf((net) => net.output('y', rmsNormHeads(net, 'norm', tokens(net), { eps: 1e-6, heads: 4 })));
    expect(graph.weights.map(({ name, value }) => [name, value.shape])).toEqual([['norm.weight', [16]]]);
  });
});

describe('number formats', () => {
  it('an island has weights and results of its own type, and casts at its borders only', () => {
    const graph = graphOf((net) => {
      const exact = net.as('float32');
      const wide = exact.linear('wide', cast(exact, cast(exact, tokens(net))), { channels: 64 });
      net.output('y', net.linear('narrow', cast(net, wide), { channels: 64 }));
    });
    expect(operators(graph)).toEqual(['Cast', 'Gemm', 'Cast', 'Gemm']);
    expect(Object.fromEntries(graph.weights.map(({ name, value }) => [name, value.dtype]))).toEqual({
      'wide.weight': 'float32',
      'wide.bias': 'float32',
      'narrow.weight': 'float16',
      'narrow.bias': 'float16',
    });
  });

  it('are not mixed without a cast', () => {
    const write = (net: Net): void => net.output('y', net.as('float32').linear('l', tokens(net), { channels: 8 }));
    expect(refusal(() => graphOf(write))).toMatch(/test\/l: Gemm.*one dtype/);
  });

  it('only float16 has infinities to cut off', () => {
    const write = (net: Net): void => net.output('y', finite(net, net.add(tokens(net), tokens(net, 'z'))));
    expect(operators(graphOf(write))).toEqual(['Add', 'Clip']);
    expect(operators(graphOf(write, { dtype: 'float32' }))).toEqual(['Add']);
  });
});

describe('matrices of few bits', () => {
  it('are three tensors in place of one', () => {
    const packing = (weight: string, [out, columns]: readonly [number, number]) =>
      weight === 'a.weight' && out === 8 && columns === 72 ? ({ bits: 4, block: 32, zeros: true } as const) : undefined;
    const graph = graphOf(
      (net) =>
        net.output('y', net.linear('b', net.linear('a', tokens(net, 'x', 72), { channels: 8 }), { channels: 4 })),
      { packing },
    );
    expect(dumpGraph(graph)).toMatchInlineSnapshot(`
      "graph test
        input  x: float16[4,72]
        weight a.weight:codes: uint8[8,3,16] linear
        weight a.weight:scales: float16[24] linear
        weight a.weight:zeros: uint8[16] linear
        weight a.bias: float16[8] vector
        weight b.weight: float16[4,8] linear
        weight b.bias: float16[4] vector
        a/MatMulNBits: float16[4,8] = com.microsoft:MatMulNBits(x, a.weight:codes, a.weight:scales, a.weight:zeros, –, a.bias) {N=8, K=72, bits=4, block_size=32, accuracy_level=1}
        y: float16[4,4] = Gemm(a/MatMulNBits, b.weight, b.bias) {transB=1}
        output y: float16[4,4]
      "
    `);
  });
});

describe('the verifier', () => {
  const table = (net: Net, s: number, size: number) => rotaryTable(net, { cos: 'cos', sin: 'sin' }, s, size);
  const packed = (zeros: number): void => {
    const g = createGraphBuilder('test');
    const [x, codes] = [g.input('x', 'float32', [2, 64]), g.input('codes', 'uint8', [8, 2, 16])];
    const [scales, z] = [g.input('scales', 'float32', [16]), g.input('zeros', 'uint8', [zeros])];
    g.call('MatMulNBits', [x, codes, scales, z], {
      domain: 'com.microsoft',
      attributes: { N: 8, K: 64, bits: 4, block_size: 32 },
    });
  };

  it.each<[string, () => unknown, RegExp]>([
    [
      'a rotary table of another head size',
      () => graphOf((net) => rotate(net, tokens(net), table(net, 4, 32), 4)),
      /RotaryEmbedding.*caches must be \[≥ 4, 8\]/,
    ],
    [
      'a rotary table that is too short',
      () => graphOf((net) => rotate(net, tokens(net), table(net, 3, 16), 4)),
      /caches must be \[≥ 4, 8\]/,
    ],
    [
      'parts that are not the whole',
      () => graphOf((net) => splitAt(net, { ...tokens(net), s: 5 }, 2)),
      /another graph/,
    ],
    ['zero points that are too few', () => packed(7), /zero points must be 8 bytes/],
  ])('refuses %s', (_, work, message) => {
    expect(refusal(work)).toMatch(message);
  });

  it('takes the right number of zero points', () => {
    expect(() => packed(8)).not.toThrow();
  });
});
