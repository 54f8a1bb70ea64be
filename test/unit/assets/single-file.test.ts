/** @file Single-file checkpoints: every tensor equals that of the diffusers folder it was made from; configs beside it; what else a file can be. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { memorySource } from '../../../src/assets/byte-source.js';
import { filesTree, memoryTree } from '../../../src/assets/file-tree.js';
import type { ComponentFiles, ModelFiles } from '../../../src/assets/model-files.js';
import { openModelFiles, openVaeFiles, stableDiffusion } from '../../../src/assets/open-model.js';
import type { FileTree } from '../../../src/assets/source.js';
import { urlTree, type HttpDeps } from '../../../src/assets/url-tree.js';
import { viewWeights, type WeightFile } from '../../../src/assets/weights.js';
import { OPEN_CLIP_LAYOUT } from '../../../src/models/layouts/open-clip.js';
import { folderTree } from '../../../scripts/lib/folder-tree.js';
import { problemOf, safetensors, utf8, type Stored } from './support.js';

const GOLDEN = new URL('../../golden/models/', import.meta.url);
const golden = (name: string): FileTree => folderTree(new URL(name, GOLDEN).pathname);
const bytesOf = (path: string): Uint8Array => new Uint8Array(readFileSync(new URL(path, GOLDEN)));

/** The names of old diffusers files, in today's form. */
const today = (name: string): string =>
  name
    .replace(/\.query\.(?=weight|bias)/, '.to_q.')
    .replace(/\.key\.(?=weight|bias)/, '.to_k.')
    .replace(/\.value\.(?=weight|bias)/, '.to_v.')
    .replace(/\.proj_attn\.(?=weight|bias)/, '.to_out.0.');

/** Tensors of the folder that the single file has too, equal in shape and in every value; and the names of those that differ. */
async function compare(
  single: ComponentFiles,
  folder: ComponentFiles,
): Promise<{ equal: number; different: readonly string[] }> {
  const [one, many] = await Promise.all([single.open(), folder.open()]);
  const different: string[] = [];
  let equal = 0;
  for (const name of [...many.tensors.keys()].map(today)) {
    const [a, b] = [one.find(name), many.find(name)];
    const same =
      a !== undefined &&
      b !== undefined &&
      a.shape.join() === b.shape.join() &&
      Buffer.from((await one.read(name, 'float32')).buffer).equals(
        Buffer.from((await many.read(name, 'float32')).slice().buffer),
      );
    if (same) equal++;
    else different.push(name);
  }
  return { equal, different };
}

/** The counts are those of the conversion proved with diffusers' own functions when the files were made. */
describe.each([
  ['sd15-single-bf16-junk', 'sd15-tiny', { unet: 684, vae: 244, encoders: [68] }],
  ['sd2v-single', 'sd2v-tiny', { unet: 684, vae: 244, encoders: [68] }],
  ['sdxl-single', 'sdxl-tiny', { unet: 618, vae: 244, encoders: [68, 69] }],
])('%s', (name, folderName, counts) => {
  const both = async (): Promise<readonly [ModelFiles, ModelFiles]> => [
    stableDiffusion(await openModelFiles(golden(name))),
    stableDiffusion(await openModelFiles(golden(folderName))),
  ];

  it('holds the weights of the folder, tensor by tensor', async () => {
    const [single, folder] = await both();
    const all = (n: number): unknown => ({ equal: n, different: [] });
    expect(await compare(single.unet, folder.unet)).toEqual(all(counts.unet));
    expect(await compare(single.vae, folder.vae)).toEqual(all(counts.vae));
    expect(single.encoders.map(({ slot }) => slot)).toEqual(folder.encoders.map(({ slot }) => slot));
    for (const [i, encoder] of single.encoders.entries()) {
      expect(await compare(encoder, folder.encoders[i] ?? encoder)).toEqual(all(counts.encoders[i] ?? 0));
    }
  });

  it('takes configs, tokenizers and flags from config/', async () => {
    const [single, folder] = await both();
    const told = (files: ModelFiles): unknown => ({
      architecture: files.architecture,
      configs: [files.unet, files.vae, ...files.encoders].map(({ config }) => config),
      vocabularies: files.encoders.map(({ tokenizer }) => tokenizer.vocabulary),
      scheduler: files.scheduler,
      flags: [files.forceZerosForEmptyPrompt, files.requiresAestheticsScore],
    });
    expect(told(single)).toEqual(told(folder));
  });
});

describe('a packed and a transposed tensor', () => {
  it('are read in pieces: rows of q, k and v, and no more bytes than theirs', async () => {
    const files = stableDiffusion(await openModelFiles(golden('sdxl-single')));
    const weights = await files.encoders[1]?.open();
    let bytes = 0;
    const q = await weights?.read('text_model.encoder.layers.0.self_attn.k_proj.weight', 'float32', undefined, (n) => {
      bytes += n;
    });
    expect(q?.length).toBe(48 * 48);
    expect(bytes).toBe(48 * 48 * 2); // bf16
    expect(weights?.find('text_projection.weight')).toMatchObject({ shape: [40, 48], transposed: true });
  });

  it('must have a shape that allows it', () => {
    const source = memorySource('f', new Uint8Array());
    const weights = (name: string, shape: readonly number[]): WeightFile =>
      viewWeights('f', new Map([[name, { dtype: 'F32', shape, start: 0, end: 0, source }]]), OPEN_CLIP_LAYOUT);
    const packed = 'transformer.resblocks.0.attn.in_proj_weight';
    const k = (shape: readonly number[]): unknown =>
      weights(packed, shape).find('text_model.encoder.layers.0.self_attn.k_proj.weight');
    expect(k([6, 2])).toMatchObject({ shape: [2, 2] });
    for (const shape of [[7, 2], []])
      expect(() => k(shape)).toThrow(`"${packed}" is [${shape.join(', ')}]; 3 equal parts`);
    const projection = (shape: readonly number[]): unknown =>
      weights('text_projection', shape).find('text_projection.weight');
    expect(projection([2, 3])).toMatchObject({ shape: [3, 2], transposed: true });
    for (const shape of [[2], [1, 2, 3]]) expect(() => projection(shape)).toThrow('a matrix was expected');
  });
});

describe('where the file is', () => {
  const SINGLE = 'sd15-single-bf16-junk';
  const file = bytesOf(`${SINGLE}/${SINGLE}.safetensors`);
  const configs = ['model_index.json', 'unet/config.json', 'vae/config.json', 'text_encoder/config.json']
    .concat(['scheduler/scheduler_config.json', 'tokenizer/vocab.json', 'tokenizer/merges.txt'])
    .map((path) => [`config/${path}`, bytesOf(`${SINGLE}/config/${path}`)] as const);
  const open = async (tree: FileTree): Promise<string> => (await openModelFiles(tree)).architecture;

  it('a folder in memory or picked, whatever the file is called', async () => {
    const files = { ...Object.fromEntries(configs), 'other name.safetensors': file };
    expect(await open(memoryTree('m', files))).toBe('sd');
    const picked = Object.entries(files).map(([path, bytes]) => ({
      path: `a/b/${path}`,
      file: new Blob([bytes.slice()]),
    }));
    expect(await open(filesTree('picked', picked))).toBe('sd');
  });

  it('a file on disk, with config/ beside it', async () => {
    const path = new URL(`${SINGLE}/${SINGLE}.safetensors`, GOLDEN).pathname;
    const tree = folderTree(path);
    expect(tree.file).toBe(`${SINGLE}.safetensors`);
    expect(await open(tree)).toBe('sd');
  });

  const server = (paths: ReadonlyMap<string, Uint8Array>, asked: string[] = []): HttpDeps => ({
    fetch: (url) => {
      const { pathname, search } = new URL(url instanceof Request ? url.url : url);
      asked.push(pathname + search);
      const bytes = paths.get(pathname);
      return Promise.resolve(bytes ? new Response(bytes.slice()) : new Response('', { status: 404 }));
    },
  });
  const at = (prefix: string, main: string): ReadonlyMap<string, Uint8Array> =>
    new Map([...configs.map(([path, bytes]) => [prefix + path, bytes] as const), [prefix + main, file]]);

  it.each([
    ['the file’s own', 'https://h/x/dreams.safetensors?token=1', 'dreams.safetensors'],
    ['the folder’s, where the file is named like it', 'https://h/x?token=1', 'x.safetensors'],
  ])('a URL: %s', async (_, url, main) => {
    const asked: string[] = [];
    expect(await open(urlTree(url, server(at('/x/', main), asked)))).toBe('sd');
    expect(asked.every((address) => address.endsWith('?token=1'))).toBe(true);
  });

  it('a URL without a telling name', async () => {
    const deps = server(at('/api/download/', '128713'));
    expect(await open(urlTree('https://h/api/download/128713', deps))).toBe('sd');
  });

  it('a URL where nothing is', async () => {
    const deps = server(new Map());
    const folder = await problemOf(() => open(urlTree('https://h/x', deps)));
    expect(folder).toMatchObject({ code: 'missingModelFile', message: 'https://h/x has no model_index.json.' });
    const missing = await problemOf(() => open(urlTree('https://h/x/y.safetensors', deps)));
    expect(missing.code).toBe('missingModelFile');
    expect(missing.message).toContain('https://h/x has no y.safetensors');
  });

  it('several files are one too many, unless one is named like the folder', async () => {
    const two = { 'a.safetensors': file, 'b.safetensors': file, ...Object.fromEntries(configs) };
    const problem = await problemOf(() => open(memoryTree('m', two)));
    expect(problem).toMatchObject({ code: 'unsupportedModel' });
    expect(problem.message).toContain('a.safetensors, b.safetensors');
    expect(await open(memoryTree('m', { ...two, 'M.safetensors': file }))).toBe('sd');
  });

  it('configs of another kind of model are refused', async () => {
    const index = { 'config/model_index.json': bytesOf('sdxl-tiny/model_index.json') };
    const files = { ...Object.fromEntries(configs), 'm.safetensors': file, ...index };
    const problem = await problemOf(() => open(memoryTree('m', files)));
    expect(problem.code).toBe('invalidModelConfig');
    expect(problem.message).toContain('Stable Diffusion 1 checkpoint');
  });

  it('without config/, a vocabulary of its own is asked for', async () => {
    const problem = await problemOf(() => open(memoryTree('m', { 'm.safetensors': file })));
    expect(['missingModelFile', 'invalidModelFile']).toContain(problem.code);
    expect(problem.hint).toContain('config/model_index.json');
  });

  it('pickles, pages and torn files say what they are', async () => {
    const code = async (name: string, bytes: Uint8Array): Promise<string> =>
      (await problemOf(() => open(memoryTree('m', { [name]: bytes })))).code;
    expect(await code('m.ckpt', utf8('PK\x03\x04'))).toBe('pickleRefused');
    expect(await code('m.safetensors', utf8('PK\x03\x04 a zip renamed'))).toBe('pickleRefused');
    expect(await code('m.safetensors', utf8('<!doctype html>'))).toBe('missingModelFile');
    expect(await code('m.safetensors', file.subarray(0, 90_000))).toBe('invalidModelFile');
    const torn = await problemOf(() => open(memoryTree('m', { 'm.safetensors': file.subarray(0, -5) })));
    expect(torn.message).toContain('cut short');
  });

  it('stops when aborted', async () => {
    const tree = memoryTree('m', { 'm.safetensors': file });
    const problem = await problemOf(() => openModelFiles(tree, { signal: AbortSignal.abort() }));
    expect(problem.code).toBe('aborted');
  });

  it('a prediction type that is asked for wins over the config’s', async () => {
    const files = await openModelFiles(golden('sd2v-single'), { predictionType: 'epsilon' });
    expect(files.scheduler).toMatchObject({ prediction_type: 'epsilon', _class_name: 'DDIMScheduler' });
  });
});

describe('a VAE by itself', () => {
  it('equals the folder it was made from', async () => {
    const [single, folder] = await Promise.all([
      openVaeFiles(golden('vae-single'), 'sd'),
      openVaeFiles(golden('vae-sd15-b'), 'sd'),
    ]);
    expect(await compare(single, folder)).toEqual({ equal: 244, different: [] });
    expect(single.config).toEqual(folder.config);
  });

  it('may be inside a checkpoint or a model’s folder', async () => {
    const parts = ['sdxl-single', 'sdxl-tiny'].map((name) => openVaeFiles(golden(name), 'sdxl'));
    const [single, folder] = await Promise.all(parts);
    if (single === undefined || folder === undefined) throw new Error('two were opened');
    expect(await compare(single, folder)).toEqual({ equal: 244, different: [] });
    expect(single.config).toEqual(folder.config);
  });

  it('is not a model, and a model’s UNet is not a VAE', async () => {
    const model = await problemOf(() => openModelFiles(golden('vae-single')));
    expect(model).toMatchObject({ code: 'unsupportedModel', parameter: 'model', hint: 'Use it as vae, with a model.' });
    const unet = safetensors({ 'input_blocks.1.0.emb_layers.1.weight': EMPTY });
    const vae = await problemOf(() => openVaeFiles(memoryTree('m', { 'u.safetensors': unet }), 'sd'));
    expect(vae).toMatchObject({ code: 'unsupportedModel', parameter: 'vae' });
    expect(vae.message).toContain('a UNet alone');
  });
});

const EMPTY: Stored = { dtype: 'F16', shape: [0], bytes: new Uint8Array() };
