/** @file ControlNet configs: what the published files say, hostile ones, other classes; which model a net fits; the original layout's names. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { DarkroomError } from '../../../src/base/errors.js';
import { controlNetMisfit, parseControlNetConfig } from '../../../src/models/configs/controlnet.js';
import { parseUNetConfig } from '../../../src/models/configs/unet.js';
import { ldmControlNetLayout, readLdmControlNetBlocks } from '../../../src/models/layouts/ldm-controlnet.js';

type Json = Readonly<Record<string, unknown>>;
const GOLDEN = new URL('../../golden/', import.meta.url);
const readJson = (path: string): Json => JSON.parse(readFileSync(new URL(path, GOLDEN), 'utf8')) as Json;
const published = (name: string): Json => readJson(`published/${name}.json`)['config'] as Json;

function problemOf(json: unknown): string {
  try {
    parseControlNetConfig(json, 'edges/config.json');
  } catch (error) {
    if (error instanceof DarkroomError) return `${error.code}: ${error.message}`;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('a ControlNet’s config', () => {
  it('is the UNet’s first half and the guide’s embedding', () => {
    const sd = parseControlNetConfig(published('sd15-controlnet'));
    expect(sd).toMatchObject({
      conditioningChannels: 3,
      channelOrder: 'rgb',
      hintChannels: [16, 32, 96, 256],
      globalPool: false,
      heads: [8, 8, 8, 8],
      crossAttentionDim: [768, 768, 768, 768],
      blockOutChannels: [320, 640, 1280, 1280],
      timeEmbeddingDim: 1280,
      addition: undefined,
      timeCondProjDim: undefined,
    });
    const xl = parseControlNetConfig(published('sdxl-controlnet'));
    expect(xl).toMatchObject({
      heads: [5, 10, 20],
      transformerLayersPerBlock: [1, 2, 10],
      addition: { timeDim: 256, inputDim: 2816 },
    });
  });

  it('has diffusers’ defaults: an empty one is Stable Diffusion’s with text states 1280 wide', () => {
    const empty = parseControlNetConfig({});
    expect(empty.crossAttentionDim).toEqual([1280, 1280, 1280, 1280]);
    const sd = parseControlNetConfig({ ...published('sd15-controlnet'), cross_attention_dim: 1280 });
    expect(empty).toEqual(sd);
  });

  it('ignores what only UNets have', () => {
    const sd = published('sd15-controlnet');
    const more = { conv_in_kernel: 5, time_cond_proj_dim: 256, time_embedding_dim: 7, up_block_types: ['?'], sample_size: -1 };
    expect(parseControlNetConfig({ ...sd, ...more })).toEqual(parseControlNetConfig(sd));
  });

  it('may pool its residuals, want BGR, and have no transformer blocks at some levels', () => {
    const json = {
      ...published('sdxl-controlnet'),
      global_pool_conditions: true,
      controlnet_conditioning_channel_order: 'bgr',
      transformer_layers_per_block: [0, 0, 1],
    };
    expect(parseControlNetConfig(json)).toMatchObject({
      globalPool: true,
      channelOrder: 'bgr',
      transformerLayersPerBlock: [0, 0, 1],
    });
  });

  it.each<[string, unknown, RegExp]>([
    ['no object', [], /^invalidModelConfig: edges\/config\.json: expected a JSON object/],
    ['nothing', null, /^invalidModelConfig/],
    ['a class that is no text', { _class_name: 7 }, /^invalidModelConfig.*_class_name/],
    ['a UNet', { _class_name: 'UNet2DConditionModel' }, /^unsupportedModel.*"UNet2DConditionModel"; expected a ControlNetModel/],
    ['a union net', { _class_name: 'ControlNetUnionModel' }, /^unsupportedModel.*a union ControlNet/],
    ['a FLUX net', { _class_name: 'FluxControlNetModel' }, /^unsupportedModel.*FLUX\.1/],
    ['a T2I-Adapter', { _class_name: 'T2IAdapter' }, /^unsupportedModel.*a T2I-Adapter/],
    ['colours in another order', { controlnet_conditioning_channel_order: 'grb' }, /^invalidModelConfig.*one of rgb, bgr, got "grb"/],
    ['a guide halved twice', { conditioning_embedding_out_channels: [16, 32, 96] }, /^invalidModelConfig.*list of 4/],
    ['widths that are none', { conditioning_embedding_out_channels: [16, 32, -1, 2] }, /^invalidModelConfig.*\[2\]/],
    ['pooling that is no truth', { global_pool_conditions: 'yes' }, /^invalidModelConfig.*true or false/],
    ['a guide of four channels', { conditioning_channels: 4 }, /^invalidModelConfig.*conditioning_channels/],
    ['depths of another length', { transformer_layers_per_block: [1, 1] }, /^invalidModelConfig.*list of 4/],
    ['a negative depth', { transformer_layers_per_block: [1, 1, 1, -1] }, /^invalidModelConfig.*\[3\]/],
    ['block types in no list', { down_block_types: 'DownBlock2D' }, /^invalidModelConfig.*down_block_types/],
    ['unknown block types', { down_block_types: ['A', 'B', 'C', 'D'] }, /^unsupportedModel.*"A"/],
    ['too few block types', { down_block_types: ['DownBlock2D'] }, /^invalidModelConfig.*down_block_types/],
    ['class conditioning', { class_embed_type: 'timestep' }, /^unsupportedModel.*class conditioning/],
    ['heads that do not divide', { attention_head_dim: 7 }, /^invalidModelConfig.*7 heads/],
  ])('refuses %s', (_, json, message) => {
    expect(problemOf(json)).toMatch(message);
  });
});

describe('which model a ControlNet fits', () => {
  const sd = parseControlNetConfig(published('sd15-controlnet'));
  const xl = parseControlNetConfig(published('sdxl-controlnet'));
  const unet = (name: string) => parseUNetConfig(published(name));

  it('its own, with any way of guidance', () => {
    expect(controlNetMisfit(sd, unet('sd15-unet'))).toBeUndefined();
    expect(controlNetMisfit(sd, unet('sd15-lcm-unet'))).toBeUndefined();
    expect(controlNetMisfit(xl, unet('sdxl-unet'))).toBeUndefined();
  });

  it('an inpainting model too: the net sees the latents alone', () => {
    expect(controlNetMisfit(sd, parseUNetConfig({ ...published('sd15-unet'), in_channels: 9 }))).toBeUndefined();
  });

  it.each([
    [sd, 'sdxl-unet', 'is for Stable Diffusion 1, the model is Stable Diffusion XL'],
    [sd, 'sd21-unet', 'is for Stable Diffusion 1, the model is Stable Diffusion 2'],
    [xl, 'sd15-unet', 'is for Stable Diffusion XL, the model is Stable Diffusion 1'],
    [xl, 'sdxl-refiner-unet', 'is for Stable Diffusion XL, the model is Stable Diffusion XL refiner'],
  ] as const)('not another family’s', (control, name, misfit) => {
    expect(controlNetMisfit(control, unet(name))).toBe(misfit);
  });

  it.each<[string, Json, string]>([
    ['text states of nobody', { cross_attention_dim: 32 }, 'is for a model with text states 32 wide'],
    ['added conditions', { addition_embed_type: 'text_time', addition_time_embed_dim: 8, projection_class_embeddings_input_dim: 88 }, 'reads added conditions 88 wide, the model no added conditions'],
    ['more latents', { in_channels: 16 }, 'reads 16 channels of latents, the model makes 4'],
    ['other widths', { block_out_channels: [320, 640, 1280, 640] }, 'has levels of 320, 640, 1280, 640 channels'],
    ['fewer layers', { layers_per_block: 1 }, 'has another number of layers'],
  ])('not one with %s', (_, change, misfit) => {
    const other = parseControlNetConfig({ ...published('sd15-controlnet'), ...change });
    expect(controlNetMisfit(other, unet('sd15-unet'))).toContain(misfit);
  });
});

/** The header of a safetensors file. */
function namesIn(path: string): readonly string[] {
  const bytes = readFileSync(new URL(path, GOLDEN));
  const header = bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE(0))).toString();
  return Object.keys(JSON.parse(header) as Json).filter((name) => name !== '__metadata__');
}

describe('the original layout', () => {
  const PREFIX = 'control_model.';
  const stored = namesIn('models/controlnet-single/controlnet-single.safetensors').map((name) => name.slice(PREFIX.length));
  const internal = namesIn('models/controlnet-sd15-edges/diffusion_pytorch_model.safetensors');

  it('is read from names', () => {
    expect(readLdmControlNetBlocks(stored)).toEqual({ levels: 4, layers: 2, lastHint: 14 });
    expect(readLdmControlNetBlocks(stored.filter((name) => !name.startsWith('input_hint_block')))).toBeUndefined();
    expect(readLdmControlNetBlocks(stored.filter((name) => !name.startsWith('input_blocks.11')))).toBeUndefined();
    expect(readLdmControlNetBlocks(internal)).toBeUndefined();
  });

  it('has one place for every weight, and no weight without', () => {
    const layout = ldmControlNetLayout({ levels: 4, layers: 2, lastHint: 14 });
    const places = internal.map((name) => layout.places(name).map((place) => place.name));
    expect(places.every((names) => names.length === 1)).toBe(true);
    expect(places.flat().sort()).toEqual([...stored].sort());
  });

  it('is numbered as in cldm.py', () => {
    const layout = ldmControlNetLayout({ levels: 3, layers: 2, lastHint: 14 });
    const place = (name: string): unknown => layout.places(name).map((found) => found.name);
    expect(place('controlnet_cond_embedding.conv_in.weight')).toEqual(['input_hint_block.0.weight']);
    expect(place('controlnet_cond_embedding.blocks.0.bias')).toEqual(['input_hint_block.2.bias']);
    expect(place('controlnet_cond_embedding.blocks.5.weight')).toEqual(['input_hint_block.12.weight']);
    expect(place('controlnet_cond_embedding.conv_out.bias')).toEqual(['input_hint_block.14.bias']);
    expect(place('controlnet_down_blocks.8.weight')).toEqual(['zero_convs.8.0.weight']);
    expect(place('controlnet_mid_block.bias')).toEqual(['middle_block_out.0.bias']);
    expect(place('add_embedding.linear_1.weight')).toEqual(['label_emb.0.0.weight']);
    expect(place('controlnet_other.0.weight')).toEqual([]);
  });
});
