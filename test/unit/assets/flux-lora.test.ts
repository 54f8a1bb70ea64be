/**
 * @file LoRAs of FLUX.1 whose matrices are several layers' in one: which rows are whose is told by the hashes of the weights that diffusers'
 * converter makes of the same matrices, the sums are done here in float64.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { memorySource } from '../../../src/assets/byte-source.js';
import { openLora, type LoraChanges } from '../../../src/assets/lora-file.js';
import { readTensor } from '../../../src/assets/read-tensor.js';
import { openWhole, withScales, type WeightTensors } from '../../../src/assets/weight-tensors.js';
import { openWeights } from '../../../src/assets/weights.js';
import type { NetworkWeights } from '../../../src/models/lora/addresses.js';
import { UNET_LAYOUT } from '../../../src/models/layouts/diffusers.js';
import { memoryTree } from '../../../src/assets/file-tree.js';
import { addedBy, GOLDEN, readGolden } from './lora-support.js';
import { float32Bytes, folderTree, problemOf, safetensors, type Stored } from './support.js';

const bytesOf = (path: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`../../golden/models/${path}`, import.meta.url)));

const PART = 'flux1-fp8-scaled-part.safetensors';
const { files } = readGolden('models/flux-dev-tiny-files/files.json') as {
  readonly files: Readonly<
    Record<string, { readonly components: { readonly transformer: Readonly<Record<string, string>> } }>
  >;
};
/** sha256 of the float32 values → diffusers' name. */
const nameOf = new Map(
  Object.entries(files[PART]?.components.transformer ?? {}).map(([name, hash]) => [hash, name] as const),
);

let model: NetworkWeights;
let original: WeightTensors;
let lora: WeightTensors;
beforeAll(async () => {
  const options = { layout: UNET_LAYOUT };
  const folder = folderTree(`${GOLDEN}/models/flux-dev-tiny`);
  const { tensors } = await openWeights(folder, 'transformer', ['diffusion_pytorch_model'], options);
  model = { network: 'transformer', weights: [...tensors].map(([name, { shape }]) => ({ name, shape })) };
  original = withScales(await openWhole(memorySource(PART, bytesOf(`flux-dev-tiny-files/${PART}`))));
  lora = await openWhole(memorySource('lora', bytesOf('flux-lora-kohya-all/flux-lora-kohya-all.safetensors')));
});

const sha256 = (values: Float32Array): string =>
  createHash('sha256')
    .update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
    .digest('hex');

async function valuesOf(tensors: WeightTensors, name: string): Promise<Float32Array> {
  const tensor = tensors.get(name);
  if (tensor === undefined) throw new Error(name);
  return readTensor(tensor, 'float32', { where: name });
}

/** alpha ÷ rank · up · down of a layer of the file, for the whole matrix. */
async function deltaOf(layer: string): Promise<Float64Array> {
  const [up, down] = [
    await valuesOf(lora, `${layer}.lora_up.weight`),
    await valuesOf(lora, `${layer}.lora_down.weight`),
  ];
  const [alpha = NaN] = await valuesOf(lora, `${layer}.alpha`);
  const rank = lora.get(`${layer}.lora_down.weight`)?.shape[0] ?? NaN;
  const [rows, columns] = [up.length / rank, down.length / rank];
  const delta = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++)
    for (let k = 0; k < rank; k++)
      for (let x = 0; x < columns; x++) {
        const at = row * columns + x;
        delta[at] = (delta[at] ?? 0) + (alpha / rank) * (up[row * rank + k] ?? 0) * (down[k * columns + x] ?? 0);
      }
  return delta;
}

const join = <A extends Float32Array | Float64Array>(parts: readonly A[], empty: A): A => {
  let at = 0;
  for (const part of parts) {
    empty.set(part, at);
    at += part.length;
  }
  return empty;
};

/** Ways to cut a matrix into layers, in sevenths, thirds and halves of its rows; `order` of the pieces within the layer. */
const CUTS: readonly (readonly (readonly [from: number, to: number])[])[] = [
  [[0, 1]],
  [
    [0, 1 / 3],
    [1 / 3, 2 / 3],
    [2 / 3, 1],
  ],
  [
    [0, 1 / 7],
    [1 / 7, 2 / 7],
    [2 / 7, 3 / 7],
    [3 / 7, 1],
  ],
];

/** What every layer of an original matrix should be changed by. */
async function expectedChanges(layer: string, matrix: string): Promise<ReadonlyMap<string, Float64Array>> {
  const [weight, delta] = [await valuesOf(original, matrix), await deltaOf(layer)];
  const found = new Map<string, Float64Array>();
  for (const [from, to] of CUTS.flat()) {
    const [first, end] = [Math.round(from * weight.length), Math.round(to * weight.length)];
    const name = nameOf.get(sha256(weight.slice(first, end)));
    if (name !== undefined) found.set(name, delta.slice(first, end));
  }
  const half = weight.length / 2;
  const turned = join([weight.subarray(half), weight.subarray(0, half)], new Float32Array(weight.length));
  const name = nameOf.get(sha256(turned));
  if (name !== undefined)
    found.set(name, join([delta.subarray(half), delta.subarray(0, half)], new Float64Array(delta.length)));
  return found;
}

function largestDifference(a: Float64Array, b: Float64Array): number {
  expect(a.length).toBe(b.length);
  return a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - (b[i] ?? NaN))), 0);
}

describe('flux-lora-kohya-all', () => {
  const open = async (): Promise<LoraChanges> => {
    const tree = folderTree(`${GOLDEN}/models/flux-lora-kohya-all`);
    const file = await openLora(tree.list === undefined ? { ...tree, name: 'flux-lora-kohya-all' } : tree);
    expect(file).toMatchObject({ what: 'a LoRA for FLUX.1', family: 'flux' });
    return file.changesFor([model]);
  };

  it('belongs to the model to the last key', async () => {
    const { changes, unmatched, unused } = await open();
    expect([unmatched, unused]).toEqual([[], []]);
    const layers = [...lora.keys()].filter((name) => name.endsWith('.alpha'));
    const count = layers.reduce((sum, name) => sum + (name.includes('qkv') ? 3 : name.includes('linear1') ? 4 : 1), 0);
    expect(changes.get('transformer')?.length).toBe(count);
  });

  it.each([
    ['lora_unet_double_blocks_0_img_attn_qkv', 'double_blocks.0.img_attn.qkv.weight', ['to_q', 'to_k', 'to_v']],
    ['lora_unet_single_blocks_0_linear1', 'single_blocks.0.linear1.weight', ['to_q', 'to_k', 'to_v', 'proj_mlp']],
    ['lora_unet_final_layer_adaLN_modulation_1', 'final_layer.adaLN_modulation.1.weight', ['norm_out.linear']],
  ])('%s changes the rows that are each layer’s', async (layer, matrix, layers) => {
    const expected = await expectedChanges(layer, matrix);
    expect([...expected.keys()].map((name) => layers.findIndex((end) => name.endsWith(`${end}.weight`)))).toEqual(
      layers.map((_, i) => i),
    );
    const { changes } = await open();
    for (const [name, values] of expected) {
      const change = changes.get('transformer')?.find(({ tensor }) => tensor === name);
      if (change === undefined) throw new Error(`no change of ${name}`);
      const got = await addedBy(change, undefined);
      expect(largestDifference(got, values), name).toBeLessThan(1e-6);
      expect(Math.max(...values.map(Math.abs)), name).toBeGreaterThan(1e-3);
    }
  });
});

describe('other forms of a fused matrix', () => {
  /** `[rows, columns]` of distinct numbers. */
  const matrix = (rows: number, columns: number, seed: number): Stored => ({
    dtype: 'F32',
    shape: [rows, columns],
    bytes: float32Bytes(Array.from({ length: rows * columns }, (_, i) => Math.sin(seed + 1.7 * i))),
  });
  const valuesIn = ({ bytes }: Stored): Float32Array => new Float32Array(bytes.slice().buffer);
  const changesOf = async (tensors: Readonly<Record<string, Stored>>): Promise<LoraChanges> =>
    (await openLora(memoryTree('x', { 'x.safetensors': safetensors(tensors) }))).changesFor([model]);
  const addedTo = async (changes: LoraChanges, end: string): Promise<Float64Array> => {
    const change = changes.changes.get('transformer')?.find(({ tensor }) => tensor.endsWith(end));
    if (change === undefined) throw new Error(end);
    return addedBy(change, undefined);
  };
  const SINGLE = 'lycoris_single_blocks_1_linear1';

  it.each([
    ['whole rows of the first factor', 7, 64],
    ['rows that are none', 4, 112],
  ])('LoKr: %s', async (_, height, inner) => {
    const [w1, w2] = [matrix(height, 4, 1), matrix(inner, 16, 2)];
    const changes = await changesOf({ [`${SINGLE}.lokr_w1`]: w1, [`${SINGLE}.lokr_w2`]: w2 });
    const [a, b] = [valuesIn(w1), valuesIn(w2)];
    for (const [layer, first, rows] of [
      ['to_q', 0, 64],
      ['to_k', 64, 64],
      ['to_v', 128, 64],
      ['proj_mlp', 192, 256],
    ] as const) {
      const expected = Float64Array.from({ length: rows * 64 }, (__, i) => {
        const [row, x] = [first + Math.floor(i / 64), i % 64];
        return (a[Math.floor(row / inner) * 4 + Math.floor(x / 16)] ?? NaN) * (b[(row % inner) * 16 + (x % 16)] ?? NaN);
      });
      expect(
        largestDifference(
          await addedTo(changes, `single_transformer_blocks.1.${layer === 'proj_mlp' ? '' : 'attn.'}${layer}.weight`),
          expected,
        ),
        layer,
      ).toBeLessThan(1e-6);
    }
  });

  it('full differences of weights and biases', async () => {
    const [weight, bias] = [matrix(192, 64, 3), matrix(192, 1, 4)];
    const changes = await changesOf({
      'diffusion_model.double_blocks.1.txt_attn.qkv.diff': weight,
      'diffusion_model.double_blocks.1.txt_attn.qkv.diff_b': { ...bias, shape: [192] },
    });
    const attn = 'transformer_blocks.1.attn.add_k_proj';
    expect(await addedTo(changes, `${attn}.weight`)).toEqual(
      Float64Array.from(valuesIn(weight).subarray(64 * 64, 128 * 64)),
    );
    expect(await addedTo(changes, `${attn}.bias`)).toEqual(Float64Array.from(valuesIn(bias).subarray(64, 128)));
  });

  it('DoRA: each layer has its rows’ magnitudes', async () => {
    const [up, down] = [matrix(192, 2, 5), matrix(2, 64, 6)];
    const layer = 'lora_unet_double_blocks_0_img_attn_qkv';
    const magnitudes = matrix(192, 1, 7);
    const changes = await changesOf({
      [`${layer}.lora_up.weight`]: up,
      [`${layer}.lora_down.weight`]: down,
      [`${layer}.dora_scale`]: magnitudes,
    });
    const change = changes.changes
      .get('transformer')
      ?.find(({ tensor }) => tensor === 'transformer_blocks.0.attn.to_v.weight');
    expect((await change?.read())?.rowNorms).toEqual(valuesIn(magnitudes).slice(128, 192));
  });

  it.each([
    ['double_blocks.0.processor.qkv_lora2', 192, ['add_q_proj', 'add_k_proj', 'add_v_proj']],
    ['single_blocks.0.processor.qkv_lora', 192, ['to_q', 'to_k', 'to_v']],
  ])('XLabs’ %s', async (address, rows, layers) => {
    const [up, down] = [matrix(rows, 1, 8), matrix(1, 64, 9)];
    const changes = await changesOf({ [`${address}.up.weight`]: up, [`${address}.down.weight`]: down });
    const [u, d] = [valuesIn(up), valuesIn(down)];
    for (const [i, layer] of layers.entries()) {
      const expected = Float64Array.from(
        { length: 64 * 64 },
        (_, at) => (u[64 * i + Math.floor(at / 64)] ?? NaN) * (d[at % 64] ?? NaN),
      );
      expect(largestDifference(await addedTo(changes, `attn.${layer}.weight`), expected), layer).toBeLessThan(1e-6);
    }
  });

  it('DoRA with a norm per input says nothing of one layer’s rows alone, and is refused; of a matrix of its own it is read', async () => {
    const factors = (layer: string, rows: number): Readonly<Record<string, Stored>> => ({
      [`${layer}.lora_up.weight`]: matrix(rows, 2, 5),
      [`${layer}.lora_down.weight`]: matrix(2, 64, 6),
      [`${layer}.dora_scale`]: matrix(1, 64, 7),
    });
    const problem = await problemOf(() => changesOf(factors('lora_unet_double_blocks_0_img_attn_qkv', 192)));
    expect(problem).toMatchObject({ code: 'unsupportedModel', parameter: 'lora' });
    expect(problem.message).toContain('a norm per input');
    const own = await changesOf(factors('lora_unet_double_blocks_0_img_attn_proj', 64));
    const [change] = own.changes.get('transformer') ?? [];
    expect(change?.rescales).toBe(true);
    expect((await change?.read())?.inputNorms).toEqual(valuesIn(matrix(1, 64, 7)));
  });

  it('has the rank of the product that it is, in all its layers; where it is none, no rank', async () => {
    const ranksOf = async (tensors: Readonly<Record<string, Stored>>) =>
      (await changesOf(tensors)).changes.get('transformer')?.map(({ rank }) => rank);
    const layer = 'lora_unet_double_blocks_0_img_attn_qkv';
    const lora2 = { [`${layer}.lora_up.weight`]: matrix(192, 2, 1), [`${layer}.lora_down.weight`]: matrix(2, 64, 2) };
    expect(await ranksOf(lora2)).toEqual([2, 2, 2]);
    const loha = {
      [`${layer}.hada_w1_a`]: matrix(192, 3, 1),
      [`${layer}.hada_w1_b`]: matrix(3, 64, 2),
      [`${layer}.hada_w2_a`]: matrix(192, 5, 3),
      [`${layer}.hada_w2_b`]: matrix(5, 64, 4),
    };
    expect(await ranksOf(loha)).toEqual([15, 15, 15]);
    expect(await ranksOf({ [`${SINGLE}.lokr_w1`]: matrix(7, 4, 1), [`${SINGLE}.lokr_w2`]: matrix(64, 16, 2) })).toEqual(
      [undefined, undefined, undefined, undefined],
    );
  });

  it('of another height are refused', async () => {
    const layer = 'lora_unet_double_blocks_0_img_attn_qkv';
    const wrong = { [`${layer}.lora_up.weight`]: matrix(64, 2, 1), [`${layer}.lora_down.weight`]: matrix(2, 64, 2) };
    const problem = await problemOf(() => changesOf(wrong));
    expect(problem.code).toBe('incompatibleLora');
    expect(problem.message).toContain('to_q.weight of this model and its neighbours are [192, 64]');
  });
});

describe('keys of T5, which diffusers does not load', () => {
  /** A layer of rank 1 of numbers that do not matter. */
  const layer = (address: string, down = 'lora_down', up = 'lora_up'): Readonly<Record<string, Stored>> => ({
    [`${address}.${down}.weight`]: { dtype: 'F32', shape: [1, 64], bytes: float32Bytes(Array<number>(64).fill(1)) },
    [`${address}.${up}.weight`]: { dtype: 'F32', shape: [64, 1], bytes: float32Bytes(Array<number>(64).fill(1)) },
  });
  const changesOf = async (tensors: Readonly<Record<string, Stored>>): Promise<LoraChanges> =>
    (await openLora(memoryTree('x', { 'x.safetensors': safetensors(tensors) }))).changesFor([model]);
  const TRANSFORMER = layer('lora_unet_double_blocks_0_img_attn_proj');

  it.each([
    ['lora_te3_encoder_block_0_layer_0_SelfAttention_q', 'lora_te3_encoder_block_1_layer_1_DenseReluDense_wi_0'],
    ['lora_te2_encoder_block_23_layer_0_SelfAttention_o', 'lora_te2_encoder_final_layer_norm'],
    [
      'text_encoder_2.encoder.block.0.layer.0.SelfAttention.q',
      'text_encoder_2.base_model.model.encoder.block.0.layer.1.DenseReluDense.wo',
    ],
    [
      'text_encoders.t5xxl.transformer.encoder.block.3.layer.0.SelfAttention.k',
      'text_encoders.t5xxl.transformer.shared',
    ],
  ])('have no effect, and a warning says whose they are: %s', async (first, second) => {
    const found = await changesOf({ ...TRANSFORMER, ...layer(first), ...layer(second) });
    expect(found.changes.get('transformer')?.map(({ tensor }) => tensor)).toEqual([
      'transformer_blocks.0.attn.to_out.0.weight',
    ]);
    // Though they are most of the file, it fits the model.
    expect(found.unmatched).toEqual([]);
    expect(found.warning).toMatch(
      /^4 of 6 keys of x\/x\.safetensors are for T5 and have no effect.*as in diffusers: "/,
    );
    expect(found.warning).toContain(first);
  });

  it('are told apart from those that belong nowhere', async () => {
    const found = await changesOf({
      ...TRANSFORMER,
      ...layer('lora_unet_double_blocks_1_img_attn_proj'),
      ...layer('lora_te3_encoder_block_0_layer_0_SelfAttention_q'),
      ...layer('lora_te3_somewhere_else'),
    });
    expect(found.unmatched).toHaveLength(2);
    expect(found.warning?.split('\n')).toEqual([
      expect.stringContaining('2 of 8 keys of x/x.safetensors do not belong to this model: "lora_te3_somewhere_else'),
      expect.stringContaining('2 of 8 keys of x/x.safetensors are for T5'),
    ]);
  });

  it('alone are no LoRA of this model', async () => {
    const problem = await problemOf(() => changesOf(layer('lora_te3_encoder_block_0_layer_0_SelfAttention_q')));
    expect(problem).toMatchObject({ code: 'incompatibleLora' });
    expect(problem.message).toContain('it changes T5 alone');
  });
});
