/** @file Addresses in FLUX.1 LoRA files of kohya's scripts, diffusers, peft and XLabs: every one has its layers, of the heights of its matrices. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { createFluxAddressBook } from '../../../src/models/lora/flux-addresses.js';

type Shapes = Readonly<Record<string, readonly number[]>>;
const readJson = (path: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../golden/${path}`, import.meta.url), 'utf8'));

const { files } = readJson('headers/addons.json') as { readonly files: Readonly<Record<string, { readonly tensors: Shapes }>> };
const { tensors: shapes } = readJson('published/flux-dev.json') as { readonly tensors: Shapes };
const modules = Object.keys(shapes).map((name) => name.replace(/\.(weight|bias)$/, ''));
const find = createFluxAddressBook(modules);

/** The golden models are 64 wide, with MLPs of 256; the published one has 3072 and 12288. */
const WIDTH = 64;
const heightOf = (module: string): number => {
  const height = shapes[`${module}.weight`]?.[0] ?? NaN;
  return height === 64 ? height : (height / 3072) * WIDTH;
};

const UP = /\.(lora_up|lora_B|up)\.weight$/;
const loras = Object.entries(files).filter(([path]) => path.startsWith('flux-lora'));

describe.each(loras)('%s', (_, { tensors }) => {
  const ups = Object.entries(tensors).filter(([name]) => UP.test(name) && !/^(lora_te|text_encoder)/.test(name));

  it('names layers, whose rows make up its matrices', () => {
    expect(ups.length).toBeGreaterThan(7);
    for (const [name, [height = NaN]] of ups) {
      const targets = find(name.replace(UP, '')) ?? [];
      const rows = targets.map(({ module, part }) => ({ height: heightOf(module), part }));
      expect(rows.reduce((sum, row) => sum + row.height, 0), name).toBe(height);
      for (const { height: own, part } of rows) {
        expect(((part?.count ?? 1) / (part?.of ?? 1)) * height, name).toBe(own);
      }
      // in the order of the rows
      expect(targets.map(({ part }) => part?.index ?? 0)).toEqual(targets.map((__, i) => i));
    }
  });
});

it('there are five golden files', () => {
  expect(loras).toHaveLength(5);
});

describe('fused matrices', () => {
  it('are q, k, v, and in single blocks the MLP', () => {
    const attn = 'transformer_blocks.3.attn.';
    expect(find('lora_unet_double_blocks_3_txt_attn_qkv')).toEqual([
      { module: `${attn}add_q_proj`, part: { index: 0, of: 3 } },
      { module: `${attn}add_k_proj`, part: { index: 1, of: 3 } },
      { module: `${attn}add_v_proj`, part: { index: 2, of: 3 } },
    ]);
    const single = 'single_transformer_blocks.37.';
    expect(find('diffusion_model.single_blocks.37.linear1')).toEqual([
      { module: `${single}attn.to_q`, part: { index: 0, of: 7, count: 1 } },
      { module: `${single}attn.to_k`, part: { index: 1, of: 7, count: 1 } },
      { module: `${single}attn.to_v`, part: { index: 2, of: 7, count: 1 } },
      { module: `${single}proj_mlp`, part: { index: 3, of: 7, count: 4 } },
    ]);
    expect(find('single_blocks.0.processor.qkv_lora')?.map(({ part }) => part)).toEqual([0, 1, 2].map((index) => ({ index, of: 3 })));
    expect(find('single_blocks.0.processor.proj_lora')).toEqual([{ module: 'single_transformer_blocks.0.proj_out' }]);
  });

  it('and the last modulation has its halves swapped, in the original’s names alone', () => {
    expect(find('lora_unet_final_layer_adaLN_modulation_1')).toEqual([{ module: 'norm_out.linear', swapped: true }]);
    expect(find('transformer.norm_out.linear')).toEqual([{ module: 'norm_out.linear' }]);
  });
});

it.each(['lora_unet_double_blocks_19_img_attn_qkv', 'lora_unet_', '', 'transformer.', 'double_blocks.0', 'lora_te1_text_model'])(
  'knows no layer "%s"',
  (address) => {
    expect(find(address)).toBeUndefined();
  },
);

it('takes prefixes off, also two', () => {
  const found = find('transformer_blocks.0.attn.to_out.0');
  expect(found).toEqual([{ module: 'transformer_blocks.0.attn.to_out.0' }]);
  expect(find('base_model.model.transformer.transformer_blocks.0.attn.to_out.0')).toEqual(found);
  expect(find('base_model.model.transformer_blocks.0.attn.to_out.0')).toEqual(found);
  expect(find('lora_transformer_transformer_blocks_0_attn_to_out_0')).toEqual(found);
});
