/** @file The graph language: what is fused, what is refused and where, and that text and bytes are the same every time. */
import { describe, expect, it } from 'vitest';
import { DarkroomError } from '../../../src/base/errors.js';
import { createGraphBuilder } from '../../../src/onnx/builder.js';
import { wasmDialect } from '../../../src/onnx/dialects/wasm.js';
import { webgpuDialect } from '../../../src/onnx/dialects/webgpu.js';
import { dumpGraph } from '../../../src/onnx/dump.js';
import { writeGraph, type Net } from '../../../src/onnx/net.js';
import type { Graph } from '../../../src/onnx/types.js';

const gpu = (write: (net: Net) => void): Graph =>
  writeGraph('test', { dialect: webgpuDialect, dtype: 'float32' }, write);
const cpu = (write: (net: Net) => void): Graph => writeGraph('test', { dialect: wasmDialect, dtype: 'float32' }, write);

/** Operators that cost a dispatch. */
function operators({ nodes }: Graph): readonly string[] {
  return nodes.map((node) => node.opType).filter((op) => op !== 'Reshape');
}

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof DarkroomError && error.code === 'invalidGraph') return error.message;
    throw error;
  }
  throw new Error('nothing was refused');
}

/** A ResNet block with time embedding, as in Stable Diffusion. */
function resnet(net: Net, channels: number): void {
  const x = net.image('x', { n: 2, h: 8, w: 8, c: 32 });
  const time = net.tokens('time', { n: 2, s: 1, c: 64 });
  let h = net.groupNorm('norm1', x, { groups: 8, eps: 1e-5, silu: true });
  h = net.conv('conv1', h, { channels });
  h = net.add(h, net.linear('time_emb_proj', time, { channels }));
  h = net.groupNorm('norm2', h, { groups: 8, eps: 1e-5, silu: true });
  h = net.conv('conv2', h, { channels, ...(channels === 32 ? {} : { plusBias: 'shortcut.bias' }) });
  net.output('y', channels === 32 ? net.add(x, h) : net.pointwise('shortcut', x, { channels, plus: h }));
}

describe('fusion in the WebGPU dialect', () => {
  it('takes the time embedding into the second norm', () => {
    expect(operators(gpu((net) => resnet(net, 32)))).toEqual([
      'GroupNorm',
      'Conv',
      'Gemm',
      'SkipGroupNorm',
      'Conv',
      'Add',
    ]);
  });

  it('makes the shortcut and its sum one Gemm, with both biases in the convolution', () => {
    const graph = gpu((net) => resnet(net, 64));
    expect(operators(graph)).toEqual(['GroupNorm', 'Conv', 'Gemm', 'SkipGroupNorm', 'Conv', 'Gemm']);
    expect(graph.weights.find((w) => w.tensors.length > 1)?.tensors).toEqual(['conv2.bias', 'shortcut.bias']);
  });

  it('takes residual and bias into the layer norm that follows, and writes the sum once', () => {
    const graph = gpu((net) => {
      const x = net.tokens('x', { n: 1, s: 4, c: 8 });
      const sum = net.add(x, net.linear('out', x, { channels: 8 }));
      const normal = net.layerNorm('norm', sum, { eps: 1e-5 });
      net.output('y', net.add(sum, net.linear('ff', normal, { channels: 8 })));
    });
    expect(operators(graph)).toEqual(['Gemm', 'SkipLayerNormalization', 'Gemm', 'BiasAdd']);
    const fused = graph.nodes.find((n) => n.opType === 'SkipLayerNormalization');
    expect(fused?.inputs).toHaveLength(5);
    expect(fused?.outputs.map((v) => v !== undefined)).toEqual([true, false, false, true]);
  });

  it('leaves out the sum where nobody else reads it', () => {
    const graph = gpu((net) => {
      const x = net.image('x', { n: 1, h: 4, w: 4, c: 8 });
      net.output('y', net.groupNorm('norm', net.add(x, net.conv('c', x, { channels: 8 })), { groups: 2, eps: 1e-5 }));
    });
    expect(graph.nodes.find((n) => n.opType === 'SkipGroupNorm')?.outputs).toHaveLength(1);
  });

  it('has no Transpose anywhere', () => {
    const graph = gpu((net) => {
      const x = net.image('x', { n: 1, h: 4, w: 4, c: 8 });
      const tokens = net.toTokens(x);
      net.output('y', net.upsample2x(net.toImage(net.attention(tokens, tokens, tokens, { heads: 2 }), 4, 4)));
    });
    expect(operators(graph)).toEqual(['MultiHeadAttention', 'Expand']);
  });

  it('blocks the scores of wide attention', () => {
    const write = (maxScores: number) => (net: Net) => {
      const x = net.tokens('x', { n: 1, s: 64, c: 8 });
      net.output('y', net.wideAttention(x, x, x, { maxScores }));
    };
    expect(operators(gpu(write(64 * 64)))).toEqual(['Gemm', 'Softmax', 'MatMul']);
    expect(operators(gpu(write(16 * 64))).filter((op) => op === 'Softmax')).toHaveLength(4);
  });
});

describe('the wasm dialect', () => {
  it('uses only operators that have a CPU kernel', () => {
    const missing = ['GroupNorm', 'SkipGroupNorm', 'BiasAdd', 'BiasSplitGelu'];
    const graph = cpu((net) => resnet(net, 64));
    expect(graph.nodes.filter((n) => missing.includes(n.opType) || n.domain === 'com.ms.internal.nhwc')).toEqual([]);
  });
});

describe('the verifier', () => {
  const image = (net: Net, c = 8) => net.image('x', { n: 1, h: 4, w: 4, c });

  it.each<[string, (net: Net) => unknown, RegExp]>([
    [
      'channels that do not divide into groups',
      (net) => net.groupNorm('n', image(net), { groups: 3, eps: 1e-5 }),
      /test\/n: .*8 channels do not divide into 3 groups/,
    ],
    [
      'a residual of another width',
      (net) => net.add(image(net), net.conv('c', image2(net), { channels: 4 })),
      /does not fit/,
    ],
    [
      'images of another height side by side',
      (net) => net.concat(image(net), net.image('z', { n: 1, h: 5, w: 4, c: 8 })),
      /does not fit beside/,
    ],
    [
      'tokens that make no image',
      (net) => net.toImage(net.tokens('t', { n: 1, s: 15, c: 8 }), 4, 4),
      /15 tokens do not make an image of 4×4/,
    ],
    [
      'heads that do not divide the width',
      (net) => {
        const t = net.tokens('t', { n: 1, s: 4, c: 8 });
        net.output('y', net.attention(t, t, t, { heads: 3 }));
      },
      /heads/,
    ],
    [
      'a weight used in two shapes',
      (net) => {
        net.conv('c', image(net), { channels: 8 });
        return net.conv('c', image2(net), { channels: 16 });
      },
      /"c.weight" is used with two shapes/,
    ],
    ['an input declared twice', (net) => [image(net), image(net)], /declared twice/],
    ['a size of zero', (net) => net.tokens('t', { n: 1, s: 0, c: 8 }), /every size must be a whole number/],
  ])('refuses %s', (_, write, message) => {
    expect(refusal(() => gpu((net) => void write(net)))).toMatch(message);
  });

  function image2(net: Net) {
    return net.image('x2', { n: 1, h: 4, w: 4, c: 8 });
  }

  it('names the scope that wrote the call', () => {
    const message = refusal(() =>
      gpu((net) => void net.at('up_blocks.1').at('resnets.0').groupNorm('norm1', image(net), { groups: 5, eps: 1e-5 })),
    );
    expect(message).toContain('up_blocks.1.resnets.0.norm1');
  });

  it('refuses values of another graph', () => {
    const foreign = createGraphBuilder('other').input('x', 'float32', [2]);
    expect(refusal(() => createGraphBuilder('mine').call('Add', [foreign, foreign]))).toMatch(
      /belongs to another graph/,
    );
  });

  it.each<[string, (g: ReturnType<typeof createGraphBuilder>) => unknown, RegExp]>([
    [
      'inner sizes of a product',
      (g) => g.call('MatMul', [g.input('a', 'float32', [2, 3]), g.input('b', 'float32', [4, 5])]),
      /inner sizes differ: 3 and 4/,
    ],
    [
      'a Gemm with a bias of another length',
      (g) =>
        g.call('Gemm', [
          g.input('a', 'float32', [2, 3]),
          g.input('b', 'float32', [3, 5]),
          g.input('c', 'float32', [4]),
        ]),
      /C must be \[5\] or \[2,5\]/,
    ],
    ['mixed dtypes', (g) => g.call('Add', [g.input('a', 'float32', [2]), g.input('b', 'float16', [2])]), /same dtype/],
    [
      'shapes that do not broadcast',
      (g) => g.call('Mul', [g.input('a', 'float32', [2]), g.input('b', 'float32', [3])]),
      /do not broadcast/,
    ],
    [
      'a reshape that loses elements',
      (g) => g.call('Reshape', [g.input('a', 'float32', [6]), g.ints([4])]),
      /6 elements do not fit \[4\]/,
    ],
    [
      'a reshape by a value',
      (g) => g.call('Reshape', [g.input('a', 'float32', [6]), g.input('s', 'int64', [1])]),
      /must be a constant/,
    ],
    [
      'a split that does not add up',
      (g) => g.callAll('Split', [g.input('a', 'float32', [6]), g.ints([4, 4])], { attributes: { axis: 0 } }),
      /do not add up to 6/,
    ],
    [
      'a slice outside',
      (g) => g.call('Slice', [g.input('a', 'float32', [6]), g.ints([2]), g.ints([9]), g.ints([0])]),
      /outside axis 0/,
    ],
    ['an operator without a rule', (g) => g.call('Einsum', [g.input('a', 'float32', [6])]), /no shape rule/],
    ['a missing input', (g) => g.call('Add', [g.input('a', 'float32', [6]), undefined]), /input 1 is missing/],
    [
      'channels of a kernel',
      (g) => g.call('Conv', [g.input('x', 'float32', [1, 4, 8, 8]), g.input('w', 'float32', [8, 3, 3, 3])]),
      /W expects 3 input channels, X has 4/,
    ],
    [
      'a kernel larger than its input',
      (g) => g.call('Conv', [g.input('x', 'float32', [1, 4, 2, 2]), g.input('w', 'float32', [8, 4, 3, 3])]),
      /larger than the padded input/,
    ],
  ])('refuses %s', (_, write, message) => {
    expect(refusal(() => write(createGraphBuilder('g')))).toMatch(message);
  });

  it('refuses a graph without outputs', () => {
    expect(refusal(() => createGraphBuilder('g').finish())).toMatch(/no output/);
  });
});

describe('the text dump', () => {
  it('shows inputs, weights, operators and shapes in order', () => {
    const graph = gpu((net) => {
      const x = net.image('x', { n: 1, h: 4, w: 4, c: 8 });
      net.output('y', net.at('block').conv('conv', x, { channels: 16, stride: 2, silu: true }));
    });
    expect(dumpGraph(graph)).toBe(
      [
        'graph test',
        '  input  x: float32[1,4,4,8]',
        '  weight block.conv.weight: float32[16,8,3,3] conv',
        '  weight block.conv.bias: float32[16] vector',
        '  y: float32[1,2,2,16] = com.ms.internal.nhwc:Conv(x, block.conv.weight, block.conv.bias) {kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1], dilations=[1,1], group=1, activation=QuickGelu, activation_params=[1]}',
        '  output y: float32[1,2,2,16]',
        '',
      ].join('\n'),
    );
  });
});
