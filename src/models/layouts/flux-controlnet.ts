/**
 * @file A ControlNet for FLUX.1 in the layout of XLabs' code (github.com/XLabs-AI/x-flux, `src/flux/controlnet.py`): the original names of the
 * transformer's layers, and what is its own.
 */
import { FLUX_LAYOUT } from './flux.js';
import { sameShape, type WeightLayout } from './layout.js';
import { hintIndex } from './ldm-controlnet.js';

/** Index of the last of eight convolutions of the guide's embedding. */
const LAST_HINT = 14;

const OWN = /^(?:(controlnet_x_embedder)|input_hint_block\.(.+)|(controlnet_blocks\.\d+))\.(weight|bias)$/;

/** Without prefix. */
export const XLABS_CONTROLNET_LAYOUT: WeightLayout = {
  places(internal) {
    const [, embedder, hint, residual, leaf] = OWN.exec(internal) ?? [];
    if (embedder !== undefined) return [{ name: `pos_embed_input.${leaf}` }];
    if (hint !== undefined) return [{ name: `input_hint_block.${hintIndex(hint, LAST_HINT)}.${leaf}` }];
    return residual === undefined ? FLUX_LAYOUT.places(internal) : [{ name: internal }];
  },
  shape: sameShape,
};

/** Whether names are those of such a file: no other has these two. */
export function isXLabsControlNet(tensors: { has(name: string): boolean }): boolean {
  return tensors.has('pos_embed_input.weight') && tensors.has('double_blocks.0.img_attn.qkv.weight');
}
