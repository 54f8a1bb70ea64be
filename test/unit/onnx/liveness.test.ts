/**
 * @file The model of ONNX Runtime's buffers against buffers that it really made: counted per size with `createBuffer` wrapped, ONNX
 * Runtime Web 1.31.0-dev.20260914, headless Chromium, software adapter, float32.
 */
import { describe, expect, it } from 'vitest';
import { createGraphBuilder, type GraphBuilder } from '../../../src/onnx/builder.js';
import { EMPTY_POOL, giveBack, runOnPool } from '../../../src/onnx/buffer-pool.js';
import { executionOrder, peakLiveBytes } from '../../../src/onnx/liveness.js';
import type { Graph, Value } from '../../../src/onnx/types.js';

function graphOf(write: (g: GraphBuilder) => Value): Graph {
  const g = createGraphBuilder('test');
  g.output('y', write(g));
  return g.finish();
}

/** `count` ReLUs, each on the bytes of the one before under the shape of its index. */
const relus = (count: number, shape: readonly number[], shapeAt?: (i: number) => readonly number[]): Graph =>
  graphOf((g) => {
    let x = g.input('x', 'float32', shape);
    for (let i = 0; i < count; i++) {
      x = g.call('Relu', [shapeAt === undefined ? x : g.call('Reshape', [x, g.ints(shapeAt(i))])]);
    }
    return x;
  });

const attention = (n: { s: number; t: number; heads: number; size: number }): Graph =>
  graphOf((g) => {
    const width = n.heads * n.size;
    const [q, k, v] = [n.s, n.t, n.t].map((rows, i) => g.input('qkv'.charAt(i), 'float32', [1, rows, width]));
    return g.call('MultiHeadAttention', [q, k, v], { domain: 'com.microsoft', attributes: { num_heads: n.heads } });
  });

const norms = (count: number): Graph =>
  graphOf((g) => {
    const weight = (name: string): Value => g.weight(name, [64], { use: 'vector', dtype: 'float32' });
    let x = g.input('x', 'float32', [2, 12, 16, 64]);
    for (let i = 0; i < count; i++) {
      const attributes = { groups: 32, epsilon: { float: 1e-5 }, activation: 1, channels_last: 1 };
      x = g.call('GroupNorm', [x, weight('gamma'), weight('beta')], { domain: 'com.microsoft', attributes });
    }
    return x;
  });

const attentions = (count: number): Graph =>
  graphOf((g) => {
    let x = g.input('x', 'float32', [1, 60, 80]);
    for (let i = 0; i < count; i++)
      x = g.call('MultiHeadAttention', [x, x, x], { domain: 'com.microsoft', attributes: { num_heads: 2 } });
    return x;
  });

const convs = (count: number): Graph =>
  graphOf((g) => {
    let x = g.input('x', 'float32', [1, 24, 24, 8]);
    const w = g.weight('w', [8, 8, 3, 3], { use: 'conv', dtype: 'float32' });
    const attributes = { kernel_shape: [3, 3], strides: [1, 1], pads: [1, 1, 1, 1], dilations: [1, 1], group: 1 };
    for (let i = 0; i < count; i++)
      x = g.call('Conv', [x, w, undefined], { domain: 'com.ms.internal.nhwc', attributes });
    return x;
  });

const kernelsOf = (graph: Graph): ReadonlySet<Value> => new Set(graph.weights.map(({ value }) => value));

/** Each with a kernel of its own. */
const ownConvs = (count: number): Graph =>
  graphOf((g) => {
    let x = g.input('x', 'float32', [1, 24, 24, 8]);
    const attributes = { kernel_shape: [3, 3], strides: [1, 1], pads: [1, 1, 1, 1], dilations: [1, 1], group: 1 };
    for (let i = 0; i < count; i++) {
      const w = g.weight(`w${i}`, [8, 8, 3, 3], { use: 'conv', dtype: 'float32' });
      x = g.call('Conv', [x, w, undefined], { domain: 'com.ms.internal.nhwc', attributes });
    }
    return x;
  });

const shapeOf40 = (i: number): readonly number[] => {
  if (i < 13) return [2 ** i, 10 * 2 ** (12 - i)];
  return i < 26 ? [2 ** (i - 13), 2 ** (25 - i), 10] : [2 ** (i - 26), 5, 2 ** (39 - i)];
};

describe('the buffers of a run', () => {
  it.each([
    ['4 ReLUs: input, two in turn, output', relus(4, [1000, 4]), 4 * 16000],
    [
      '11 ReLUs of different shapes: nothing is used twice before a submit',
      relus(11, [4096, 6], (i) => [2 ** i, 6 * 2 ** (12 - i)]),
      12 * 98304,
    ],
    ['40 ReLUs of different shapes: 16 dispatches to a submit', relus(40, [4096, 10], shapeOf40), 19 * 163840],
    ['attention: copies of k and v', attention({ s: 64, t: 64, heads: 2, size: 40 }), 6 * 20480],
    [
      'attention of 16 queries: partial results of two splits',
      attention({ s: 16, t: 77, heads: 2, size: 40 }),
      2 * 5120 + 4 * 24640 + 512 + 10240,
    ],
    ['attention of 32 queries: no splits', attention({ s: 32, t: 77, heads: 2, size: 40 }), 2 * 10240 + 4 * 24640],
    ['5 attentions: copies wait for a submit', attentions(5), 14 * 19200],
    ['6 group norms: statistics wait for a submit', norms(6), 4 * 98304 + 6 * 512],
    ['6 convolutions: nothing of their own', convs(6), 4 * 18432],
  ])('%s', (_, graph, bytes) => {
    expect(runOnPool(EMPTY_POOL, graph).pool.bytes).toBe(bytes);
  });

  it.each([
    ['6 convolutions of kernels that are inputs: turned ones wait for a submit', ownConvs(6), 4 * 18432 + 6 * 2304],
    ['12 of them: 16 dispatches to a submit, two for each', ownConvs(12), 4 * 18432 + 8 * 2304],
  ])('%s', (_, graph, bytes) => {
    expect(runOnPool(EMPTY_POOL, graph, { turned: kernelsOf(graph) }).pool.bytes).toBe(bytes);
  });

  it('leave out inputs on the device, and hold outputs there until they are given back', () => {
    const graph = relus(4, [1000, 4]);
    const kept = { onDevice: new Set(['y']) };
    expect(runOnPool(EMPTY_POOL, graph, kept).pool.bytes).toBe(4 * 16000);
    expect(runOnPool(EMPTY_POOL, graph, { onDevice: new Set(['x']) }).pool.bytes).toBe(3 * 16000);
    const both = { onDevice: new Set(['x', 'y']) };
    const { pool } = runOnPool(EMPTY_POOL, graph, both);
    const other = relus(1, [1000, 4]);
    // The end of a run submits: two blocks of a tiny T5 were traced to take the buffers of one.
    expect(runOnPool(pool, other, both).pool.bytes).toBe(pool.bytes);
    const back = runOnPool(giveBack(pool, graph, both), other).pool;
    expect(runOnPool(back, other).pool.bytes).toBe(pool.bytes); // three inside, and the output that was given back
  });

  it('take one more in the second run where all were given back after the last submit', () => {
    const graph = attention({ s: 64, t: 64, heads: 2, size: 40 });
    const first = runOnPool(EMPTY_POOL, graph);
    const second = runOnPool(first.pool, graph);
    const third = runOnPool(second.pool, graph);
    expect([first, second, third].map(({ pool }) => pool.bytes / 20480)).toEqual([6, 7, 7]);
  });

  it('are shared by sessions where sizes are equal, and kept where they are not', () => {
    const small = runOnPool(EMPTY_POOL, relus(4, [1000, 4])).pool;
    expect(runOnPool(small, relus(40, [1000, 4])).pool.bytes).toBe(4 * 16000);
    expect(runOnPool(small, relus(4, [1000, 8])).pool.bytes).toBe(4 * 16000 + 4 * 32000);
  });

  it('need at their peak the staging copy of the largest input or output besides', () => {
    const { peakBytes, pool } = runOnPool(EMPTY_POOL, relus(4, [1000, 4]));
    expect(peakBytes).toBe(pool.bytes + 16000);
  });
});

describe('live bytes', () => {
  it('count input, output and what is between them once', () => {
    expect(peakLiveBytes(relus(1, [1000, 4]))).toBe(2 * 16000);
    expect(peakLiveBytes(relus(40, [1000, 4]))).toBe(3 * 16000);
  });

  it('hold a value until its last reader, and a reshaped one no longer', () => {
    const skip = graphOf((g) => {
      const x = g.input('x', 'float32', [100, 16]);
      const a = g.call('Relu', [x]);
      let y = g.call('Reshape', [a, g.ints([50, 32])]);
      for (let i = 0; i < 3; i++) y = g.call('Relu', [y]);
      return g.call('Add', [g.call('Reshape', [y, g.ints([100, 16])]), a]);
    });
    // Before the last ReLU: x, a, its input and its output. At the sum: x, a, the last ReLU's output, y.
    expect(peakLiveBytes(skip)).toBe(4 * 6400);
  });
});

describe('the execution order', () => {
  it('goes depth first from the output, the input written last first', () => {
    const graph = graphOf((g) => {
      const [x, t] = [g.input('x', 'float32', [4]), g.input('t', 'float32', [4])];
      let y = x;
      for (let i = 0; i < 2; i++) {
        const own = g.call('Relu', [y], { scope: `own ${i}` });
        y = g.call('Add', [own, g.call('Relu', [t], { scope: `time ${i}` })], { scope: `sum ${i}` });
      }
      return y;
    });
    // As traced for UNets: all projections of the time embedding run first.
    expect(executionOrder(graph).map(({ scope }) => scope)).toEqual([
      'time 1',
      'time 0',
      'own 0',
      'sum 0',
      'own 1',
      'sum 1',
    ]);
  });
});
