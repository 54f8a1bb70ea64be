/**
 * @file Changed weights on the CPU: every kind of Δ against the published formulas computed here in float64, the bank's promises (nothing read
 * twice, all or nothing, the base back bit for bit), and a LoRA on a UNet against diffusers.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { readDiffusersFolder } from '../../src/assets/diffusers-folder.js';
import { stableDiffusion } from '../../src/assets/open-model.js';
import type { AppliedChange, Delta, Matrix, Product } from '../../src/assets/weight-change.js';
import type { WeightFile } from '../../src/assets/weights.js';
import { concatFloats } from '../../src/base/arrays.js';
import type { FloatType } from '../../src/base/dtype.js';
import type { ErrorCode } from '../../src/base/errors.js';
import { timestepSinusoid, unetGraph, UNET_IO } from '../../src/graphs/unet.js';
import { parseUNetConfig } from '../../src/models/configs/unet.js';
import { wasmDialect } from '../../src/onnx/dialects/wasm.js';
import { writeGraph } from '../../src/onnx/net.js';
import type { Graph } from '../../src/onnx/types.js';
import { loadOrtInNode } from '../../src/runtime/ort-node.js';
import { createRuntime, type Runtime } from '../../src/runtime/runtime.js';
import type { WeightBank } from '../../src/runtime/weights.js';
import { folderTree } from '../../scripts/lib/folder-tree.js';
import { readTensors } from '../golden-runner/files.js';
import { nodeFolder } from '../golden-runner/node.js';
import { compare, isWithin } from '../golden-runner/report.js';
import {
  change as makeChange,
  changedWeight,
  COLUMNS,
  difference,
  KINDS,
  matrix,
  INPUT_NORMS,
  NORMS,
  product,
  ROWS,
  type Given,
} from '../unit/runtime/change-formulas.js';
import { fakeWeightFile, noise, seedOf } from '../unit/runtime/fake-weight-file.js';

const GOLDEN = join(import.meta.dirname, '../golden');
const options = { dialect: wasmDialect, dtype: 'float32' } as const;
let runtime: Runtime;
beforeAll(async () => {
  runtime = await createRuntime({ backend: 'wasm', loadOrt: loadOrtInNode });
});
afterAll(() => runtime.dispose());

const SHAPES = { 'layer.weight': [ROWS, COLUMNS], 'layer.bias': [ROWS], 'other.weight': [ROWS, ROWS] } as const;

const open = (): ReturnType<typeof fakeWeightFile> =>
  fakeWeightFile(SHAPES, (name, count) => noise(seedOf(name), count, 0.5));

/** Of the identity matrix it gives the transpose of `layer.weight`, each value plus zeros. */
function layerGraph(dtype: FloatType = 'float32'): Graph {
  return writeGraph('layer', { dialect: wasmDialect, dtype }, (net) => {
    const x = net.tokens('x', { n: 1, s: COLUMNS, c: COLUMNS });
    net.output('y', net.linear('layer', x, { channels: ROWS, bias: false }));
  });
}

const identity = Float32Array.from({ length: COLUMNS * COLUMNS }, (_, i) => (i % (COLUMNS + 1) === 0 ? 1 : 0));

/** What the loaded model computes with, row by row. */
async function weightOf(bank: WeightBank, dtype?: FloatType): Promise<readonly number[]> {
  const model = await bank.load(layerGraph(dtype));
  const { y = new Float32Array() } = await model.run({ x: identity });
  await model.dispose();
  return Array.from({ length: ROWS * COLUMNS }, (_, i) => y[(i % COLUMNS) * ROWS + Math.floor(i / COLUMNS)] ?? NaN);
}

interface Options {
  readonly id?: string;
  readonly tensor?: string;
  readonly strength?: number;
  readonly scale?: number;
  readonly rowNorms?: Float32Array;
  readonly inputNorms?: Float32Array;
  readonly read?: AppliedChange['read'];
}

function change(delta: Delta, given: Options = {}): AppliedChange {
  const { id = 'a', tensor = 'layer.weight', strength = 1, scale = 1, rowNorms, inputNorms, read } = given;
  const made = makeChange(
    { delta, strength, scale, ...(rowNorms && { rowNorms }), ...(inputNorms && { inputNorms }) },
    id,
    tensor,
  );
  return read === undefined ? made : { ...made, read };
}

const base = (): Float32Array => noise(seedOf('layer.weight'), ROWS * COLUMNS, 0.5);

describe('a changed weight', () => {
  describe.each(Object.entries(KINDS))('%s', (_, delta) => {
    it.each([
      { strength: 1, scale: 0.5 },
      { strength: -0.7, scale: 2 },
      { strength: 0.8, scale: 1, rowNorms: NORMS },
      { strength: 1, scale: 0.25, rowNorms: NORMS },
      { strength: 0.6, scale: 0.5, inputNorms: INPUT_NORMS },
    ])('of strength $strength, scale $scale', async (given) => {
      const bank = runtime.openBank(open().file);
      await bank.adapt([change(delta, given)]);
      expect(difference(await weightOf(bank), changedWeight(base(), [{ delta, ...given }]))).toBeLessThan(2e-6);
      // The same weight in float16, changed on the device as well: rounded once or twice.
      const half = await weightOf(bank, 'float16');
      expect(difference(half, changedWeight(base(), [{ delta, ...given }]))).toBeLessThan(2e-3);
      bank.dispose();
    });
  });

  it('takes several changes at once, of all kinds, rescaling ones among them', async () => {
    const all: readonly Given[] = Object.values(KINDS).flatMap((delta, i) => [
      { delta, strength: 0.3 + i / 10, scale: 0.5 },
      { delta, strength: -0.2, scale: 1, rowNorms: NORMS },
    ]);
    const bank = runtime.openBank(open().file);
    await bank.adapt(all.map((given, i) => change(given.delta, { ...given, id: `${i}` })));
    expect(difference(await weightOf(bank), changedWeight(base(), all))).toBeLessThan(1e-5);
    bank.dispose();
  });

  it('keeps a row of zeros that is to be rescaled', async () => {
    const { file } = fakeWeightFile(SHAPES, (_, count) => new Float32Array(count));
    const zeros = { rows: ROWS, columns: COLUMNS, values: new Float32Array(ROWS * COLUMNS) };
    const bank = runtime.openBank(file);
    await bank.adapt([change({ kind: 'full', values: zeros }, { rowNorms: NORMS })]);
    expect(new Set(await weightOf(bank))).toEqual(new Set([0]));
    bank.dispose();
  });
});

describe('the bank', () => {
  const lora = (strength: number, id = 'a'): AppliedChange =>
    change({ kind: 'product', factor: product(4, seedOf(id)) }, { id, strength });

  it('goes back to the file bit for bit, reads it once, and changes loaded models', async () => {
    const { file, reads } = open();
    const bank = runtime.openBank(file);
    const before = await weightOf(bank);
    expect(before).toEqual([...base()]);
    const binding = bank.binding;
    await bank.adapt([lora(1)]);
    expect(bank.binding).not.toBe(binding); // a constant of the session until now
    const [editable, model] = [bank.binding, await bank.load(layerGraph())];
    const run = async (): Promise<Float32Array> => (await model.run({ x: identity })).y ?? new Float32Array();
    const changed = await run();
    await bank.adapt([lora(0.5), lora(2, 'b')]);
    const other = await run();
    await bank.adapt([lora(1)]);
    expect(await run()).toEqual(changed);
    expect(other).not.toEqual(changed);
    await bank.adapt([lora(0)]);
    expect(bank.binding).toBe(editable);
    expect(await weightOf(bank)).toEqual(before);
    expect(Object.fromEntries(reads)).toEqual({ 'layer.weight': 1 });
    await model.dispose();
    bank.dispose();
  });

  it('reads no factor again for changes that stay', async () => {
    const bank = runtime.openBank(open().file);
    let reads = 0;
    const counted: AppliedChange = { ...lora(1), read: (signal) => (reads++, lora(1).read(signal)) };
    await bank.adapt([counted]);
    await weightOf(bank);
    await bank.adapt([counted]);
    await weightOf(bank);
    expect(reads).toBe(1);
    await bank.adapt([{ ...counted, strength: 0.5 }]);
    expect(reads).toBe(2);
    bank.dispose();
  });

  it('refuses to run a session whose constants have changed since', async () => {
    const bank = runtime.openBank(open().file);
    const model = await bank.load(layerGraph());
    await bank.adapt([lora(1)]);
    await expect(model.run({ x: identity })).rejects.toMatchObject({ code: 'internalError' });
    await bank.adapt([]);
    await expect(model.run({ x: identity })).resolves.toHaveProperty('y');
    await model.dispose();
    bank.dispose();
  });

  it('reads again only what the browser has no room to keep, and leaves it some', async () => {
    let kept = 0;
    /** Has room for one; any more cannot be read. */
    class FullStore extends Blob {
      private readonly fits = kept++ < 1;
      override slice(start?: number, end?: number): Blob {
        const part = super.slice(start, end);
        if (!this.fits) Object.assign(part, { arrayBuffer: () => Promise.reject(new Error('no room')) });
        return part;
      }
    }
    vi.stubGlobal('Blob', FullStore);
    try {
      const { file, reads } = open();
      const graph = writeGraph('two', options, (net) => {
        const x = net.linear('layer', net.tokens('x', { n: 1, s: COLUMNS, c: COLUMNS }), { channels: ROWS });
        net.output('y', net.linear('other', x, { channels: ROWS, bias: false }));
      });
      const bank = runtime.openBank(file);
      const outputs = [];
      for (let i = 0; i < 3; i++) {
        const model = await bank.load(graph);
        outputs.push((await model.run({ x: identity })).y);
        await model.dispose();
      }
      expect(outputs[1]).toEqual(outputs[0]);
      expect(outputs[2]).toEqual(outputs[0]);
      // One Blob was kept; half of them (rounded up) are given back, and no other is tried.
      expect(kept).toBe(2);
      expect(Object.fromEntries(reads)).toEqual({ 'layer.weight': 3, 'layer.bias': 3, 'other.weight': 3 });
      bank.dispose();
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it('adds to a bias that is folded into another', async () => {
    const { file } = fakeWeightFile(
      { 'c.weight': [4, 4, 3, 3], 'c.bias': [4], 'shortcut.bias': [4] },
      (_, count) => new Float32Array(count),
    );
    const graph = writeGraph('folded', options, (net) => {
      const x = net.image('x', { n: 1, h: 2, w: 2, c: 4 });
      net.output('y', net.conv('c', x, { channels: 4, plusBias: 'shortcut' + '.bias' }));
    });
    const bank = runtime.openBank(file);
    const values: Matrix = { rows: 4, columns: 1, values: Float32Array.of(1, 2, 3, 4) };
    await bank.adapt([change({ kind: 'full', values }, { tensor: 'shortcut.bias', strength: 2 })]);
    const model = await bank.load(graph);
    const { y = new Float32Array() } = await model.run({ x: new Float32Array(16) });
    expect([...y]).toEqual([2, 4, 6, 8].flatMap((value) => Array<number>(4).fill(value)));
    await model.dispose();
    bank.dispose();
  });

  const wrong: Delta = { kind: 'full', values: matrix(ROWS, COLUMNS + 1, 1) };
  const misfit = { left: matrix(ROWS, 3, 1), right: matrix(4, COLUMNS, 1) };
  const FAILURES: readonly (readonly [string, AppliedChange, ErrorCode, RegExp])[] = [
    [
      'another shape',
      change(wrong, { id: 'x' }),
      'incompatibleLora',
      /x: changes "layer.weight" by \[12, 11\]; the model's is \[12, 10\]/,
    ],
    [
      'factors that do not fit',
      change({ kind: 'product', factor: misfit }),
      'incompatibleLora',
      /\[12, 3\] and \[4, 10\]/,
    ],
    [
      'norms of other rows',
      change(KINDS.full ?? wrong, { rowNorms: new Float32Array(3) }),
      'incompatibleLora',
      /3 row norms .* 12 rows/,
    ],
    [
      'numbers beyond the type',
      change(KINDS.full ?? wrong, { scale: 3e38, strength: 4 }),
      'invalidModelFile',
      /layer\.weight/,
    ],
    [
      'a file that cannot be read',
      change(wrong, { read: () => Promise.reject(new Error('gone')) }),
      'internalError',
      /gone/,
    ],
  ];

  it.each(FAILURES)('has no change left after %s', async (_, bad, code, message) => {
    const bank = runtime.openBank(open().file);
    await bank.adapt([lora(1)]);
    const model = await bank.load(layerGraph());
    const failure = bank.adapt([lora(2, 'b'), bad]);
    if (code === 'internalError') await expect(failure).rejects.toThrow(message);
    else await expect(failure).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string });
    expect(await weightOf(bank)).toEqual([...base()]);
    await bank.adapt([lora(1)]);
    const delta: Delta = { kind: 'product', factor: product(4, seedOf('a')) };
    const again = changedWeight(base(), [{ delta, strength: 1, scale: 1 }]);
    expect(difference(await weightOf(bank), again)).toBeLessThan(2e-6);
    await model.dispose();
    bank.dispose();
  });

  it('loads no session when a change does not fit, and loads it without that change', async () => {
    const { file, reads } = open();
    const bank = runtime.openBank(file);
    await bank.adapt([change(wrong)]); // nothing is loaded yet, so nothing is known of its shape
    await expect(bank.load(layerGraph())).rejects.toMatchObject({ code: 'incompatibleLora' });
    await bank.adapt([]);
    expect(await weightOf(bank)).toEqual([...base()]);
    expect(Object.fromEntries(reads)).toEqual({ 'layer.weight': 1 });
    bank.dispose();
  });

  it('keeps the changes that it has when a name is unknown', async () => {
    const bank = runtime.openBank(open().file);
    await bank.adapt([lora(1)]);
    const before = await weightOf(bank);
    await expect(bank.adapt([change(wrong, { tensor: 'no.weight', id: 'y' })])).rejects.toMatchObject({
      code: 'incompatibleLora',
      message: 'y: changes "no.weight"; fake.safetensors has no such weight.',
    });
    expect(await weightOf(bank)).toEqual(before);
    bank.dispose();
  });

  it('has no change left after an abort half-way', async () => {
    const bank = runtime.openBank(open().file);
    await weightOf(bank);
    await bank.adapt([lora(1)]);
    const controller = new AbortController();
    const aborting = change(wrong, {
      id: 'b',
      read: (signal) => {
        controller.abort();
        signal?.throwIfAborted();
        return Promise.reject(new Error('not reached'));
      },
    });
    const model = await bank.load(layerGraph());
    await expect(bank.adapt([aborting], { signal: controller.signal })).rejects.toThrow();
    const { y } = await model.run({ x: identity });
    await model.dispose();
    expect(y).toEqual((await bankOutput()) as Float32Array);
    bank.dispose();
  });

  async function bankOutput(): Promise<Float32Array | undefined> {
    const bank = runtime.openBank(open().file);
    const model = await bank.load(layerGraph());
    const { y } = await model.run({ x: identity });
    await model.dispose();
    bank.dispose();
    return y;
  }
});

describe('arrays of the device', () => {
  it('go from one session into the next, in a shape of as many values', async () => {
    const bank = runtime.openBank(open().file);
    const first = await bank.load(layerGraph(), { keep: ['y'] });
    const second = await bank.load(
      writeGraph('other', options, (net) => {
        const x = net.tokens('x', { n: 2, s: COLUMNS / 2, c: ROWS });
        net.output('z', net.linear('other', x, { channels: ROWS, bias: false }));
      }),
    );
    const { kept, arrays } = await first.runKept({ x: identity });
    expect(arrays).toEqual({});
    const { y } = kept;
    if (y === undefined) throw new Error('y was not kept');
    const direct = await second.run({ x: await y.read() });
    expect((await second.run({ x: y })).z).toEqual(direct.z);
    const target = await runtime.zeros([COLUMNS, ROWS], 'float32');
    await second.runInto({ x: y }, { z: target });
    expect(await target.read()).toEqual(direct.z);
    const copied = await runtime.upload(await y.read(), [COLUMNS, ROWS], 'float32');
    expect((await second.run({ x: copied })).z).toEqual(direct.z);
    await expect(second.run({ x: await runtime.zeros([3], 'float32') })).rejects.toMatchObject({
      message: 'other: "x" needs 120 values of float32, got 3 of float32.',
    });
    y.dispose();
    await first.dispose();
    await second.dispose();
    bank.dispose();
  });
});

describe('a LoRA on a UNet', () => {
  const COMPONENT = 'lora_unet_';

  /** The file of the golden, by hand: kohya's names are the module's with `_` for `.`. */
  async function changesOf(unet: WeightFile): Promise<readonly AppliedChange[]> {
    const lora = await readTensors(nodeFolder(GOLDEN), 'models/lora-sd15-kohya/lora-sd15-kohya.safetensors');
    const modules = new Map(
      [...unet.tensors.keys()].map((name) => [name.replace(/\.weight$/, '').replaceAll('.', '_'), name]),
    );
    const out: AppliedChange[] = [];
    for (const [key, down] of lora) {
      const stem = /^lora_unet_(.*)\.lora_down\.weight$/.exec(key)?.[1];
      if (stem === undefined) continue;
      const part = (name: string): Float64Array => lora.get(`${COMPONENT}${stem}.${name}`) ?? new Float64Array();
      const up = part('lora_up.weight');
      const alpha = part('alpha')[0] ?? NaN;
      const tensor = modules.get(stem) ?? '';
      const rows = unet.find(tensor)?.shape[0] ?? 0;
      const rank = up.length / rows;
      const factor: Product = {
        left: { rows, columns: rank, values: Float32Array.from(up) },
        right: { rows: rank, columns: down.length / rank, values: Float32Array.from(down) },
      };
      out.push(change({ kind: 'product', factor }, { id: stem, tensor, scale: alpha / rank }));
    }
    return out;
  }

  it('gives what diffusers gives', async () => {
    const folder = stableDiffusion(await readDiffusersFolder(folderTree(join(GOLDEN, 'models/sd15-tiny'))));
    const golden = await readTensors(nodeFolder(GOLDEN), 'cases/lora-kohya/tensors.safetensors');
    const get = (name: string): Float32Array => Float32Array.from(golden.get(`base.${name}`) ?? []);
    const config = parseUNetConfig(folder.unet.config);
    const file = await folder.unet.open();
    const bank = runtime.openBank(file);
    const changes = await changesOf(file);
    expect(changes.length).toBeGreaterThan(20);
    const graph = unetGraph(config, { batch: 2, height: 16, width: 16, textTokens: 77 }, options);
    const text = concatFloats([get('prompt_embeds.uncond'), get('prompt_embeds.cond')]);
    const results = [];
    await bank.load(graph); // a session of the base first
    await bank.adapt(changes);
    const model = await bank.load(graph);
    for (const step of ['00', '02', '03']) {
      const [sample, timestep = NaN] = [get(`unet.${step}.sample`), ...get(`unet.${step}.timestep`)];
      const sinusoid = timestepSinusoid(timestep, config.blockOutChannels[0] ?? 0, config);
      const { [UNET_IO.output]: y = new Float32Array() } = await model.run({
        [UNET_IO.sample]: concatFloats([sample, sample]),
        [UNET_IO.time]: concatFloats([sinusoid, sinusoid]),
        [UNET_IO.text]: text,
      });
      const half = y.length / 2;
      const tolerance = { absolute: 2e-4, relative: 0 };
      results.push(compare(`${step} uncond`, y.subarray(0, half), get(`unet.${step}.out.uncond`), tolerance));
      results.push(compare(`${step} cond`, y.subarray(half), get(`unet.${step}.out.cond`), tolerance));
    }
    expect(results.filter((result) => !isWithin(result))).toEqual([]);
    await model.dispose();
    bank.dispose();
  });
});
