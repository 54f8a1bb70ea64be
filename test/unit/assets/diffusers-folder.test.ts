/** @file A diffusers folder: the bundled model whole, and made-up folders with each part missing, foreign or broken. */
import { describe, expect, it } from 'vitest';
import { readDiffusersFolder } from '../../../src/assets/diffusers-folder.js';
import { memoryTree } from '../../../src/assets/file-tree.js';
import { stableDiffusion } from '../../../src/assets/open-model.js';
import type { ModelFiles } from '../../../src/assets/model-files.js';
import { folderTree, problemOf, utf8 } from './support.js';

const index = {
  _class_name: 'StableDiffusionPipeline',
  _diffusers_version: '0.6.0',
  safety_checker: [null, null],
  requires_safety_checker: false,
  scheduler: ['diffusers', 'PNDMScheduler'],
  text_encoder: ['transformers', 'CLIPTextModel'],
  tokenizer: ['transformers', 'CLIPTokenizer'],
  unet: ['diffusers', 'UNet2DConditionModel'],
  vae: ['diffusers', 'AutoencoderKL'],
};
const contents: Readonly<Record<string, string>> = {
  'model_index.json': JSON.stringify(index),
  'unet/config.json': '{"in_channels": 4}',
  'vae/config.json': '{"latent_channels": 4}',
  'text_encoder/config.json': '{"hidden_size": 8}',
  'scheduler/scheduler_config.json': '{"lambda_min_clipped": -Infinity}',
  'tokenizer/vocab.json': '{"a": 0}',
  'tokenizer/merges.txt': '#version: 0.2\n',
};
const PAGE = '<!doctype html>';

/** The folder of `contents` with changes; `undefined` removes a file. */
const read = async (changes: Readonly<Record<string, string | undefined>> = {}): Promise<ModelFiles> => {
  const files = Object.entries({ ...contents, ...changes }).flatMap(([path, text]) =>
    text === undefined ? [] : [[path, utf8(text)] as const],
  );
  return stableDiffusion(await readDiffusersFolder(memoryTree('m', Object.fromEntries(files))));
};
const withIndex = (changes: Readonly<Record<string, unknown>>) =>
  read({ 'model_index.json': JSON.stringify({ ...index, ...changes }) });

describe('readDiffusersFolder', () => {
  it('reads the bundled model', async () => {
    const folder = stableDiffusion(await readDiffusersFolder(folderTree('models/tinyworld')));
    expect(folder).toMatchObject({ architecture: 'sd', forceZerosForEmptyPrompt: false });
    expect(folder.card?.air).toBe('darkroom:1@1');
    const [encoder, ...more] = folder.encoders;
    expect(more).toEqual([]);
    expect(folder.unet.config).toMatchObject({ _class_name: 'UNet2DConditionModel', in_channels: 4 });
    expect(folder.vae.config).toMatchObject({ _class_name: 'AutoencoderKL' });
    expect(encoder?.config).toMatchObject({ model_type: 'clip_text_model' });
    expect(folder.scheduler).toMatchObject({ beta_schedule: 'scaled_linear' });
    expect(encoder?.tokenizer.vocabulary.kind).toBe('vocab');
    expect((await folder.unet.open()).find('conv_in.weight')?.shape[1]).toBe(4);
    expect((await folder.vae.open()).find('decoder.conv_out.weight')?.shape[0]).toBe(3);
    expect((await encoder?.open())?.find('text_model.final_layer_norm.weight')?.shape).toHaveLength(1);
  });

  it('returns configs as they are, and does without what is optional', async () => {
    const folder = await read();
    expect(folder.card).toBeUndefined();
    expect(folder.scheduler).toEqual({ lambda_min_clipped: -Infinity });
    expect(folder.encoders.map(({ slot }) => slot)).toEqual([1]);
    expect(folder.encoders[0]?.tokenizer).toEqual({
      name: 'm/tokenizer',
      vocabulary: { kind: 'vocab', vocab: { a: 0 }, merges: '#version: 0.2\n' },
      config: undefined,
      specialTokens: undefined,
    });
  });

  it('takes both text encoders of Stable Diffusion XL, and only the second of its refiner', async () => {
    const second = {
      'text_encoder_2/config.json': '{"hidden_size": 9}',
      'tokenizer_2/vocab.json': '{"b": 0}',
      'tokenizer_2/merges.txt': '#version: 0.2\n',
    };
    const parts = {
      text_encoder_2: ['transformers', 'CLIPTextModelWithProjection'],
      tokenizer_2: ['transformers', 'CLIPTokenizer'],
    };
    const index2 = (changes: object) => ({
      ...second,
      'model_index.json': JSON.stringify({ ...index, ...parts, ...changes }),
    });
    const base = await read(index2({ _class_name: 'StableDiffusionXLPipeline' }));
    expect(base).toMatchObject({
      architecture: 'sdxl',
      forceZerosForEmptyPrompt: true,
      requiresAestheticsScore: false,
    });
    expect(base.encoders.map(({ slot, config }) => [slot, config])).toEqual([
      [1, { hidden_size: 8 }],
      [2, { hidden_size: 9 }],
    ]);
    const refiner = await read(
      index2({
        _class_name: 'StableDiffusionXLImg2ImgPipeline',
        text_encoder: [null, null],
        tokenizer: [null, null],
        force_zeros_for_empty_prompt: false,
        requires_aesthetics_score: true,
      }),
    );
    expect(refiner).toMatchObject({
      architecture: 'sdxl-refiner',
      forceZerosForEmptyPrompt: false,
      requiresAestheticsScore: true,
    });
    expect(refiner.encoders.map(({ slot }) => slot)).toEqual([2]);
  });

  it('takes FLUX.1: a transformer, CLIP, T5 with a tokenizer of its own', async () => {
    const json = {
      _class_name: 'FluxPipeline',
      scheduler: ['diffusers', 'FlowMatchEulerDiscreteScheduler'],
      text_encoder: ['transformers', 'CLIPTextModel'],
      text_encoder_2: ['transformers', 'T5EncoderModel'],
      tokenizer: ['transformers', 'CLIPTokenizer'],
      tokenizer_2: ['transformers', 'T5TokenizerFast'],
      transformer: ['diffusers', 'FluxTransformer2DModel'],
      vae: ['diffusers', 'AutoencoderKL'],
    };
    const flux: Readonly<Record<string, string>> = {
      ...contents,
      'model_index.json': JSON.stringify(json),
      'transformer/config.json': '{"num_layers": 2}',
      'text_encoder_2/config.json': '{"d_model": 4}',
      'tokenizer_2/tokenizer.json': '{"t5": true}',
    };
    const open = async (files: Readonly<Record<string, string>>): Promise<unknown> =>
      readDiffusersFolder(
        memoryTree('m', Object.fromEntries(Object.entries(files).map(([path, text]) => [path, utf8(text)]))),
      );
    expect(await open(flux)).toMatchObject({
      architecture: 'flux',
      transformer: { config: { num_layers: 2 } },
      clip: { slot: 1, config: { hidden_size: 8 }, tokenizer: { vocabulary: { kind: 'vocab' } } },
      t5: { config: { d_model: 4 }, tokenizer: { vocabulary: { kind: 'tokenizerJson', json: { t5: true } } } },
      vae: { config: { latent_channels: 4 } },
      scheduler: { lambda_min_clipped: -Infinity },
    });
    for (const part of ['transformer', 'text_encoder_2', 'tokenizer_2']) {
      const problem = await problemOf(() =>
        open({ ...flux, 'model_index.json': JSON.stringify({ ...json, [part]: [null, null] }) }),
      );
      expect(problem).toMatchObject({ code: 'invalidModelConfig' });
      expect(problem.message).toContain(part);
    }
    const other = JSON.stringify({ ...json, text_encoder_2: ['transformers', 'CLIPTextModelWithProjection'] });
    expect((await problemOf(() => open({ ...flux, 'model_index.json': other }))).code).toBe('unsupportedModel');
  });

  it('takes tokenizer.json where the two files are not both there', async () => {
    for (const missing of ['tokenizer/vocab.json', 'tokenizer/merges.txt']) {
      const { encoders } = await read({ [missing]: undefined, 'tokenizer/tokenizer.json': '{"model":1}' });
      expect(encoders[0]?.tokenizer.vocabulary).toEqual({ kind: 'tokenizerJson', json: { model: 1 } });
    }
    const paged = await read({
      'tokenizer/vocab.json': PAGE,
      'tokenizer/tokenizer.json': '{}',
      'tokenizer/tokenizer_config.json': PAGE,
    });
    expect(paged.encoders[0]?.tokenizer).toMatchObject({ vocabulary: { kind: 'tokenizerJson' }, config: undefined });
  });

  it('takes a page in place of an optional file for no file', async () => {
    expect((await read({ 'card.json': PAGE })).card).toBeUndefined();
  });

  it.each([...Object.keys(contents).filter((path) => !path.startsWith('tokenizer/'))])(
    'names a missing %s',
    async (path) => {
      const problem = await problemOf(() => read({ [path]: undefined }));
      expect(problem).toMatchObject({ code: 'missingModelFile', message: `m has no ${path}.` });
      expect(problem.hint).toContain('diffusers folder');
    },
  );

  it('names missing tokenizer files', async () => {
    const problem = await problemOf(() => read({ 'tokenizer/merges.txt': undefined }));
    expect(problem.code).toBe('missingModelFile');
    expect(problem.message).toContain('tokenizer/vocab.json');
    expect(problem.message).toContain('tokenizer/tokenizer.json');
  });

  it('names missing weights when they are opened', async () => {
    const folder = await read();
    expect((await problemOf(() => folder.vae.open())).message).toContain('vae/diffusion_pytorch_model.safetensors');
    expect((await problemOf(() => folder.encoders[0]?.open())).message).toContain('text_encoder/model.safetensors');
  });

  it.each([
    ['StableDiffusionXLInpaintPipeline', 'Stable Diffusion XL inpainting model'],
    ['StableDiffusion3Pipeline', 'Stable Diffusion 3'],
    ['StableDiffusionInpaintPipeline', 'inpainting'],
    ['FluxFillPipeline', 'FLUX.1 Fill'],
    ['Flux2KleinPipeline', 'FLUX.2'],
    ['HiDreamImagePipeline', 'HiDream'],
    ['SomethingNewPipeline', 'another kind of model'],
  ])('says what a %s is', async (name, what) => {
    const problem = await problemOf(() => withIndex({ _class_name: name }));
    expect(problem.code).toBe('unsupportedModel');
    expect(problem.message).toContain(name);
    expect(problem.message).toContain(what);
  });

  it('refuses other classes of parts, and parts left out', async () => {
    const other = await problemOf(() => withIndex({ vae: ['diffusers', 'VQModel'] }));
    expect(other).toMatchObject({ code: 'unsupportedModel' });
    expect(other.message).toContain('"vae" is of class "VQModel"; AutoencoderKL or AutoencoderTiny was expected');
    for (const value of [[null, null], undefined, 'UNet2DConditionModel', ['diffusers'], [1, 2]]) {
      expect((await problemOf(() => withIndex({ unet: value }))).code).toBe('invalidModelConfig');
    }
    expect((await problemOf(() => withIndex({ scheduler: undefined }))).message).toContain('"scheduler"');
  });

  it.each([
    ['model_index.json', '[]', 'expected a JSON object'],
    ['model_index.json', '{}', '"_class_name" must be a string'],
    ['model_index.json', PAGE, 'is an HTML page'],
    ['unet/config.json', '{"a":', 'm/unet/config.json is not valid JSON'],
    ['card.json', '{"air":"x"}', '"name"'],
    ['tokenizer/special_tokens_map.json', '{', 'special_tokens_map.json is not valid JSON'],
  ])('refuses a broken %s: %s', async (path, text, what) => {
    const problem = await problemOf(() => read({ [path]: text }));
    expect(problem.code).toBe('invalidModelConfig');
    expect(problem.message).toContain(what);
  });

  it('stops when aborted', async () => {
    expect((await problemOf(() => readDiffusersFolder(folderTree('models/tinyworld'), AbortSignal.abort()))).code).toBe(
      'aborted',
    );
  });
});
