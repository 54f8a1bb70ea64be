/**
 * @file Single files at the size of the published models, by their headers alone: what they are is found, and the configs that follow from
 * their shapes are the published ones.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { ModelFiles } from '../../../src/assets/model-files.js';
import {
  openModelFiles,
  openVaeFiles,
  stableDiffusion,
  type OpenModelOptions,
} from '../../../src/assets/open-model.js';
import type { ByteSource, FileTree } from '../../../src/assets/source.js';
import { memorySource } from '../../../src/assets/byte-source.js';
import type { WeightFile } from '../../../src/assets/weights.js';
import { elementCount } from '../../../src/base/dtype.js';
import { parseAutoencoderKLConfig } from '../../../src/models/configs/autoencoder-kl.js';
import { parseClipTextConfig } from '../../../src/models/configs/clip-text.js';
import { parseUNetConfig } from '../../../src/models/configs/unet.js';
import { createClipTokenizer } from '../../../src/text/clip-tokenizer.js';
import { folderTree, problemOf } from './support.js';

type Shapes = Readonly<Record<string, readonly number[]>>;
const json = (path: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../golden/published/${path}.json`, import.meta.url), 'utf8'));
const checkpoint = (name: string): Shapes => (json(`ldm/${name}`) as { readonly tensors: Shapes }).tensors;
const published = (name: string): { readonly config: unknown; readonly tensors: Shapes } =>
  json(name) as { readonly config: unknown; readonly tensors: Shapes };

/** A float16 file of these tensors that has only its header; its name says nothing. */
function headerOnly(shapes: Shapes, metadata: Readonly<Record<string, string>> = {}): ByteSource {
  let at = 0;
  const entries = Object.entries(shapes).map(([name, shape]) => {
    const start = at;
    at += 2 * elementCount(shape);
    return [name, { dtype: 'F16', shape, data_offsets: [start, at] }];
  });
  const text = new TextEncoder().encode(JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(entries) }));
  const head = new Uint8Array(8 + text.length);
  new DataView(head.buffer).setBigUint64(0, BigInt(text.length), true);
  head.set(text, 8);
  return { ...memorySource('f', head), size: head.length + at };
}

function treeOf(shapes: Shapes, metadata?: Readonly<Record<string, string>>): FileTree {
  const source = headerOnly(shapes, metadata);
  return {
    name: 'm',
    file: 'f',
    open: (path) => Promise.resolve(path === 'f' ? source : undefined),
  };
}

/** Published weights that are not found in their published shape. */
function wrongShapes(weights: WeightFile, expected: Shapes): readonly string[] {
  return Object.keys(expected).filter((name) => weights.find(name)?.shape.join() !== expected[name]?.join());
}

const clipTokenizer = folderTree('models/clip-tokenizer');
const open = async (
  shapes: Shapes,
  metadata?: Readonly<Record<string, string>>,
  options: OpenModelOptions = {},
): Promise<ModelFiles> =>
  stableDiffusion(await openModelFiles(treeOf(shapes, metadata), { clipTokenizer, ...options }));

describe.each([
  ['sd15', 'sd', 'sd15-unet', 'sd-vae', ['clip-l']],
  ['sd21', 'sd', 'sd21-unet', 'sd-vae', ['clip-h']],
  ['sdxl', 'sdxl', 'sdxl-unet', 'sdxl-vae', ['clip-l', 'clip-g']],
  ['sdxl-refiner', 'sdxl-refiner', 'sdxl-refiner-unet', 'sdxl-vae', ['clip-g']],
] as const)('%s', (name, architecture, unet, vae, encoders) => {
  const opened = open(checkpoint(name));

  it('is recognised', async () => expect((await opened).architecture).toBe(architecture));

  it('has the published UNet, config and weights', async () => {
    const { config, open: openWeights } = (await opened).unet;
    expect(parseUNetConfig(config)).toEqual(parseUNetConfig(published(unet).config));
    expect(wrongShapes(await openWeights(), published(unet).tensors)).toEqual([]);
  });

  it('has the published VAE, config and weights', async () => {
    const { config, open: openWeights } = (await opened).vae;
    expect(parseAutoencoderKLConfig(config)).toEqual(parseAutoencoderKLConfig(published(vae).config));
    expect(wrongShapes(await openWeights(), published(vae).tensors)).toEqual([]);
  });

  it('has the published text encoders, config and weights', async () => {
    const files = (await opened).encoders;
    expect(files).toHaveLength(encoders.length);
    for (const [i, encoder] of files.entries()) {
      const expected = published(encoders[i] ?? '');
      // The lists were made by a transformers that writes the real end token; the published config.json files have the legacy 2,
      // which says the same for this vocabulary. An encoder without projection has no use for its width.
      const projection = encoder.slot === 2 ? {} : { projectionDim: 512 };
      const wanted = { ...parseClipTextConfig(expected.config), eosTokenId: 2, ...projection };
      expect(parseClipTextConfig(encoder.config)).toEqual(wanted);
      expect(wrongShapes(await encoder.open(), expected.tensors)).toEqual([]);
    }
  });

  it('gets CLIP’s tokenizer, padded as the encoder was trained', async () => {
    const pads = (await opened).encoders.map(({ tokenizer }) => createClipTokenizer(tokenizer).pad);
    expect(pads).toEqual(encoders.map((encoder) => (encoder === 'clip-l' ? 49407 : 0)));
  });
});

describe('what shapes do not tell', () => {
  const prediction = async (...args: Parameters<typeof open>): Promise<unknown> => (await open(...args)).scheduler;
  const V = { prediction_type: 'v_prediction' };
  const [sd15, sd21, sdxl] = [checkpoint('sd15'), checkpoint('sd21'), checkpoint('sdxl')];

  it('SD 1: the published scheduler, which says no spacing', async () => {
    const scheduler = await prediction(sd15);
    expect(scheduler).toMatchObject({ _class_name: 'PNDMScheduler', steps_offset: 1, beta_end: 0.012 });
    expect(scheduler).not.toHaveProperty('timestep_spacing');
    expect(scheduler).not.toHaveProperty('prediction_type');
  });

  it('SD 2: v unless the metadata or the caller says otherwise', async () => {
    expect(await prediction(sd21)).toMatchObject({ _class_name: 'DDIMScheduler', ...V });
    const epsilon = { _class_name: 'PNDMScheduler', prediction_type: 'epsilon' };
    expect(await prediction(sd21, { 'modelspec.prediction_type': 'epsilon' })).toMatchObject(epsilon);
    expect(await prediction(sd21, { 'modelspec.architecture': 'stable-diffusion-v2-512' })).toMatchObject(epsilon);
    expect(await prediction(sd21, {}, { predictionType: 'epsilon' })).toMatchObject(epsilon);
    const size = async (...args: Parameters<typeof open>): Promise<unknown> =>
      parseUNetConfig((await open(...args)).unet.config).sampleSize;
    expect(await size(sd21)).toBe(96);
    expect(await size(sd21, {}, { predictionType: 'epsilon' })).toBe(64);
  });

  it('SDXL: epsilon unless a marker says v, with or without zero terminal SNR', async () => {
    expect(await prediction(sdxl)).toMatchObject({ prediction_type: 'epsilon', timestep_spacing: 'leading' });
    expect(await prediction({ ...sdxl, v_pred: [0] })).toMatchObject({ ...V, timestep_spacing: 'leading' });
    const zero = { ...V, rescale_betas_zero_snr: true, timestep_spacing: 'trailing' };
    expect(await prediction({ ...sdxl, v_pred: [0], ztsnr: [0] })).toMatchObject(zero);
    expect(await prediction(sdxl, { 'modelspec.prediction_type': 'v' })).toMatchObject(V);
    const told = await open({ ...sdxl, v_pred: [0] }, {}, { predictionType: 'epsilon' });
    expect(told.scheduler).toMatchObject({ prediction_type: 'epsilon' });
  });

  it('flags of the pipelines', async () => {
    const flags = async (shapes: Shapes): Promise<readonly boolean[]> => {
      const { forceZerosForEmptyPrompt, requiresAestheticsScore } = await open(shapes);
      return [forceZerosForEmptyPrompt, requiresAestheticsScore];
    };
    expect(await flags(sd15)).toEqual([false, false]);
    expect(await flags(sdxl)).toEqual([true, false]);
    expect(await flags(checkpoint('sdxl-refiner'))).toEqual([false, true]);
  });

  it('a guidance embedding makes it a latent consistency model', async () => {
    const lcm = { ...sd15, 'model.diffusion_model.time_embed.cond_proj.weight': [320, 256] };
    const files = await open(lcm);
    expect(parseUNetConfig(files.unet.config)).toEqual(parseUNetConfig(published('sd15-lcm-unet').config));
    expect(files.scheduler).toMatchObject({ _class_name: 'LCMScheduler' });
  });

  it('an inpainting UNet has nine input channels', async () => {
    const files = await open({ ...sd15, 'model.diffusion_model.input_blocks.0.0.weight': [320, 9, 3, 3] });
    expect(parseUNetConfig(files.unet.config).inChannels).toBe(9);
  });

  it('a VAE file is scaled for the model that it is used with', async () => {
    const prefix = 'first_stage_model.';
    const vae = Object.fromEntries(
      Object.entries(sd15).flatMap(([name, shape]) =>
        name.startsWith(prefix) ? [[name.slice(prefix.length), shape]] : [],
      ),
    );
    const scaling = async (shapes: Shapes, architecture: 'sd' | 'sdxl'): Promise<number> =>
      parseAutoencoderKLConfig((await openVaeFiles(treeOf(shapes), architecture)).config).scalingFactor;
    expect(await scaling(vae, 'sd')).toBe(0.18215);
    expect(await scaling(vae, 'sdxl')).toBe(0.13025);
    expect(await scaling(published('sd-vae').tensors, 'sd')).toBe(0.18215);
  });
});

describe('what is refused', () => {
  const sd15 = checkpoint('sd15');
  const sdxl = checkpoint('sdxl');
  const without = (shapes: Shapes, gone: RegExp): Shapes =>
    Object.fromEntries(Object.entries(shapes).filter(([name]) => !gone.test(name)));
  const problem = async (shapes: Shapes, options: OpenModelOptions = {}): Promise<string> => {
    const { code, message } = await problemOf(() => open(shapes, {}, options));
    return `${code}: ${message}`;
  };
  const IN = 'model.diffusion_model.input_blocks.0.0.weight';

  it.each([
    [8, 'InstructPix2Pix'],
    [5, 'depth model'],
    [7, 'upscaling'],
    [13, '13 input channels'],
  ])('a UNet of %i input channels', async (channels, what) => {
    expect(await problem({ ...sd15, [IN]: [320, channels, 3, 3] })).toMatch(new RegExp(`^unsupportedModel: .*${what}`));
  });

  it('parts that are missing', async () => {
    expect(await problem(without(sd15, /^first_stage_model/))).toMatch(/^invalidModelFile: .*no VAE/);
    expect(await problem(without(sd15, /^cond_stage_model/))).toMatch(/^unsupportedModel: .*without its text encoder/);
    expect(await problem(without(sdxl, /label_emb/))).toMatch(/^invalidModelFile: .*added conditions/);
    expect(await problem(without(sd15, /input_blocks\.6\.0\.op/))).toMatch(
      /^unsupportedModel: .*levels of unequal length/,
    );
    expect(await problem(without(sd15, /transformer_blocks/))).toMatch(/^invalidModelFile: .*no attention to the text/);
  });

  it('distilled UNets with an irregular depth (SSD-1B)', async () => {
    const shallow = without(sdxl, /output_blocks\.2\.1\.transformer_blocks\.[4-9]\./);
    expect(await problem(shallow)).toMatch(/^unsupportedModel: .*level 2 has 10, 10 .* 10, 10, 4 on the way up/);
  });

  it('other noise levels', async () => {
    expect(await problem({ ...sdxl, edm_mean: [4], edm_std: [4] })).toMatch(/^unsupportedModel: .*EDM/);
    expect(await problem({ ...sdxl, 'edm_vpred.sigma_max': [] })).toMatch(/^unsupportedModel: .*EDM/);
  });

  it('a vocabulary that is not CLIP’s, and one that is not at hand', async () => {
    const table = 'cond_stage_model.transformer.text_model.embeddings.token_embedding.weight';
    expect(await problem({ ...sd15, [table]: [1029, 768] })).toMatch(/^missingModelFile: .*1029 tokens/);
    expect(await problem(sd15, { clipTokenizer: undefined })).toMatch(/^missingModelFile: .*without a tokenizer/);
  });
});
