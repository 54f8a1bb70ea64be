/** @file What runs inside the page for the tests of changed weights and of arrays on the device: our runtime alone, without the engine. */
import type { AppliedChange, Delta } from '../../src/assets/weight-change.js';
import { DarkroomError } from '../../src/base/errors.js';
import { webgpuDialect } from '../../src/onnx/dialects/webgpu.js';
import { writeGraph } from '../../src/onnx/net.js';
import type { Graph } from '../../src/onnx/types.js';
import type { Memory } from '../../src/runtime/ledger.js';
import { loadOrtInBrowser } from '../../src/runtime/ort.js';
import { createRuntime, type Runtime } from '../../src/runtime/runtime.js';
import type { Model } from '../../src/runtime/session.js';
import {
  change as makeChange,
  changedWeight,
  COLUMNS,
  difference,
  KINDS,
  NORMS,
  ROWS,
  type Given,
} from '../unit/runtime/change-formulas.js';
import { fakeWeightFile, noise, seedOf } from '../unit/runtime/fake-weight-file.js';

const C = 16;
const SIDE = 8;
const SHAPES = {
  'conv.weight': [C, C, 3, 3],
  'conv.bias': [C],
  'last.weight': [C, C, 3, 3],
  'last.bias': [C],
  'norm.weight': [C],
  'norm.bias': [C],
  'mix.weight': [C, C],
  'mix.bias': [C],
} as const;
const values = (name: string, count: number): Float32Array => noise(seedOf(name), count, 0.3);

/** Two convolutions, a norm and a linear layer, on pictures of `side`². */
function graphOf(side: number): Graph {
  return writeGraph('small', { dialect: webgpuDialect, dtype: 'float32' }, (net) => {
    let x = net.conv('conv', net.image('x', { n: 1, h: side, w: side, c: C }), { channels: C });
    x = net.groupNorm('norm', x, { groups: 4, eps: 1e-5, silu: true });
    x = net.toImage(net.linear('mix', net.toTokens(x), { channels: C }), side, side);
    net.output('y', net.conv('last', x, { channels: C }));
  });
}

const picture = (side: number): Float32Array => noise(3, side * side * C);

function change(tensor: keyof typeof SHAPES, id: string, strength: number): AppliedChange {
  const [rows, ...rest] = SHAPES[tensor];
  const columns = rest.reduce<number>((a, b) => a * b, 1);
  const rank = 4;
  const delta: Delta = {
    kind: 'product',
    factor: {
      left: { rows, columns: rank, values: noise(seedOf(id), rows * rank, 0.4) },
      right: { rows: rank, columns, values: noise(seedOf(id) + 1, rank * columns, 0.4) },
    },
  };
  return { id, tensor, strength, scale: 0.5, rescales: false, read: () => Promise.resolve({ delta }) };
}

/** The file with the changes in it, computed in float64: what the device must come to. */
function changedValues(changes: readonly AppliedChange[]): typeof values {
  return (name, count) => {
    const out = Float64Array.from(values(name, count));
    for (const { id, tensor, strength, scale } of changes) {
      if (tensor !== name) continue;
      const rows = SHAPES[tensor as keyof typeof SHAPES][0];
      const columns = count / rows;
      const [left, right] = [noise(seedOf(id), rows * 4, 0.4), noise(seedOf(id) + 1, 4 * columns, 0.4)];
      for (let i = 0; i < count; i++) {
        const [row, column] = [Math.floor(i / columns), i % columns];
        for (let k = 0; k < 4; k++)
          out[i] =
            (out[i] ?? NaN) + strength * scale * (left[row * 4 + k] ?? NaN) * (right[k * columns + column] ?? NaN);
      }
    }
    return Float32Array.from(out);
  };
}

function openRuntime(build: 'jspi' | 'asyncify'): Promise<Runtime> {
  if (build === 'asyncify') Reflect.deleteProperty(WebAssembly, 'Suspending');
  return createRuntime({ backend: 'webgpu', loadOrt: loadOrtInBrowser, gpu: navigator.gpu, strictGpu: true });
}

const outputOf = async (model: Model, side = SIDE): Promise<Float32Array> =>
  (await model.run({ x: picture(side) })).y ?? new Float32Array();
export interface AdaptReport {
  readonly build: string;
  /** Largest difference to a model of a file that has the changes in it. */
  readonly linear: number;
  readonly kernel: number;
  readonly kernelOfStrength2: number;
  readonly otherSize: number;
  /** How far the changes move the output. */
  readonly moved: number;
  readonly bindings: readonly string[];
  /** To the output before all changes; 0 is bit for bit. */
  readonly restored: readonly number[];
  /** Before any change, after a change of a linear layer is taken back. */
  readonly memory: readonly [Memory, Memory];
  /** Of a failed and of an aborted change: code, memory before and after, and what the output is off by. */
  readonly failures: readonly (readonly [code: string, before: Memory, after: Memory, off: number])[];
  readonly reads: Readonly<Record<string, number>>;
  /** Before the bank was opened, and after it was disposed. */
  readonly ends: readonly [Memory, Memory];
}

/** Changes weights of a small network, takes the changes back, fails, aborts, and frees everything. */
async function adapt(build: 'jspi' | 'asyncify'): Promise<AdaptReport> {
  const runtime = await openRuntime(build);
  const { file, reads } = fakeWeightFile(SHAPES, values);
  const direct = async (changes: readonly AppliedChange[], side = SIDE): Promise<Float32Array> => {
    const bank = runtime.openBank(fakeWeightFile(SHAPES, changedValues(changes)).file);
    const model = await bank.load(graphOf(side));
    const out = await outputOf(model, side);
    await model.dispose();
    bank.dispose();
    return out;
  };
  const memory = async (): Promise<Memory> => {
    await runtime.flush();
    return runtime.memory();
  };
  const linear = change('mix.weight', 'a', 1);
  const kernel = change('conv.weight', 'b', 0.7);
  const kernel2 = change('conv.weight', 'b', 2);
  // What runs leave in ONNX Runtime's pools (turned kernels, uniforms) is there before it is counted.
  for (const side of [SIDE, 2 * SIDE]) {
    const warm = runtime.openBank(fakeWeightFile(SHAPES, values).file);
    await warm.adapt([linear, kernel]);
    const model = await warm.load(graphOf(side));
    await outputOf(model, side);
    await model.dispose();
    warm.dispose();
    await direct([], side);
  }
  const start = await memory();

  const bank = runtime.openBank(file);
  let model = await bank.load(graphOf(SIDE));
  const base = await outputOf(model);
  const bindings = [bank.binding];
  const before = await memory();
  await bank.adapt([linear]);
  bindings.push(bank.binding);
  const withLinear = await outputOf(model);
  await bank.adapt([]);
  const restored = [difference(await outputOf(model), base)];
  const after = await memory();

  await bank.adapt([linear, kernel]);
  bindings.push(bank.binding);
  await model.dispose();
  model = await bank.load(graphOf(SIDE));
  const withKernel = await outputOf(model);
  await bank.adapt([linear, kernel2]);
  const withKernel2 = await outputOf(model);

  const failures: AdaptReport['failures'][number][] = [];
  for (const bad of badChanges()) {
    await bank.adapt([]);
    const held = await memory();
    const controller = new AbortController();
    const code = await bank.adapt([linear, kernel, bad(controller)], { signal: controller.signal }).then(
      () => 'none',
      (error: unknown) => (error instanceof DarkroomError ? error.code : String(error)),
    );
    failures.push([code, held, await memory(), difference(await outputOf(model), base)]);
  }
  await bank.adapt([linear, kernel]);
  await model.dispose();
  model = await bank.load(graphOf(2 * SIDE));
  const large = await outputOf(model, 2 * SIDE);
  await bank.adapt([]);
  bindings.push(bank.binding);
  await model.dispose();
  model = await bank.load(graphOf(SIDE));
  restored.push(difference(await outputOf(model), base));
  await model.dispose();
  bank.dispose();
  const end = await memory();
  const report: AdaptReport = {
    build: runtime.info.build,
    linear: difference(withLinear, await direct([linear])),
    kernel: difference(withKernel, await direct([linear, kernel])),
    kernelOfStrength2: difference(withKernel2, await direct([linear, kernel2])),
    otherSize: difference(large, await direct([linear, kernel], 2 * SIDE)),
    moved: Math.min(difference(withLinear, base), difference(withKernel, withLinear)),
    bindings,
    restored,
    memory: [before, after],
    failures,
    reads: Object.fromEntries(reads),
    ends: [start, end],
  };
  await runtime.dispose();
  return report;
}

/** One of another shape, and one during which the task is aborted. Both come after others that were done already. */
function badChanges(): readonly ((controller: AbortController) => AppliedChange)[] {
  const tensor = 'last.bias';
  const misfit: Delta = { kind: 'full', values: { rows: C, columns: 2, values: new Float32Array(2 * C) } };
  const good = change(tensor, 'd', 1);
  return [
    () => ({ ...good, id: 'misfit', read: () => Promise.resolve({ delta: misfit }) }),
    (controller) => ({
      ...good,
      id: 'aborted',
      read: () => {
        controller.abort();
        return Promise.reject(new DarkroomError({ code: 'aborted', message: 'The task was aborted.' }));
      },
    }),
  ];
}

export interface HandOverReport {
  /** To the result with the array read and given back. */
  readonly off: number;
  readonly offInto: number;
  /** After the second and after the twentieth round. */
  readonly memory: readonly [Memory, Memory];
  /** Before and after everything. */
  readonly ends: readonly [Memory, Memory];
}

/** One session's output is the next one's input, twenty times, without leaving the device. */
async function handOver(build: 'jspi' | 'asyncify'): Promise<HandOverReport> {
  const runtime = await openRuntime(build);
  const memory = async (): Promise<Memory> => {
    await runtime.flush();
    return runtime.memory();
  };
  const bank = runtime.openBank(fakeWeightFile(SHAPES, values).file);
  const models = [await bank.load(graphOf(SIDE), { keep: ['y'] }), await bank.load(graphOf(SIDE))] as const;
  const [first, second] = models;
  const x = await runtime.upload(picture(SIDE), [SIDE * SIDE, C], 'float32');
  const target = await runtime.zeros([1, SIDE, SIDE, C], 'float32');
  const y = (await first.run({ x })).y ?? new Float32Array();
  const direct = (await second.run({ x: y })).y ?? new Float32Array();
  let [off, offInto] = [0, 0];
  const memories: Memory[] = [];
  for (let round = 0; round < 20; round++) {
    const { kept } = await first.runKept({ x });
    if (kept.y === undefined) throw new Error('y was not kept');
    off = Math.max(off, difference((await second.run({ x: kept.y })).y ?? new Float32Array(), direct));
    await second.runInto({ x: kept.y }, { y: target });
    kept.y.dispose();
    offInto = Math.max(offInto, difference(await target.read(), direct));
    memories.push(await memory());
  }
  x.dispose();
  target.dispose();
  for (const model of models) await model.dispose();
  bank.dispose();
  const end = await memory();
  // The pool that runs leave behind: the same runs again, by plain arrays alone.
  const again = runtime.openBank(fakeWeightFile(SHAPES, values).file);
  const plain = await again.load(graphOf(SIDE));
  await plain.run({ x: picture(SIDE) });
  await plain.dispose();
  again.dispose();
  const [early = end, late = end] = [memories[1], memories[19]];
  const ends: HandOverReport['ends'] = [await memory(), end];
  await runtime.dispose();
  return { off, offInto, memory: [early, late], ends };
}

/** Every kind of change on its own and rescaled, and all of them at once: what each weight is off by. */
async function kinds(build: 'jspi' | 'asyncify'): Promise<Readonly<Record<string, number>>> {
  const runtime = await openRuntime(build);
  const bank = runtime.openBank(fakeWeightFile({ 'layer.weight': [ROWS, COLUMNS] }, values).file);
  const graph = writeGraph('layer', { dialect: webgpuDialect, dtype: 'float32' }, (net) => {
    const x = net.tokens('x', { n: 1, s: COLUMNS, c: COLUMNS });
    net.output('y', net.linear('layer', x, { channels: ROWS, bias: false }));
  });
  const model = await bank.load(graph);
  const x = Float32Array.from({ length: COLUMNS * COLUMNS }, (_, i) => (i % (COLUMNS + 1) === 0 ? 1 : 0));
  const off: Record<string, number> = {};
  const measure = async (name: string, all: readonly Given[]): Promise<void> => {
    await bank.adapt(all.map((given, i) => makeChange(given, `${name} ${i}`, 'layer.weight')));
    const { y = new Float32Array() } = await model.run({ x });
    const weight = Array.from(
      { length: ROWS * COLUMNS },
      (_, i) => y[(i % COLUMNS) * ROWS + Math.floor(i / COLUMNS)] ?? NaN,
    );
    off[name] = difference(weight, changedWeight(values('layer.weight', ROWS * COLUMNS), all));
  };
  const plain = Object.values(KINDS).map((delta) => ({ delta, strength: -0.7, scale: 0.5 }));
  const rescaled = Object.values(KINDS).map((delta) => ({ delta, strength: 0.8, scale: 0.5, rowNorms: NORMS }));
  for (const [i, name] of Object.keys(KINDS).entries()) {
    await measure(name, plain.slice(i, i + 1));
    await measure(`${name}, rescaled`, rescaled.slice(i, i + 1));
  }
  await measure('all', [...plain, ...rescaled]);
  await model.dispose();
  bank.dispose();
  await runtime.dispose();
  return off;
}

const runtimePage = { kinds, adapt, handOver };
export type RuntimePage = typeof runtimePage;
Object.assign(globalThis, { runtimePage });
