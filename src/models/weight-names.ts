/** @file How files name the weights: per layout, a map from the internal name (current diffusers) to the names a file may use. */

/** One component's layout. */
export interface WeightLayout {
  /** Names that a file may use for the weight `internal`, the likeliest first. */
  readonly names: (internal: string) => readonly string[];
  /** The shape `internal` has in the graphs, from its shape in a file; the bytes are the same. */
  readonly shape: (internal: string, stored: readonly number[]) => readonly number[];
}

const sameShape = (_internal: string, stored: readonly number[]): readonly number[] => stored;

/** A UNet2DConditionModel: every file since the first diffusers release uses today's names. */
export const UNET_LAYOUT: WeightLayout = { names: (internal) => [internal], shape: sameShape };

const TEXT_MODEL = 'text_model.';

/** A CLIP text encoder: published files put `text_model.` before every name, transformers 5 writes none; either may be asked for. */
export const CLIP_TEXT_LAYOUT: WeightLayout = {
  names: (internal) =>
    internal.startsWith(TEXT_MODEL)
      ? [internal, internal.slice(TEXT_MODEL.length)]
      : [internal, TEXT_MODEL + internal],
  shape: sameShape,
};

/** Attention weights of an AutoencoderKL: today's names → those of diffusers' former `AttentionBlock`. */
const OLD_ATTENTION = new Map([
  ['to_q', 'query'],
  ['to_k', 'key'],
  ['to_v', 'value'],
  ['to_out.0', 'proj_attn'],
]);
const VAE_ATTENTION = /^(.*\.attentions\.\d+\.)(to_q|to_k|to_v|to_out\.0)\.(weight|bias)$/;

/** An AutoencoderKL: old files say query/key/value/proj_attn, and some store those matrices as 1×1 convolutions `[out, in, 1, 1]`. */
export const AUTOENCODER_LAYOUT: WeightLayout = {
  names: (internal) => {
    const [, block, now, kind] = VAE_ATTENTION.exec(internal) ?? [];
    const old = OLD_ATTENTION.get(now ?? '');
    return old === undefined ? [internal] : [internal, `${block}${old}.${kind}`];
  },
  shape: (internal, stored) => {
    const [out, input, ...kernel] = stored;
    const pointwise = kernel.length === 2 && kernel.every((side) => side === 1);
    return pointwise && out !== undefined && input !== undefined && VAE_ATTENTION.test(internal) ? [out, input] : stored;
  },
};

/** True for what files carry besides weights: `position_ids` of old text encoders is 0, 1, 2, …. */
export function isJunkWeight(name: string): boolean {
  return name === 'position_ids' || name.endsWith('.position_ids');
}
