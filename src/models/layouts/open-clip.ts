/** @file A text encoder in OpenCLIP's layout (Stable Diffusion 2, XL's second encoder, the refiner): github.com/mlfoundations/open_clip, `transformer.py`. */
import { sameShape, type WeightLayout, type WeightPlace } from './layout.js';

const TOP = new Map<string, readonly WeightPlace[]>([
  ['embeddings.token_embedding.weight', [{ name: 'token_embedding.weight' }]],
  ['embeddings.position_embedding.weight', [{ name: 'positional_embedding' }]],
  ['final_layer_norm.weight', [{ name: 'ln_final.weight' }]],
  ['final_layer_norm.bias', [{ name: 'ln_final.bias' }]],
  // x @ P there, P being [hidden, projection]; a few files hold a linear layer's [projection, hidden]
  ['text_projection.weight', [{ name: 'text_projection', transposed: true }, { name: 'text_projection.weight' }]],
]);

const LAYER = new Map([
  ['layer_norm1', 'ln_1'],
  ['layer_norm2', 'ln_2'],
  ['mlp.fc1', 'mlp.c_fc'],
  ['mlp.fc2', 'mlp.c_proj'],
  ['self_attn.out_proj', 'attn.out_proj'],
]);

/** q, k and v are one matrix there, in this order (torch's MultiheadAttention). */
const PACKED = ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'];

const IN_LAYER = /^encoder\.layers\.(\d+)\.(.+)\.(weight|bias)$/;

/** Without prefix. */
export const OPEN_CLIP_LAYOUT: WeightLayout = {
  places: (internal) => {
    const name = internal.replace(/^text_model\./, '');
    const top = TOP.get(name);
    if (top !== undefined) return top;
    const [, index, layer = '', leaf] = IN_LAYER.exec(name) ?? [];
    if (index === undefined) return [];
    const block = `transformer.resblocks.${index}`;
    const part = PACKED.indexOf(layer);
    if (part >= 0) return [{ name: `${block}.attn.in_proj_${leaf}`, part: { index: part, of: PACKED.length } }];
    const stored = LAYER.get(layer);
    return stored === undefined ? [] : [{ name: `${block}.${stored}.${leaf}` }];
  },
  shape: sameShape,
};
