/** @file Embedding files: every format and float type, which models they fit, and files that are hostile, damaged or something else. */
import { describe, expect, it } from 'vitest';
import { memorySource } from '../../../src/assets/byte-source.js';
import { openEmbedding, readEmbedding, vectorsFor, type EmbeddingFile } from '../../../src/assets/embedding-file.js';
import { memoryTree } from '../../../src/assets/file-tree.js';
import type { ByteSource, FileTree } from '../../../src/assets/source.js';
import { folderTree } from './support.js';
import { concat, float32Bytes, problemOf, safetensors, utf8, withHeader, type Stored } from './support.js';

function f32(shape: readonly number[], values: readonly number[] = []): Stored {
  const size = shape.reduce((product, n) => product * n, 1);
  return { dtype: 'F32', shape, bytes: float32Bytes(Array.from({ length: size }, (_, i) => values[i] ?? 0.5 * i)) };
}

function open(tensors: Readonly<Record<string, Stored>>, name = 'zx.safetensors'): Promise<EmbeddingFile> {
  return readEmbedding(memorySource(name, safetensors(tensors)));
}

/** 1, −2, 0.5 exactly, in each type. */
const ONE_TWO_HALF = {
  F32: float32Bytes([1, -2, 0.5]),
  F16: new Uint8Array(Uint16Array.of(0x3c00, 0xc000, 0x3800).buffer),
  BF16: new Uint8Array(Uint16Array.of(0x3f80, 0xc000, 0x3f00).buffer),
  F64: new Uint8Array(Float64Array.of(1, -2, 0.5).buffer),
} as const;

describe('formats', () => {
  it.each(Object.entries(ONE_TWO_HALF))('%s', async (dtype, bytes) => {
    const file = await open({ emb_params: { dtype, shape: [1, 3], bytes } });
    expect(file).toMatchObject({ stem: 'zx', count: 1, token: undefined });
    expect(file.tables).toEqual([{ slot: 1, tensor: 'emb_params', width: 3, values: Float32Array.of(1, -2, 0.5) }]);
  });

  it.each([
    ['emb_params', [2, 768], undefined, 2],
    ['string_to_param.*', [3, 768], undefined, 3],
    ['<zx-toy>', [768], '<zx-toy>', 1],
    ['<zx-toy>', [4, 1024], '<zx-toy>', 4],
    ['*', [768], undefined, 1],
    ['clip_l', [768], undefined, 1],
  ] as const)('%s %j', async (key, shape, token, count) => {
    const file = await open({ [key]: f32(shape) });
    expect(file).toMatchObject({ token, count, tables: [{ slot: 1, width: shape.at(-1) }] });
  });

  it('SDXL: a table for each encoder', async () => {
    const file = await open({ clip_g: f32([2, 1280]), clip_l: f32([2, 768]) });
    expect(file.what).toMatch(/for Stable Diffusion XL/);
    expect(file.tables.map(({ slot, width }) => [slot, width])).toEqual([
      [1, 768],
      [2, 1280],
    ]);
  });

  it.each(['zxstyle', 'zxneg', 'zx-toy-file', 'xlstyle', 'xlneg'])('%s, as the library writes it', async (name) => {
    const file = await openEmbedding(folderTree(`test/golden/models/${name}`));
    expect(file.stem).toBe(name);
    // vectors are 0.8 times normal draws
    const all = file.tables.flatMap(({ values }) => [...values]);
    const deviation = Math.sqrt(all.reduce((sum, value) => sum + value * value, 0) / all.length);
    expect(deviation).toBeGreaterThan(0.6);
    expect(deviation).toBeLessThan(1);
  });

  it.each([
    ['https://example.org/a%20b/my%20style_v1.3.safetensors', 'my style_v1.3'],
    ['https://example.org/100%.safetensors', '100%'],
    ['folder/zx.pt.safetensors', 'zx.pt'],
    ['100%25.safetensors', '100%25'],
  ])('the stem of %s', async (name, stem) => expect((await open({ emb_params: f32([1, 4]) }, name)).stem).toBe(stem));
});

describe('fits', () => {
  const one = (width: number): Promise<EmbeddingFile> => open({ emb_params: f32([2, width]) });
  const xl = (): Promise<EmbeddingFile> => open({ clip_l: f32([2, 768]), clip_g: f32([2, 1280]) });
  const sd1 = [{ slot: 1, width: 768 }] as const;
  const sd2 = [{ slot: 1, width: 1024 }] as const;
  const sdxl = [...sd1, { slot: 2, width: 1280 }] as const;

  it('gives each encoder its vectors', async () => {
    const file = await xl();
    const vectors = vectorsFor(file, sdxl, 'xl');
    expect([...vectors.keys()]).toEqual([1, 2]);
    expect(vectors.get(2)).toEqual(file.tables[1]?.values);
    expect(vectorsFor(await one(768), sd1, 'sd').get(1)).toHaveLength(2 * 768);
    expect(vectorsFor(await one(1024), sd2, 'sd').get(1)).toHaveLength(2 * 1024);
  });

  it.each([
    ['SD 2 on SD 1', () => one(1024), sd1, [/Stable Diffusion 2/, /of 1024/, /takes 768/]],
    ['SD 1 on SD 2', () => one(768), sd2, [/Stable Diffusion 1/, /of 768/, /takes 1024/]],
    ['SD 1 on SDXL', () => one(768), sdxl, [/"emb_params" of 768/, /1 takes 768 and text encoder 2 takes 1280/]],
    ['SDXL on SD 1', xl, sd1, [/Stable Diffusion XL/, /"clip_l" of 768 and "clip_g" of 1280/, /takes 768/]],
    ['half of SDXL', () => open({ clip_g: f32([2, 1280]) }), sdxl, [/"clip_g" of 1280/]],
    ['a tiny one', () => one(32), sd1, [/of 32/]],
  ] as const)('%s does not', async (_, file, encoders, patterns) => {
    const opened = await file();
    const problem = await problemOf(() => vectorsFor(opened, encoders, 'dreams'));
    expect(problem).toMatchObject({ code: 'incompatibleEmbedding', parameter: 'embeddings' });
    for (const pattern of [/zx\.safetensors/, /dreams/, ...patterns]) expect(problem.message).toMatch(pattern);
  });
});

describe('refusals', () => {
  it.each([
    ['no vector', { emb_params: f32([0, 768]) }, /\[0, 768\]/],
    ['no numbers', { emb_params: f32([2, 0]) }, /\[2, 0\]/],
    ['a scalar', { emb_params: f32([]) }, /is \[\]/],
    ['too many', { emb_params: f32([76, 8]) }, /\[76, 8\].*1 to 75/],
    ['too wide', { clip_l: f32([1, 8193]), clip_g: f32([1, 8]) }, /1 to 8192/],
    ['rank 3', { emb_params: f32([1, 2, 768]) }, /\[1, 2, 768\]/],
    ['rank 3 of SDXL', { clip_l: f32([1, 2, 8]), clip_g: f32([2, 8]) }, /"clip_l" is \[1, 2, 8\]/],
    ['unequal counts', { clip_l: f32([2, 8]), clip_g: f32([3, 8]) }, /clip_l has 2, clip_g has 3/],
    ['two in one', { 'string_to_param.a': f32([8]), 'string_to_param.b': f32([8]) }, /holds 2 embeddings/],
    ['NaN', { emb_params: f32([1, 3], [0, NaN, 0]) }, /holds NaN at place 1/],
    ['infinity', { '<x>': f32([3], [0, 0, -Infinity]) }, /holds -Infinity at place 2/],
    ['whole numbers', { emb_params: { dtype: 'I32', shape: [1, 1], bytes: new Uint8Array(4) } }, /dtype I32/],
  ] as const)('%s', async (_, tensors, message) => {
    const problem = await problemOf(() => open(tensors));
    expect(problem).toMatchObject({ code: 'invalidModelFile' });
    expect(problem.message).toMatch(message);
  });

  it.each([
    ['a LoRA', { 'lora_unet_mid_block_attentions_0_proj_in.lora_down.weight': f32([4, 8]) }, /a LoRA/],
    ['a ControlNet', { 'controlnet_cond_embedding.conv_in.weight': f32([1, 1, 1, 1]) }, /a ControlNet/],
    ['a layer', { 'linear.weight': f32([4, 8]) }, /not a textual inversion embedding/],
    ['several words', { '<a>': f32([8]), '<b>': f32([8]) }, /not a textual inversion embedding/],
    ['nothing', {}, /not a textual inversion embedding/],
  ] as const)('%s is something else', async (_, tensors, message) => {
    const problem = await problemOf(() => open(tensors));
    expect(problem).toMatchObject({ code: 'unsupportedModel', parameter: 'embeddings' });
    expect(problem.message).toMatch(message);
  });

  it.each([
    ['a zip (.pt)', utf8('PK\x03\x04 and more'), 'pickleRefused'],
    ['a pickle', Uint8Array.of(0x80, 2, 0x7d, 0x71, 0, 0, 0, 0, 0), 'pickleRefused'],
    ['a web page', utf8('<!doctype html><title>Not found</title>'), 'invalidModelFile'],
    ['empty', new Uint8Array(), 'invalidModelFile'],
    ['cut short', safetensors({ emb_params: f32([2, 8]) }).slice(0, -4), 'invalidModelFile'],
    ['a header of 2^40 bytes', concat([Uint8Array.of(0, 0, 0, 0, 0, 1, 0, 0), utf8('{}')]), 'invalidModelFile'],
    ['a header that is no JSON', withHeader('{"emb_params": '), 'invalidModelFile'],
  ])('%s', async (_, bytes, code) => {
    expect(await problemOf(() => readEmbedding(memorySource('zx.pt', bytes)))).toMatchObject({ code });
  });

  it('reads nothing of a table that is too large', async () => {
    const bytes = safetensors({ emb_params: f32([100, 4096]) });
    const inner = memorySource('zx.safetensors', bytes);
    let read = 0;
    const source: ByteSource = {
      ...inner,
      read: (start, end, ...rest) => {
        read += end - start;
        return inner.read(start, end, ...rest);
      },
    };
    expect(await problemOf(() => readEmbedding(source))).toMatchObject({ code: 'invalidModelFile' });
    expect(read).toBeLessThan(1000);
  });

  it('hands on an abort', async () => {
    const source = memorySource('zx.safetensors', safetensors({ emb_params: f32([1, 4]) }));
    const signal = AbortSignal.abort();
    expect(await problemOf(() => readEmbedding(source, { signal }))).toMatchObject({ code: 'aborted' });
  });
});

describe('the file of a tree', () => {
  const bytes = safetensors({ emb_params: f32([1, 4]) });
  const page = utf8('<!doctype html><title>Not found</title>');
  const unlisted = (tree: FileTree): FileTree => ({ name: tree.name, open: (path) => tree.open(path) });

  it.each([
    ['named like its folder', memoryTree('a/zx', { 'zx.safetensors': bytes, 'other.safetensors': page }), 'zx'],
    [
      "diffusers' name",
      memoryTree('a/zx', { 'learned_embeds.safetensors': bytes, 'x.safetensors': page }),
      'learned_embeds',
    ],
    [
      'the only one',
      memoryTree('a/zx', { 'readme.md': page, 'Other.SafeTensors': bytes, 'old/x.safetensors': page }),
      'Other',
    ],
    [
      'given itself',
      { ...memoryTree('a', { 'b.safetensors': bytes, 'c.safetensors': page }), file: 'b.safetensors' },
      'b',
    ],
    ['over a URL', unlisted(memoryTree('https://x.org/zx/', { 'zx.safetensors': bytes })), 'zx'],
    [
      "over a URL, diffusers' name, beside a page",
      unlisted(memoryTree('https://x.org/zx', { 'zx.safetensors': page, 'learned_embeds.safetensors': bytes })),
      'learned_embeds',
    ],
    [
      'the address itself',
      {
        ...unlisted(memoryTree('https://x.org/zx', {})),
        asFile: { ...memoryTree('https://x.org', { zx: bytes }), file: 'zx' },
      },
      'zx',
    ],
  ] as const)('%s', async (_, tree, stem) => expect((await openEmbedding(tree)).stem).toBe(stem));

  it.each([
    [
      'several',
      memoryTree('zxs', { 'a.safetensors': bytes, 'b.safetensors': bytes }),
      'unsupportedModel',
      /2 .safetensors files \(a/,
    ],
    ['none', memoryTree('zx', { 'readme.md': page }), 'missingModelFile', /zx has no file of an embedding/],
    [
      'a page',
      { ...memoryTree('a', { 'b.safetensors': page }), file: 'b.safetensors' },
      'missingModelFile',
      /web page/,
    ],
    ['a pickle alone', memoryTree('zx', { 'zx.pt': utf8('PK\x03\x04 and more') }), 'pickleRefused', /zx\.pt/],
  ] as const)('%s is refused', async (_, tree, code, message) => {
    const problem = await problemOf(() => openEmbedding(tree));
    expect(problem).toMatchObject({ code });
    expect(problem.message).toMatch(message);
  });
});
