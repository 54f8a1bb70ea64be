/** @file What each step of a FLUX.1 plan with ControlNets runs, in numbers worked out by hand: windows, arithmetic, and bytes that are brought. */
import { describe, expect, it } from 'vitest';
import { wasmDialect } from '../../../src/onnx/dialects/wasm.js';
import { writeGraph } from '../../../src/onnx/net.js';
import type { Graph } from '../../../src/onnx/types.js';
import { broughtAt, expectStep, planSteps } from '../../../src/pipeline/flux/planned-steps.js';

/** x `[rows, 4]` times a matrix of 4 × 4 floats: 2·rows·16 operations, 64 bytes. */
const linear = (rows: number): Graph =>
  writeGraph('block', { dialect: wasmDialect, dtype: 'float32' }, (net) =>
    net.output('y', net.linear('lin', net.tokens('x', { n: 1, s: rows, c: 4 }), { channels: 4, bias: false })),
  );
const blocks = (graph: Graph, count: number) => ({ graph, prefixes: Array.from({ length: count }, (_, i) => `${i}.`) });

type Control = NonNullable<Parameters<typeof planSteps>[4]>;
/** Of a net, what is looked at: 4 double blocks of 320 operations, the first two of which have residuals of 32. */
const graphs = {
  double: blocks(linear(10), 4),
  single: blocks(linear(10), 0),
  residual: { double: blocks(linear(1), 2), single: blocks(linear(1), 0) },
} as unknown as Control['graphs'] extends ReadonlyMap<unknown, infer G> ? G : never;
const net = {} as Control['entries'][number]['net'];
const entry = (begin: number, end: number): Control['entries'][number] => ({
  net,
  plan: { model: 'net', weight: 1, mode: 'balanced', begin, end },
  acts: true,
  mode: undefined,
});
const control = (...entries: Control['entries']): Control => ({ entries, graphs: new Map([[net, graphs]]) });

const sizes = {
  ...{ doubleBlock: 1, doubleBlocks: 3, doubleBrought: 1000, doubleFlops: 500 },
  ...{ singleBlock: 1, singleBlocks: 2, singleBrought: 100, singleFlops: 50 },
};
const memory = { double: 3, single: 2, t5: 0, modulation: false, together: false };
/** Evaluated once in each of its steps. */
const sampler = {
  intervals: Array.from({ length: 10 }, () => ({})),
  rule: { visits: () => [0] },
} as unknown as Parameters<typeof planSteps>[1];
const plan = { steps: 10, guided: false };
const rates = { bytesPerSecond: 1, flopsPerSecond: 1 };

/** Three double and two single blocks. */
const OWN = 3 * 500 + 2 * 50;
const NET = 4 * 320 + 2 * 32;

describe('the steps of a plan with ControlNets', () => {
  it('take the arithmetic of the nets in the steps of their windows alone', () => {
    const expected = (...entries: Control['entries']): number | undefined =>
      expectStep(planSteps(plan, sampler, sizes, { ...memory, control: true }, control(...entries)), rates)?.seconds;
    expect(expected()).toBe(OWN);
    expect(expected(entry(0, 10))).toBe(OWN + NET);
    expect(expected(entry(2, 5))).toBeCloseTo(OWN + 0.3 * NET, 9);
    // The same net with two guides, which meet in one step.
    expect(expected(entry(2, 5), entry(4, 8))).toBeCloseTo(OWN + 0.7 * NET, 9);
  });

  it('run nets once for both sides of true guidance', () => {
    const steps = planSteps(
      { ...plan, guided: true },
      sampler,
      sizes,
      { ...memory, control: true },
      control(entry(0, 5)),
    );
    expect(expectStep(steps, rates)?.seconds).toBeCloseTo(2 * OWN + 0.5 * NET, 9);
  });

  it('bring the weights of nets that do not stay when they act, and say so', () => {
    const steps = planSteps(plan, sampler, sizes, { ...memory, control: false }, control(entry(2, 5)));
    expect(broughtAt(steps)).toEqual({ blocks: 3 + 2 + 4, brought: 4, bytes: (3 * 4 * 64) / 10 });
    // Here a byte takes a second, and an operation too: the four blocks' weights come while the others run.
    expect(expectStep(steps, rates)?.seconds).toBeGreaterThanOrEqual(OWN + 0.3 * NET);
    expect(expectStep(steps, { ...rates, bytesPerSecond: 1e-3 })?.seconds).toBeGreaterThanOrEqual(0.3 * 4 * 64e3);
    expect(expectStep(steps, { ...rates, bytesPerSecond: undefined })).toBeUndefined();
    const staying = planSteps(plan, sampler, sizes, { ...memory, control: true }, control(entry(2, 5)));
    expect(broughtAt(staying)).toEqual({ blocks: 9, brought: 0, bytes: 0 });
  });
});
