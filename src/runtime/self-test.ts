/**
 * @file Does this device compute right? Small graphs of the operators that matter, against answers computed here in plain loops.
 * Known case: attention is wrong with `subgroups` on a software adapter (docs/architecture.md §3).
 */
import type { FloatType } from '../base/dtype.js';
import { float32ToFloat16 } from '../base/half.js';
import { webgpuDialect } from '../onnx/dialects/webgpu.js';
import { encodeModel } from '../onnx/encode.js';
import { writeGraph, type Net } from '../onnx/net.js';
import { createModel, type SessionContext } from './session.js';

/** What an operator's result may be off by, relative to the largest answer; attention at float16 is the worst. */
const TOLERANCE = { float32: 2e-4, float16: 2e-2 } as const satisfies Record<FloatType, number>;

const N = 1;
const H = 8;
const C = 64;
const S = H * H;
const HEADS = 2;

/** The first operator that gives wrong numbers, or `undefined` when all are right. */
export async function findWrongOperator(context: SessionContext, dtype: FloatType): Promise<string | undefined> {
  for (const test of TESTS) {
    const got = await runTest(context, dtype, test);
    const expected = test.answer();
    const scale = expected.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    const worst = expected.reduce((m, v, i) => Math.max(m, Math.abs(v - (got[i] ?? NaN)) || 0), 0);
    if (!(got.length === expected.length && got.every(Number.isFinite) && worst <= TOLERANCE[dtype] * scale))
      return test.name;
  }
  return undefined;
}

interface OperatorTest {
  readonly name: string;
  readonly write: (net: Net) => void;
  readonly answer: () => Float32Array;
}

/** Smooth, sign-changing test data in −1…1, different for each `phase`. */
function wave(count: number, phase: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => Math.sin(0.7 * i + 0.013 * i * (i % 11) + phase));
}

const X = (): Float32Array => wave(S * C, 0.1);
const WEIGHTS: Readonly<Record<string, () => Float32Array>> = {
  'linear.weight': () => wave(C * C, 0.5),
  'conv.weight': () => wave(C * C * 9, 0.9),
  'norm.weight': () => wave(C, 1.3),
  bias: () => wave(C, 1.7),
};

const TESTS: readonly OperatorTest[] = [
  {
    name: 'attention',
    write: (net) => {
      const x = net.tokens('x', { n: N, s: S, c: C });
      net.output('y', net.attention(x, x, x, { heads: HEADS }));
    },
    answer: attention,
  },
  {
    name: 'linear',
    write: (net) => net.output('y', net.linear('linear', net.tokens('x', { n: N, s: S, c: C }), { channels: C })),
    answer: linear,
  },
  {
    name: 'convolution',
    write: (net) => net.output('y', net.conv('conv', net.image('x', { n: N, h: H, w: H, c: C }), { channels: C })),
    answer: convolution,
  },
  {
    name: 'group norm',
    write: (net) =>
      net.output('y', net.groupNorm('norm', net.image('x', { n: N, h: H, w: H, c: C }), { groups: 8, eps: 1e-5 })),
    answer: groupNorm,
  },
];

async function runTest(context: SessionContext, dtype: FloatType, test: OperatorTest): Promise<Float32Array> {
  const graph = writeGraph(`self-test ${test.name}`, { dialect: webgpuDialect, dtype }, test.write);
  const { bytes, initializers } = encodeModel(graph, () => 'initializer');
  const externalData = initializers.map(({ weight, path }) => ({ path, data: weightBytes(weight.name, dtype) }));
  const model = await createModel(context, { graph, bytes, externalData });
  try {
    const { y } = await model.run({ x: X() });
    return y ?? new Float32Array();
  } finally {
    await model.dispose();
  }
}

function weightBytes(name: string, dtype: FloatType): Uint8Array {
  const make = WEIGHTS[name] ?? WEIGHTS.bias;
  const values = make?.() ?? new Float32Array();
  return new Uint8Array(dtype === 'float32' ? values.buffer : float32ToFloat16(values).buffer);
}

function attention(): Float32Array {
  const x = X();
  const width = C / HEADS;
  const out = new Float32Array(S * C);
  for (let head = 0; head < HEADS; head++) {
    for (let i = 0; i < S; i++) {
      const scores = Array.from(
        { length: S },
        (_, j) => dot(x, i * C + head * width, x, j * C + head * width, width) / Math.sqrt(width),
      );
      const top = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - top));
      const total = weights.reduce((a, b) => a + b, 0);
      for (let c = 0; c < width; c++) {
        const sum = weights.reduce((acc, weight, j) => acc + weight * at(x, j * C + head * width + c), 0);
        out[i * C + head * width + c] = sum / total;
      }
    }
  }
  return out;
}

function linear(): Float32Array {
  const [x, w, bias] = [X(), wave(C * C, 0.5), wave(C, 1.7)];
  return Float32Array.from(
    { length: S * C },
    (_, i) => dot(x, C * Math.floor(i / C), w, C * (i % C), C) + at(bias, i % C),
  );
}

function convolution(): Float32Array {
  const [x, w, bias] = [X(), wave(C * C * 9, 0.9), wave(C, 1.7)];
  const out = new Float32Array(S * C);
  for (let row = 0; row < H; row++) {
    for (let col = 0; col < H; col++) {
      for (let o = 0; o < C; o++) {
        let sum = at(bias, o);
        for (let k = 0; k < 9; k++) {
          const [r, c] = [row + Math.floor(k / 3) - 1, col + (k % 3) - 1];
          if (r < 0 || c < 0 || r >= H || c >= H) continue;
          for (let i = 0; i < C; i++) sum += at(x, (r * H + c) * C + i) * at(w, (o * C + i) * 9 + k);
        }
        out[(row * H + col) * C + o] = sum;
      }
    }
  }
  return out;
}

function groupNorm(): Float32Array {
  const [x, gamma, beta] = [X(), wave(C, 1.3), wave(C, 1.7)];
  const [groups, width] = [8, C / 8];
  const out = new Float32Array(S * C);
  for (let group = 0; group < groups; group++) {
    const members = Array.from(
      { length: S * width },
      (_, i) => Math.floor(i / width) * C + group * width + (i % width),
    );
    const mean = members.reduce((sum, i) => sum + at(x, i), 0) / members.length;
    const variance = members.reduce((sum, i) => sum + (at(x, i) - mean) ** 2, 0) / members.length;
    for (const i of members)
      out[i] = ((at(x, i) - mean) / Math.sqrt(variance + 1e-5)) * at(gamma, i % C) + at(beta, i % C);
  }
  return out;
}

function at(list: Float32Array, i: number): number {
  return list[i] ?? NaN;
}

function dot(a: Float32Array, aFrom: number, b: Float32Array, bFrom: number, count: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += at(a, aFrom + i) * at(b, bFrom + i);
  return sum;
}
