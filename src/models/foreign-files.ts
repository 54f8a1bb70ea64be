/** @file Files that are not checkpoints of Stable Diffusion, each known by a name that only it has; for messages that help. Data only. */
import type { OtherFile } from './detect.js';

const NOT_HERE = 'It cannot be run here.';
const AS_MODEL = 'Use it as model.';
const AS_VAE = 'Use it as vae, with a model.';
const IN_FOLDER = 'It is one part of a model: use the whole diffusers folder, or the full checkpoint.';

/** In this order: the first whose mark is in the file. */
export const FOREIGN_FILES: readonly { readonly has: RegExp; readonly file: OtherFile }[] = [
  other(/(^|\.)double_stream_modulation_img\./, 'a FLUX.2 transformer', NOT_HERE),
  other(/(^|\.)double_blocks\.0\.(img_attn|img_mod)/, 'a FLUX.1 transformer', AS_MODEL),
  other(/(^|\.)single_transformer_blocks\.0\.attn\.to_q/, 'a FLUX.1 transformer (diffusers names)', AS_MODEL),
  other(/(^|\.)joint_blocks\.0\./, 'a Stable Diffusion 3 transformer', NOT_HERE),
  other(/(^|\.)double_stream_blocks\.0\./, 'a HiDream transformer', NOT_HERE),
  other(/(^|\.)noise_refiner\.0\./, 'a Z-Image or Lumina transformer', NOT_HERE),
  other(/(^|\.)double_layers\.0\./, 'an AuraFlow transformer', NOT_HERE),
  other(/(^|\.)clip_txt_mapper\.|(^|\.)clip_txt_pooled_mapper\./, 'a Stable Cascade model', NOT_HERE),
  other(/(^|\.)motion_modules\.0\./, 'a motion module (AnimateDiff)', NOT_HERE),
  other(/^(image_proj|ip_adapter)\./, 'an IP-Adapter', NOT_HERE),
  other(/^(adapter\.)?body\.0\.(resnets|block1|in_conv)/, 'a T2I-Adapter', NOT_HERE),
  other(/(^|\.)vision_model\.encoder\.layers\.0\./, 'a CLIP image encoder', NOT_HERE),
  other(/^(conv_first|model\.0|body\.0\.rdb1\.conv1)\.weight$/, 'an upscaler (ESRGAN)', NOT_HERE),
  {
    has: /^(down_blocks\.0\.resnets\.0\.time_emb_proj|input_blocks\.1\.0\.emb_layers\.1)\.weight$/,
    file: { kind: 'unet', what: 'a UNet alone', hint: IN_FOLDER },
  },
  {
    has: /^(first_stage_model\.)?decoder\.(mid\.block_1\.|mid_block\.resnets\.0\.)/,
    file: { kind: 'vae', what: 'a VAE', hint: AS_VAE },
  },
  { has: /^decoder\.layers\.0\.weight$/, file: { kind: 'vae', what: 'a tiny VAE (TAESD)', hint: AS_VAE } },
  {
    has: /(^|\.)encoder\.block\.0\.layer\.0\.SelfAttention\./,
    file: { kind: 'textEncoder', what: 'a T5 text encoder', hint: IN_FOLDER },
  },
  {
    has: /(^|\.)text_model\.encoder\.layers\.0\.|^encoder\.layers\.0\.self_attn\.q_proj|(^|\.)transformer\.resblocks\.0\./,
    file: { kind: 'textEncoder', what: 'a CLIP text encoder', hint: IN_FOLDER },
  },
  {
    has: /^model\.layers\.0\.self_attn\.q_proj\./,
    file: { kind: 'textEncoder', what: 'a language model (Llama, Qwen and the like)', hint: IN_FOLDER },
  },
];

function other(has: RegExp, what: string, hint: string): { readonly has: RegExp; readonly file: OtherFile } {
  return { has, file: { kind: 'other', what, hint } };
}
