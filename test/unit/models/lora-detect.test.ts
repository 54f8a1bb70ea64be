/** @file Which files are LoRAs, and for which family, where only names and widths tell: every format and naming. */
import { describe, expect, it } from 'vitest';
import { detectFile, type FileContents } from '../../../src/models/detect.js';

function detect(shapes: Readonly<Record<string, readonly number[]>>): FileContents {
  const tensors = new Map(Object.entries(shapes).map(([name, shape]) => [name, { shape }]));
  return detectFile({ tensors, metadata: new Map() });
}

const WIDTHS = [
  [768, 'sd1'],
  [1024, 'sd2'],
  [2048, 'sdxl'],
] as const;
const K = 'down_blocks.1.attentions.0.transformer_blocks.0.attn2';

describe.each(WIDTHS)('text states %i wide: %s', (width, family) => {
  it.each([
    [`lora_unet_${K.replaceAll('.', '_')}_to_k.lora_down.weight`, [4, width]],
    ['lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_v.lora_down.weight', [4, width]],
    [`lycoris_${K.replaceAll('.', '_')}_to_k.hada_w1_b`, [4, width]],
    [`lora_unet_${K.replaceAll('.', '_')}_to_v.diff`, [640, width]],
    [`unet.${K}.to_k.lora_A.weight`, [4, width]],
    [`base_model.model.${K}.to_k.lora_A.default.weight`, [4, width]],
    [`unet.${K}.to_k.lora_linear_layer.down.weight`, [4, width]],
    [`unet.${K}.to_k.lora.down.weight`, [4, width]],
    [`${K}.processor.to_v_lora.down.weight`, [4, width]],
    [`unet.${K}.to_k.diff`, [640, width]],
  ])('%s', (name, shape) => {
    expect(detect({ [name]: shape })).toMatchObject({ kind: 'lora', family });
  });
});

it.each([
  [
    'lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.lokr_w1',
    "kohya writes the original code's names for XL alone",
  ],
  ['lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight', 'and numbers its text encoders'],
  ['lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight', 'and numbers its text encoders'],
  [
    'lycoris_mid_block_attentions_0_transformer_blocks_3_attn1_to_q.lokr_w1',
    'only XL has levels of several transformer blocks',
  ],
  ['text_encoder_2.text_model.encoder.layers.0.mlp.fc1.lora_A.weight', 'only XL has a second text encoder'],
])('%s: %s', (name) => {
  expect(detect({ [name]: [4, 4] })).toMatchObject({
    kind: 'lora',
    family: 'sdxl',
    what: 'a LoRA for Stable Diffusion XL',
  });
});

it.each([
  'lycoris_down_blocks_0_resnets_0_norm1.w_norm',
  'lora_unet_conv_in.diff_b',
  'diffusion_model.input_blocks.0.0.diff',
])('%s is in a LoRA file, of no family that shows', (name) => {
  const found = detect({ [name]: [4] });
  expect(found).toMatchObject({ kind: 'lora', what: 'a LoRA' });
  expect(found).not.toHaveProperty('family');
});
