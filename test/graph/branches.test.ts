/**
 * @file Changes of matrices of few bits, on the CPU: what is added beside them, for one graph and for blocks, against plain loops in float64 on the
 * values that the codes stand for; and packed matrices that are constants of a session.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memorySource } from '../../src/assets/byte-source.js';
import type { ByteSource } from '../../src/assets/source.js';
import { viewWeights, type WeightFile } from '../../src/assets/weights.js';
import { concatFloats } from '../../src/base/arrays.js';
import { elementCount } from '../../src/base/dtype.js';
import type { AppliedChange, Delta, Matrix } from '../../src/assets/weight-change.js';
import { packRows, unpackRows } from '../../src/base/packed-matrix.js';
import { wasmDialect } from '../../src/onnx/dialects/wasm.js';
import { writeGraph } from '../../src/onnx/net.js';
import type { Branches } from '../../src/onnx/packed.js';
import type { Graph } from '../../src/onnx/types.js';
import { loadOrtInNode } from '../../src/runtime/ort-node.js';
import { createRuntime, type Runtime } from '../../src/runtime/runtime.js';
import { noise, seedOf } from '../unit/runtime/fake-weight-file.js';
import { PLAIN_LAYOUT } from './block-sessions.js';

const [ROWS, INPUTS, OUTPUTS] = [3, 64, 48];
const FORMAT = { bits: 4, block: 32, zeros: false } as const;
const PREFIXES = ['a.', 'b.', 'c.', 'd.'];
const SHAPES = Object.fromEntries(
  ['', ...PREFIXES].flatMap((prefix) => [
    [`${prefix}lin.weight`, [OUTPUTS, INPUTS]],
    [`${prefix}lin.bias`, [OUTPUTS]],
  ]),
);
const valuesOf = (name: string, count: number): Float32Array => noise(seedOf(name), count, 0.3);

/** The file in memory, and how often each of its bytes was read at most. */
function open(): { readonly file: WeightFile; readonly times: () => number } {
  const all = Object.entries(SHAPES).map(
    ([name, shape]) => [name, shape, valuesOf(name, elementCount(shape))] as const,
  );
  const source = memorySource('memory', new Uint8Array(concatFloats(all.map(([, , values]) => values)).buffer));
  const reads = new Map<number, number>();
  const counting: ByteSource = {
    ...source,
    read(start, end, signal) {
      reads.set(start, (reads.get(start) ?? 0) + 1);
      return source.read(start, end, signal);
    },
  };
  let at = 0;
  const tensors = all.map(([name, shape, { byteLength }]) => {
    const [start, end] = [at, (at += byteLength)];
    return [name, { dtype: 'F32', shape, start, end, source: counting }] as const;
  });
  return { file: viewWeights('memory', new Map(tensors), PLAIN_LAYOUT), times: () => Math.max(...reads.values()) };
}

const x = noise(1, ROWS * INPUTS);

function graphOf(branches: Branches): Graph {
  const options = { dialect: wasmDialect, dtype: 'float32', packing: () => FORMAT, branches } as const;
  return writeGraph('packed', options, (net) =>
    net.output('y', net.linear('lin', net.tokens('x', { n: 1, s: ROWS, c: INPUTS }), { channels: OUTPUTS })),
  );
}
const plain = graphOf(() => undefined);
const ofRank = (rank: number): Graph => graphOf(() => rank);

const matrix = (rows: number, columns: number, seed: string): Matrix => ({
  rows,
  columns,
  values: noise(seedOf(seed), rows * columns, 0.4),
});
const factorsOf = (id: string, rank: number) => ({
  left: matrix(OUTPUTS, rank, `${id} left`),
  right: matrix(rank, INPUTS, `${id} right`),
});

interface Added {
  readonly id: string;
  readonly tensor: string;
  readonly strength: number;
  /** Of one product, or of two whose elements are multiplied. */
  readonly ranks: readonly [number] | readonly [number, number];
}

const SCALE = 0.5;

function change({ id, tensor, strength, ranks: [first, second] }: Added): AppliedChange {
  const delta: Delta =
    second === undefined
      ? { kind: 'product', factor: factorsOf(id, first) }
      : { kind: 'hadamard', first: factorsOf(id, first), second: factorsOf(`${id} second`, second) };
  const rank = first * (second ?? 1);
  return { id, tensor, strength, scale: SCALE, rescales: false, rank, read: () => Promise.resolve({ delta }) };
}

/** strength·scale·Δ. */
function deltaOf({ id, strength, ranks }: Added): readonly number[] {
  const products = ranks.map((rank, i) => {
    const { left, right } = factorsOf(i === 0 ? id : `${id} second`, rank);
    return Array.from({ length: OUTPUTS * INPUTS }, (_, at) => {
      const [row, column] = [Math.floor(at / INPUTS), at % INPUTS];
      let sum = 0;
      for (let k = 0; k < rank; k++)
        sum += (left.values[row * rank + k] ?? NaN) * (right.values[k * INPUTS + column] ?? NaN);
      return sum;
    });
  });
  return Array.from({ length: OUTPUTS * INPUTS }, (_, at) =>
    products.reduce((value, product) => value * (product[at] ?? NaN), strength * SCALE),
  );
}

/** x·(Q(W) + Σ Δ)ᵀ + bias. */
function expected(prefix = '', added: readonly Added[] = []): readonly number[] {
  const name = `${prefix}lin.weight`;
  const packed = packRows(valuesOf(name, OUTPUTS * INPUTS), INPUTS, FORMAT);
  const weight: number[] = [...unpackRows(packed, INPUTS, FORMAT)];
  for (const one of added.filter(({ tensor }) => tensor === name))
    deltaOf(one).forEach((value, i) => (weight[i] = (weight[i] ?? NaN) + value));
  const bias = valuesOf(`${prefix}lin.bias`, OUTPUTS);
  return Array.from({ length: ROWS * OUTPUTS }, (_, at) => {
    const [row, out] = [Math.floor(at / OUTPUTS), at % OUTPUTS];
    let sum = bias[out] ?? NaN;
    for (let i = 0; i < INPUTS; i++) sum += (x[row * INPUTS + i] ?? NaN) * (weight[out * INPUTS + i] ?? NaN);
    return sum;
  });
}

/** Rounding of float32: sums of 64 and 16 products of numbers around 1. */
function expectClose(got: Float32Array | undefined, wanted: readonly number[]): void {
  expect(got).toHaveLength(wanted.length);
  expect(Math.max(...wanted.map((value, i) => Math.abs(value - (got?.[i] ?? NaN))))).toBeLessThan(2e-5);
}

const A: Added = { id: 'a', tensor: 'lin.weight', strength: 0.8, ranks: [5] };
const B: Added = { id: 'b', tensor: 'lin.weight', strength: -1.3, ranks: [3] };
const LOHA: Added = { id: 'loha', tensor: 'lin.weight', strength: 1, ranks: [2, 4] };

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createRuntime({ backend: 'wasm', loadOrt: loadOrtInNode });
});
afterAll(() => runtime.dispose());

describe.each(['input', 'session'] as const)('a matrix of four bits, with constants of the %s', (constants) => {
  it('runs, alone and beside its changes, and is read once', async () => {
    const { file, times } = open();
    const bank = runtime.openBank(file);
    const without = await bank.load(plain, { constants });
    const before = (await without.run({ x })).y;
    expectClose(before, expected());
    const model = await bank.load(ofRank(8), { constants });
    const run = async (changes: readonly Added[]): Promise<Float32Array | undefined> => {
      await bank.adapt(changes.map(change));
      return (await model.run({ x })).y;
    };
    expectClose(await run([A]), expected('', [A]));
    expectClose(await run([A, B]), expected('', [A, B]));
    expectClose(await run([LOHA]), expected('', [LOHA]));
    expectClose(await run([{ ...A, strength: -2 }]), expected('', [{ ...A, strength: -2 }]));
    expect([...((await run([])) ?? [])]).toEqual([...(before ?? [])]);
    await model.dispose();
    // A session that is made anew has them as well, and the matrix is that of before.
    await bank.adapt([change(A)]);
    const again = await bank.load(ofRank(16), { constants });
    expectClose((await again.run({ x })).y, expected('', [A]));
    await bank.adapt([]);
    expect((await without.run({ x })).y).toEqual(before);
    expect(times()).toBe(1);
    await again.dispose();
    await without.dispose();
    bank.dispose();
  });

  it('says that a graph has no room for a change, and has again none without it', async () => {
    const bank = runtime.openBank(open().file);
    const small = await bank.load(ofRank(8), { constants });
    const refused = {
      code: 'internalError',
      message: expect.stringContaining('no room for the changes of "lin.weight"') as string,
    };
    for (const changes of [[A, { ...B, ranks: [4] as const }], [{ ...LOHA, ranks: [3, 3] as const }]]) {
      await bank.adapt(changes.map(change));
      await expect(small.run({ x })).rejects.toMatchObject(refused);
    }
    await bank.adapt([{ ...change({ ...A, id: 'of unknown rank' }), rank: undefined }]);
    await expect(small.run({ x })).rejects.toMatchObject(refused);
    await bank.adapt([{ ...change({ ...A, id: 'rescaling' }), rescales: true }]);
    await expect(small.run({ x })).rejects.toMatchObject(refused);
    await bank.adapt([change(A)]);
    expectClose((await small.run({ x })).y, expected('', [A]));
    const none = await bank.load(plain, { constants });
    await expect(none.run({ x })).rejects.toMatchObject(refused);
    await bank.adapt([]);
    expectClose((await none.run({ x })).y, expected());
    await none.dispose();
    await small.dispose();
    bank.dispose();
  });

  it('has no changes after one that fails, and takes the next', async () => {
    const bank = runtime.openBank(open().file);
    const model = await bank.load(ofRank(8), { constants });
    await bank.adapt([change(B)]);
    const broken = { ...change(A), read: () => Promise.reject(new Error('the file is gone')) };
    await expect(bank.adapt([broken])).rejects.toThrow('the file is gone');
    expectClose((await model.run({ x })).y, expected());
    await bank.adapt([change(A)]);
    expectClose((await model.run({ x })).y, expected('', [A]));
    await expect(
      bank
        .load(
          graphOf(() => 1),
          { constants },
        )
        .then((loaded) => loaded.run({ x })),
    ).rejects.toMatchObject({
      code: 'internalError',
    });
    await model.dispose();
    bank.dispose();
  });
});

describe.each([undefined, 2, 0])('blocks of four bits of which %s stay on the device', (resident) => {
  it('have branches of one rank, those without changes too', async () => {
    const { file } = open();
    const bank = runtime.openBank(file);
    const changes: readonly Added[] = [
      { ...A, tensor: 'a.lin.weight' },
      { ...B, tensor: 'a.lin.weight' },
      { ...B, id: 'c', tensor: 'c.lin.weight' },
      { ...LOHA, tensor: 'd.lin.weight' },
    ];
    const load = (graph: Graph) => bank.loadBlocks(graph, { prefixes: PREFIXES, resident });
    const pass = async (blocks: Awaited<ReturnType<typeof load>>): Promise<readonly (Float32Array | undefined)[]> => {
      const made: (Float32Array | undefined)[] = [];
      for (let i = 0; i < PREFIXES.length; i++) made.push((await blocks.run(i, { x })).y);
      return made;
    };
    const without = await load(plain);
    const before = await pass(without);
    await without.dispose();
    await bank.adapt(changes.map(change));
    const blocks = await load(ofRank(8));
    for (let times = 0; times < 2; times++) {
      const made = await pass(blocks);
      PREFIXES.forEach((prefix, i) => expectClose(made[i], expected(prefix, changes)));
    }
    const others = changes.slice(1).map((one) => ({ ...one, strength: 0.4 }));
    await bank.adapt(others.map(change));
    const made = await pass(blocks);
    PREFIXES.forEach((prefix, i) => expectClose(made[i], expected(prefix, others)));
    await bank.adapt([]);
    expect((await pass(blocks)).map((values) => [...(values ?? [])])).toEqual(
      before.map((values) => [...(values ?? [])]),
    );
    await blocks.dispose();
    bank.dispose();
  });
});
