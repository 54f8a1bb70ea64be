/** @file The layouts of diffusers folders, old and new: nearly the internal names themselves. */
import { sameShape, withoutKernel, type WeightLayout } from './layout.js';

/** A UNet2DConditionModel: every file since the first diffusers release uses today's names. */
export const UNET_LAYOUT: WeightLayout = { places: (internal) => [{ name: internal }], shape: sameShape };

const TEXT_MODEL = 'text_model.';

/** A CLIP text encoder: published files put `text_model.` before every name, transformers 5 writes none; either may be asked for. */
export const CLIP_TEXT_LAYOUT: WeightLayout = {
  places: (internal) => {
    const other = internal.startsWith(TEXT_MODEL) ? internal.slice(TEXT_MODEL.length) : TEXT_MODEL + internal;
    return [{ name: internal }, { name: other }];
  },
  shape: sameShape,
};

/** Attention weights of an AutoencoderKL: today's names → those of diffusers' former `AttentionBlock`. */
const OLD_ATTENTION = new Map([
  ['to_q', 'query'],
  ['to_k', 'key'],
  ['to_v', 'value'],
  ['to_out.0', 'proj_attn'],
]);
const ATTENTION = /^(.*\.attentions\.\d+\.)(to_q|to_k|to_v|to_out\.0)\.(weight|bias)$/;

/** An AutoencoderKL: old files say query/key/value/proj_attn, and some store those matrices as 1×1 convolutions `[out, in, 1, 1]`. */
export const AUTOENCODER_LAYOUT: WeightLayout = {
  places: (internal) => {
    const [, block, now, kind] = ATTENTION.exec(internal) ?? [];
    const old = OLD_ATTENTION.get(now ?? '');
    return [{ name: internal }, ...(old === undefined ? [] : [{ name: `${block}${old}.${kind}` }])];
  },
  shape: (internal, stored) => (ATTENTION.test(internal) ? withoutKernel(stored) : stored),
};
