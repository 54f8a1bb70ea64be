/** @file What a .safetensors file is: real checkpoints, add-ons as the training tools write them, and files for other programs. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { detectFile, type FileContents } from '../../../src/models/detect.js';
import type { CheckpointFamily } from '../../../src/models/checkpoint-families.js';

type Shapes = Readonly<Record<string, readonly number[]>>;
const read = (path: string): unknown => JSON.parse(readFileSync(new URL(`../../golden/${path}`, import.meta.url), 'utf8'));

function detect(shapes: Shapes, metadata: Readonly<Record<string, string>> = {}): FileContents {
  const tensors = new Map(Object.entries(shapes).map(([name, shape]) => [name, { shape }]));
  return detectFile({ tensors, metadata: new Map(Object.entries(metadata)) });
}

describe('checkpoints', () => {
  it.each([
    ['sd15', 'sd1'],
    ['sd21', 'sd2'],
    ['sdxl', 'sdxl'],
    ['sdxl-refiner', 'sdxl-refiner'],
  ] as const)('%s', (name, family) => {
    const { tensors } = read(`published/ldm/${name}.json`) as { readonly tensors: Shapes };
    const expected = { kind: 'checkpoint', family, inChannels: 4, prediction: undefined, zeroTerminalSnr: false, hasVae: true };
    expect(detect(tensors)).toEqual(expected);
    const without = Object.fromEntries(Object.entries(tensors).filter(([key]) => !key.startsWith('first_stage_model.')));
    expect(detect(without)).toEqual({ ...expected, hasVae: false });
  });

  it('whose text encoder was saved by an old transformers (no "text_model")', () => {
    const { tensors } = read('published/ldm/sd15.json') as { readonly tensors: Shapes };
    const old = Object.fromEntries(Object.entries(tensors).map(([name, shape]) => [name.replace('.text_model.', '.'), shape]));
    expect(detect(old)).toMatchObject({ kind: 'checkpoint', family: 'sd1' });
  });
});

describe('files that training tools and converters write', () => {
  const { files } = read('headers/addons.json') as {
    readonly files: Readonly<Record<string, { readonly tensors: Shapes; readonly metadata: Readonly<Record<string, string>> }>>;
  };
  /** By the name of the golden model, which says what its maker is; the detector does not see it. */
  const expected = (path: string): string => {
    if (/^(lora|locon|loha|lokr|dora)-/.test(path) || /^(flux|hidream)-lora/.test(path)) return 'lora';
    if (/controlnet/.test(path)) return 'controlnet';
    if (/^(xlneg|xlstyle|zx)/.test(path)) return 'embedding';
    if (/^vae|\/ae\./.test(path)) return 'vae';
    return /\/(clip_l|t5xxl)/.test(path) ? 'textEncoder' : 'other';
  };

  it.each(Object.keys(files))('%s', (path) => {
    const file = files[path];
    const found = detect(file?.tensors ?? {}, file?.metadata);
    expect(found.kind).toBe(expected(path));
    if (path.startsWith('flux') && found.kind === 'lora') expect(found).toMatchObject({ what: 'a LoRA for FLUX.1' });
  });
});

describe('the family of an add-on shows in the width of the text states', () => {
  const K = 'down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k';
  const widths: readonly (readonly [number, CheckpointFamily])[] = [
    [768, 'sd1'],
    [1024, 'sd2'],
    [1280, 'sdxl-refiner'],
    [2048, 'sdxl'],
  ];
  it.each(widths)('%i: %s', (width, family) => {
    const of = (shapes: Shapes): unknown => {
      const found = detect(shapes);
      return found.kind === 'checkpoint' ? undefined : [found.kind, found.family];
    };
    expect(of({ [`lora_unet_${K}.lora_down.weight`]: [16, width] })).toEqual(['lora', family]);
    const peft = 'unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k';
    expect(of({ [`${peft}.lora_A.weight`]: [16, width] })).toEqual(['lora', family]);
    expect(of({ [`${peft}.lora.down.weight`]: [16, width] })).toEqual(['lora', family]);
    const net = 'input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight';
    const hint = 'input_hint_block.0.weight';
    expect(of({ [`control_model.${net}`]: [640, width], [`control_model.${hint}`]: [16, 3, 3, 3] })).toEqual(['controlnet', family]);
  });

  it('or in names and vectors', () => {
    expect(detect({ lora_te2_text_model_x: [1], 'a.lora_up.weight': [1] }).kind).toBe('lora');
    expect(detect({ clip_l: [2, 768], clip_g: [2, 1280] })).toMatchObject({ kind: 'embedding', family: 'sdxl' });
    expect(detect({ emb_params: [3, 768] })).toMatchObject({ kind: 'embedding', family: 'sd1' });
    expect(detect({ 'string_to_param.*': [3, 1024] })).toMatchObject({ kind: 'embedding', family: 'sd2' });
    expect(detect({ '<cat-toy>': [768] })).toMatchObject({ kind: 'embedding', family: 'sd1' });
  });
});

it.each<readonly [string, Shapes, string]>([
  ['SD 3', { 'model.diffusion_model.joint_blocks.0.context_block.attn.qkv.weight': [1, 1] }, 'Stable Diffusion 3'],
  ['AnimateDiff', { 'down_blocks.0.motion_modules.0.temporal_transformer.norm.weight': [1] }, 'motion module'],
  ['a CLIP image encoder', { 'vision_model.encoder.layers.0.layer_norm1.weight': [1] }, 'image encoder'],
  ['ESRGAN', { 'model.0.weight': [64, 3, 3, 3] }, 'upscaler'],
  ['IP-Adapter', { 'image_proj.proj.weight': [1, 1] }, 'IP-Adapter'],
  ['a UNet of diffusers', { 'down_blocks.0.resnets.0.time_emb_proj.weight': [1, 1] }, 'UNet alone'],
  ['a video model', { 'model.diffusion_model.input_blocks.0.0.weight': [320, 8, 3, 3], 'model.diffusion_model.input_blocks.1.1.time_stack.0.norm1.weight': [1] }, 'video'],
  ['nothing', {}, 'without any weights that are known'],
  ['something', { 'a.weight': [1] }, 'without any weights that are known'],
])('%s', (_, shapes, what) => {
  const found = detect(shapes);
  expect(found.kind).not.toBe('checkpoint');
  expect(found).toHaveProperty('what', expect.stringContaining(what));
});
