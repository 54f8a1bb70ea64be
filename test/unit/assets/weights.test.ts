/** @file Weights of a component: one file, variants, shards; names and shapes of other layouts; every way they can be missing. */
import { describe, expect, it } from 'vitest';
import { filesTree, memoryTree } from '../../../src/assets/file-tree.js';
import { openWeights, type WeightFile, type WeightOptions } from '../../../src/assets/weights.js';
import { AUTOENCODER_LAYOUT, CLIP_TEXT_LAYOUT, UNET_LAYOUT } from '../../../src/models/layouts/diffusers.js';
import { float32Bytes, folderTree, problemOf, safetensors, utf8, type Stored } from './support.js';

const f32 = (shape: readonly number[], ...values: number[]): Stored => ({
  dtype: 'F32',
  shape,
  bytes: float32Bytes(values),
});
const json = (value: unknown): Uint8Array => utf8(JSON.stringify(value));

type Files = Readonly<Record<string, Uint8Array>>;
const open = (
  files: Files,
  options: Partial<WeightOptions> = {},
  stem = 'diffusion_pytorch_model',
): Promise<WeightFile> => openWeights(memoryTree('m', files), 'unet', [stem], { layout: UNET_LAYOUT, ...options });

const MAIN = 'unet/diffusion_pytorch_model.safetensors';
const INDEX = 'unet/diffusion_pytorch_model.safetensors.index.json';

describe('openWeights', () => {
  it('reads one file as either float type, and as stored', async () => {
    const weights = await open({ [MAIN]: safetensors({ a: f32([2], 1, -2), b: f32([1, 1], 0.5) }) });
    expect([...weights.tensors.keys()]).toEqual(['a', 'b']);
    expect(weights.find('a')).toMatchObject({ dtype: 'F32', shape: [2] });
    expect(await weights.read('a', 'float32')).toEqual(Float32Array.of(1, -2));
    expect(await weights.read('b', 'float16')).toEqual(Uint16Array.of(0x3800));
    expect(await weights.bytes('b')).toEqual(float32Bytes([0.5]));
  });

  it('names a tensor that is not there', async () => {
    const weights = await open({ [MAIN]: safetensors({ a: f32([1], 1) }) });
    expect(weights.find('b')).toBeUndefined();
    const expected = {
      code: 'missingWeight',
      message: 'm/unet/diffusion_pytorch_model.safetensors has no tensor "b" among its 1.',
    };
    expect(await problemOf(() => weights.read('b', 'float32'))).toMatchObject(expected);
    expect(await problemOf(() => weights.bytes('b'))).toMatchObject(expected);
  });

  it('takes the plain file first, else a variant, in the order asked for', async () => {
    const plain = { [MAIN]: safetensors({ plain: f32([], 1) }) };
    const half = { 'unet/diffusion_pytorch_model.fp16.safetensors': safetensors({ half: f32([], 1) }) };
    expect([...(await open({ ...plain, ...half })).tensors.keys()]).toEqual(['plain']);
    expect([...(await open(half)).tensors.keys()]).toEqual(['half']);
    expect([...(await open({ ...plain, ...half }, { variants: ['fp16', ''] })).tensors.keys()]).toEqual(['half']);
  });

  it('reads shards, of any variant', async () => {
    const first = safetensors({ a: f32([1], 1), spare: f32([1], 9) });
    const second = safetensors({ b: f32([1], 2) });
    const plain = await open({
      [INDEX]: json({
        metadata: { total_size: 8 },
        weight_map: { b: 'x-00002-of-00002.safetensors', a: 'x-00001-of-00002.safetensors' },
      }),
      'unet/x-00001-of-00002.safetensors': first,
      'unet/x-00002-of-00002.safetensors': second,
    });
    expect([...plain.tensors.keys()].sort()).toEqual(['a', 'b']);
    expect(await plain.read('a', 'float32')).toEqual(Float32Array.of(1));
    expect(await plain.read('b', 'float32')).toEqual(Float32Array.of(2));
    const half = await open({
      'unet/diffusion_pytorch_model.safetensors.index.fp16.json': json({
        weight_map: { a: 'x.fp16-00001-of-00001.safetensors' },
      }),
      'unet/x.fp16-00001-of-00001.safetensors': first,
    });
    expect(half.find('a')).toBeDefined();
  });

  it.each([
    ['a folder above', '../vae/x.safetensors'],
    ['a folder below', 'sub/x.safetensors'],
    ['a Windows folder', '..\\x.safetensors'],
    ['an address', 'https://evil.example/x.safetensors'],
    ['a hidden file', '.safetensors'],
    ['another kind of file', 'x.bin'],
    ['a query', 'x.safetensors?y=.safetensors'],
    ['a number', 3],
  ])('refuses an index that names %s', async (_, file) => {
    const problem = await problemOf(() => open({ [INDEX]: json({ weight_map: { a: file } }) }));
    expect(problem.code).toBe('invalidModelConfig');
    expect(problem.message).toContain('"a" must name a .safetensors file of the same folder');
  });

  it('refuses other broken indexes', async () => {
    const code = async (index: Uint8Array, more: Files = {}): Promise<string> =>
      (await problemOf(() => open({ [INDEX]: index, ...more }))).code;
    expect(await code(json({}))).toBe('invalidModelConfig');
    expect(await code(json({ weight_map: [] }))).toBe('invalidModelConfig');
    expect(await code(utf8('{"weight_map":'))).toBe('invalidModelConfig');
    expect(await code(json({ weight_map: { a: 'gone.safetensors' } }))).toBe('missingModelFile');
    const one = { 'unet/x.safetensors': safetensors({ b: f32([1], 1) }) };
    expect(await code(json({ weight_map: { a: 'x.safetensors' } }), one)).toBe('invalidModelFile');
    const many = Object.fromEntries(Array.from({ length: 1001 }, (_, i) => [`t${i}`, `x${i}.safetensors`]));
    expect(await code(json({ weight_map: many }))).toBe('invalidModelConfig');
  });

  it('refuses pickles with advice, and says what is missing', async () => {
    const pickle = await problemOf(() => open({ 'unet/diffusion_pytorch_model.bin': utf8('PK\x03\x04') }));
    expect(pickle.code).toBe('pickleRefused');
    expect(pickle.message).toContain('diffusion_pytorch_model.bin');
    expect(pickle.hint).toContain('.safetensors');
    expect((await problemOf(() => open({ 'unet/pytorch_model.bin': utf8('PK') }, {}, 'model'))).code).toBe(
      'pickleRefused',
    );
    const nothing = await problemOf(() => open({}));
    expect(nothing).toMatchObject({ code: 'missingModelFile', message: `m has no ${MAIN}.` });
  });

  it('takes a web page for a missing file', async () => {
    const page = utf8('<!doctype html><title>App</title>');
    const half = safetensors({ a: f32([1], 1) });
    const weights = await open({ [MAIN]: page, [INDEX]: page, 'unet/diffusion_pytorch_model.fp16.safetensors': half });
    expect(weights.name).toContain('fp16');
    expect((await problemOf(() => open({ [MAIN]: page, 'unet/diffusion_pytorch_model.bin': page }))).code).toBe(
      'missingModelFile',
    );
  });

  it('passes broken files on with their own message', async () => {
    const problem = await problemOf(() => open({ [MAIN]: safetensors({ a: f32([2], 1, 2) }).subarray(0, -1) }));
    expect(problem).toMatchObject({ code: 'invalidModelFile' });
    expect(problem.message).toContain('cut short');
  });

  it('stops when aborted', async () => {
    const weights = await open({ [MAIN]: safetensors({ a: f32([1], 1) }) });
    expect((await problemOf(() => weights.read('a', 'float32', AbortSignal.abort()))).code).toBe('aborted');
    expect((await problemOf(() => open({ [MAIN]: safetensors({}) }, { signal: AbortSignal.abort() }))).code).toBe(
      'aborted',
    );
  });

  it('reports the bytes that it reads', async () => {
    const file = safetensors({ a: f32([2], 1, 2) });
    let bytes = 0;
    const weights = await open({ [MAIN]: file }, { onBytes: (n) => (bytes += n) });
    await weights.read('a', 'float32', undefined, (n) => (bytes += n));
    expect(bytes).toBe(file.length - 8); // all but the header's length
  });
});

describe('layouts', () => {
  const openWith = (layout: WeightOptions['layout'], tensors: Readonly<Record<string, Stored>>): Promise<WeightFile> =>
    open({ [MAIN]: safetensors(tensors) }, { layout });

  it('finds old and 1×1-convolution attention of a VAE under today’s names and shapes', async () => {
    const block = 'decoder.mid_block.attentions.0';
    const weights = await openWith(AUTOENCODER_LAYOUT, {
      [`${block}.query.weight`]: f32([2, 2, 1, 1], 1, 2, 3, 4),
      [`${block}.proj_attn.bias`]: f32([2], 5, 6),
      'decoder.conv_in.weight': f32([1, 1, 1, 1], 7),
    });
    expect(weights.find(`${block}.to_q.weight`)?.shape).toEqual([2, 2]);
    expect(await weights.read(`${block}.to_q.weight`, 'float32')).toEqual(Float32Array.of(1, 2, 3, 4));
    expect(weights.find(`${block}.to_out.0.bias`)?.shape).toEqual([2]);
    expect(weights.find('decoder.conv_in.weight')?.shape).toEqual([1, 1, 1, 1]);
    expect(weights.find(`${block}.to_k.weight`)).toBeUndefined();
  });

  it('finds text encoder weights with and without their prefix, and drops position ids', async () => {
    const ids: Stored = { dtype: 'I64', shape: [1], bytes: new Uint8Array(8) };
    for (const prefix of ['text_model.', '']) {
      const weights = await openWith(CLIP_TEXT_LAYOUT, {
        [`${prefix}embeddings.position_ids`]: ids,
        [`${prefix}final_layer_norm.weight`]: f32([1], 1),
        'text_projection.weight': f32([1, 1], 1),
      });
      expect(weights.tensors.size).toBe(2);
      expect(weights.find('text_model.final_layer_norm.weight')).toBeDefined();
      expect(weights.find('final_layer_norm.weight')).toBeDefined();
      expect(weights.find('text_projection.weight')).toBeDefined();
      expect(weights.find('text_model.embeddings.position_ids')).toBeUndefined();
    }
  });
});

describe('the bundled model', () => {
  it.each([
    ['unet', 'diffusion_pytorch_model', UNET_LAYOUT, 'conv_in.weight', 4],
    ['vae', 'diffusion_pytorch_model', AUTOENCODER_LAYOUT, 'decoder.mid_block.attentions.0.to_q.weight', 2],
    ['text_encoder', 'model', CLIP_TEXT_LAYOUT, 'text_model.embeddings.token_embedding.weight', 2],
  ] as const)('opens: %s', async (folder, stem, layout, name, rank) => {
    const weights = await openWeights(folderTree('models/tinyworld'), folder, [stem], { layout });
    const tensor = weights.find(name);
    expect(tensor?.shape).toHaveLength(rank);
    const values = await weights.read(name, 'float32');
    expect(values).toHaveLength((tensor?.shape ?? []).reduce((product, size) => product * size, 1));
    expect(values.every(Number.isFinite)).toBe(true);
  });

  it('opens from picked files, whatever folder they were picked in', async () => {
    const file = safetensors({ a: f32([1], 3) });
    const tree = filesTree('picked', [
      { path: 'My models/sd/unet/diffusion_pytorch_model.safetensors', file: new Blob([file.slice().buffer]) },
      { path: 'My models/sd/model_index.json', file: new Blob(['{}']) },
    ]);
    const weights = await openWeights(tree, 'unet', ['diffusion_pytorch_model'], { layout: UNET_LAYOUT });
    expect(await weights.read('a', 'float32')).toEqual(Float32Array.of(3));
  });
});
