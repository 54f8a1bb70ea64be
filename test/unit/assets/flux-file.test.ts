/** @file FLUX.1 in single files: names of the original code, float8 with factors, and weights that end as those of the diffusers folder. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { memorySource } from '../../../src/assets/byte-source.js';
import { readTensorRows } from '../../../src/assets/read-tensor.js';
import { openWhole, type WeightTensors } from '../../../src/assets/weight-tensors.js';
import { viewWeights, type WeightFile } from '../../../src/assets/weights.js';
import { detectFluxFile, detectFluxParts } from '../../../src/models/flux-file.js';
import { FLUX_LAYOUT } from '../../../src/models/layouts/flux.js';
import { float32Bytes, problemOf, safetensors, type Stored } from './support.js';

const FOLDER = new URL('../../golden/models/flux-dev-tiny-files/', import.meta.url);
const PART = 'flux1-fp8-scaled-part.safetensors';

interface FileGolden {
  readonly tensors?: Readonly<Record<string, readonly number[]>>;
  readonly components: { readonly transformer: Readonly<Record<string, string>> };
}
const { files } = JSON.parse(readFileSync(new URL('files.json', FOLDER), 'utf8')) as {
  readonly files: Readonly<Record<string, FileGolden>>;
};
const partBytes = new Uint8Array(readFileSync(new URL(PART, FOLDER)));
const part = await openWhole(memorySource(PART, partBytes));
const expected = Object.entries(files[PART]?.components.transformer ?? {});

const sha256 = (...arrays: readonly Float32Array[]): string => {
  const hash = createHash('sha256');
  for (const { buffer, byteOffset, byteLength } of arrays) hash.update(new Uint8Array(buffer, byteOffset, byteLength));
  return hash.digest('hex');
};

function transformerOf(tensors: WeightTensors): WeightFile {
  const found = detectFluxFile(tensors);
  if (found === undefined) throw new Error('no FLUX.1 was found');
  return viewWeights('part', tensors, found.transformer);
}

/** The same tensors as newer files have them: prefixed, with other names for the factors. */
async function newer(): Promise<WeightTensors> {
  const stored = Object.fromEntries(
    [...part].map(([name, { dtype, shape, start, end }]): readonly [string, Stored] => [
      `model.diffusion_model.${name.replace(/scale_weight$/, 'weight_scale')}`,
      { dtype, shape, bytes: partBytes.subarray(start, end) },
    ]),
  );
  const metadata = { _quantization_metadata: '{"format_version": "1.0", "layers": {}}' };
  return openWhole(memorySource('newer', safetensors(stored, metadata)));
}

describe.each([
  ['factors named scale_weight', () => Promise.resolve(part)],
  ['prefixed, factors named weight_scale', newer],
])('float8, %s', (_, open) => {
  it('ends as the weights that were scaled with torch, bit for bit', async () => {
    const weights = transformerOf(await open());
    expect(expected).toHaveLength(31);
    for (const [name, hash] of expected) expect(sha256(await weights.read(name, 'float32')), name).toBe(hash);
  });

  it('can be read some rows at a time', async () => {
    const weights = transformerOf(await open());
    for (const [name, hash] of expected) {
      const tensor = weights.find(name);
      if (tensor === undefined) throw new Error(name);
      const pieces: Float32Array[] = [];
      for await (const rows of readTensorRows(tensor, { where: name, maxBytes: 1000 })) pieces.push(rows);
      expect(sha256(...pieces), name).toBe(hash);
      if (tensor.shape.length === 2) expect(pieces.length, name).toBeGreaterThan(5);
    }
  });
});

describe('factors', () => {
  const bytes = Uint8Array.of(0x38, 0x40, 0x44, 0xb8); // 1, 2, 3, −1 (e4m3)
  const f8: Stored = { dtype: 'F8_E4M3', shape: [2, 2], bytes };
  const scale = (values: readonly number[]): Stored => ({
    dtype: 'F32',
    shape: [values.length],
    bytes: float32Bytes(values),
  });
  const open = async (tensors: Readonly<Record<string, Stored>>): Promise<WeightFile> =>
    viewWeights('f', await openWhole(memorySource('f', safetensors(tensors))), {
      places: (name) => [
        name === 'second'
          ? { name: 'x.weight', part: { index: 1, of: 2 } }
          : name === 'swapped'
            ? { name: 'x.weight', swapped: true }
            : { name },
      ],
      shape: (_, stored) => stored,
    });

  it.each([
    [[0.5], [0.5, 1, 1.5, -0.5]],
    [
      [2, 10],
      [2, 4, 30, -10],
    ],
  ])('%j: one for all, or one for each row, in both types', async (factors, values) => {
    const file = await open({ 'x.weight': f8, 'x.weight_scale': scale(factors) });
    expect([...(await file.read('x.weight', 'float32'))]).toEqual(values);
    expect([...(await file.read('second', 'float32'))]).toEqual(values.slice(2));
    expect([...(await file.read('swapped', 'float32'))]).toEqual([...values.slice(2), ...values.slice(0, 2)]);
    expect((await file.read('x.weight', 'float16'))[0]).toBe(factors[0] === 2 ? 0x4000 : 0x3800);
  });

  it('do not touch other weights, nor change what a file without them holds', async () => {
    const file = await open({ 'x.weight': f8, 'y.weight_scale': scale([3]) });
    expect([...(await file.read('x.weight', 'float32'))]).toEqual([1, 2, 3, -1]);
  });

  it('of another shape are refused, and so is what they take beyond float16', async () => {
    const blockwise = { 'x.weight': f8, 'x.weight_scale': scale([1, 2, 3]) };
    expect(await problemOf(() => open(blockwise))).toMatchObject({
      code: 'invalidModelFile',
      message: expect.stringMatching(/1 or 2 factors were expected/) as string,
    });
    const file = await open({ 'x.weight': f8, 'x.weight_scale': scale([1e5]) });
    expect(await problemOf(() => file.read('x.weight', 'float16'))).toMatchObject({ code: 'invalidModelFile' });
  });
});

describe('detection', () => {
  const shapes = files['flux1-bf16.safetensors']?.tensors ?? {};
  const published = new Map(Object.entries(shapes).map(([name, shape]) => [name, { shape }]));
  const renamed = (rename: (name: string) => string): typeof published =>
    new Map([...published].map(([name, tensor]) => [rename(name), tensor]));

  it.each(['', 'model.diffusion_model.', 'diffusion_model.', 'transformer.'])('knows the prefix "%s"', (prefix) => {
    const found = detectFluxFile(renamed((name) => prefix + name));
    expect(found).toMatchObject({ guidance: true });
    expect(found?.transformer.places('x_embedder.weight')).toEqual([{ name: `${prefix}img_in.weight` }]);
  });

  it('tells schnell from dev, and sees the other parts of a model', () => {
    const others = [
      'text_encoders.clip_l.transformer.text_model.embeddings.token_embedding.weight',
      'text_encoders.t5xxl.transformer.encoder.final_layer_norm.weight',
      'vae.decoder.conv_in.weight',
    ];
    const tensors = new Map([...published].filter(([name]) => !name.startsWith('guidance_in.')));
    for (const name of others) tensors.set(name, { shape: [1] });
    expect(detectFluxFile(tensors)).toMatchObject({ guidance: false });
    expect(detectFluxParts(tensors)).toEqual({
      clip: 'text_encoders.clip_l.transformer.',
      t5: 'text_encoders.t5xxl.transformer.',
      vae: 'vae.',
    });
    expect(detectFluxParts(published)).toEqual({});
  });

  it('knows diffusers’ names in one file', () => {
    const names = Object.keys(files['flux1-bf16.safetensors']?.components.transformer ?? {});
    const found = detectFluxFile(new Map(names.map((name) => [name, { shape: [1] }])));
    expect(found).toMatchObject({ guidance: true });
    expect(found?.transformer.places(names[0] ?? '')).toEqual([{ name: names[0] }]);
  });

  it('does not take a relative for it', () => {
    for (const missing of ['vector_in.', 'img_in.', 'txt_in.', 'double_blocks.0.', 'final_layer.']) {
      const tensors = new Map([...published].filter(([name]) => !name.startsWith(missing)));
      expect(detectFluxFile(tensors), missing).toBeUndefined();
    }
    expect(detectFluxFile(new Map())).toBeUndefined();
  });
});

it('swaps halves of rows only', async () => {
  const odd: Stored = { dtype: 'F32', shape: [3], bytes: float32Bytes([1, 2, 3]) };
  const tensors = await openWhole(memorySource('f', safetensors({ 'final_layer.adaLN_modulation.1.bias': odd })));
  const file = viewWeights('f', tensors, FLUX_LAYOUT);
  expect(await problemOf(() => file.find('norm_out.linear.bias'))).toMatchObject({ code: 'invalidModelFile' });
});
