/** @file The graphs of changed weights: their operators in both float types, and that misfits are refused where they are written. */
import { describe, expect, it } from 'vitest';
import { weightChangeGraph, type ChangeShape } from '../../../src/graphs/weight-change.js';
import { createGraphBuilder } from '../../../src/onnx/builder.js';
import { dumpGraph } from '../../../src/onnx/dump.js';

const size = { rows: 12, columns: 10 };
const product: ChangeShape = { kind: 'product', rank: 8, rescales: false };

describe('the graph of a changed weight', () => {
  it("is one Gemm for a product, in the weight's own type", () => {
    expect(dumpGraph(weightChangeGraph(size, [product], 'float16'))).toBe(
      [
        'graph change of 12×10',
        '  input  weight: float16[12,10]',
        '  input  0.left: float16[12,8]',
        '  input  0.right: float16[8,10]',
        '  changed: float16[12,10] = Gemm(0.left, 0.right, weight)',
        '  output changed: float16[12,10]',
        '',
      ].join('\n'),
    );
  });

  it('computes norms in float32, and all else beside them', () => {
    const text = dumpGraph(weightChangeGraph(size, [{ kind: 'product', rank: 8, rescales: true }], 'float16'));
    expect(text.match(/float16/g)).toHaveLength(3); // weight, the last cast, the output
    expect(text).toContain('ReduceL2: float32[12,1] = ReduceL2(Gemm, [1]) {keepdims=1}');
    expect(text).toContain('changed: float16[12,10] = Cast(Add) {to=10}');
  });

  it('refuses blocks that do not make up the weight', () => {
    const kronecker: ChangeShape = { kind: 'kronecker', left: [3, 5], right: [4, 3], rescales: false };
    expect(() => weightChangeGraph(size, [kronecker], 'float32')).toThrow('180 elements do not fit [12,10]');
  });
});

describe('the operators that it needs', () => {
  it('are refused with what they cannot take', () => {
    const g = createGraphBuilder('test');
    const x = g.input('x', 'float32', [4, 3]);
    expect(() => g.call('Cast', [x], { attributes: { to: 7 } })).toThrow('to must be a float type, not 7');
    expect(() => g.call('ReduceL2', [x, g.ints([2])])).toThrow('needs axes of a float tensor');
    expect(() => g.call('ReduceL2', [x, g.ints([1])], { attributes: { keepdims: 0 } })).toThrow('keepdims must be 1');
    expect(() => g.call('Max', [x, g.input('h', 'float16', [1])])).toThrow('both sides must have the same dtype');
  });
});
