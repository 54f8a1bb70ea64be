/** @file The layouts of a T5 encoder: transformers' names, which are the internal ones, and those of GGUF files (github.com/ggml-org/llama.cpp, gguf-py/gguf/tensor_mapping.py). */
import { sameShape, type WeightLayout } from './layout.js';

const TOKENS = 'shared.weight';

const TOP = new Map([
  [TOKENS, 'token_embd.weight'],
  ['encoder.final_layer_norm.weight', 'enc.output_norm.weight'],
]);

const LAYER = new Map([
  ['layer.0.layer_norm', 'attn_norm'],
  ['layer.0.SelfAttention.q', 'attn_q'],
  ['layer.0.SelfAttention.k', 'attn_k'],
  ['layer.0.SelfAttention.v', 'attn_v'],
  ['layer.0.SelfAttention.o', 'attn_o'],
  ['layer.0.SelfAttention.relative_attention_bias', 'attn_rel_b'],
  ['layer.1.layer_norm', 'ffn_norm'],
  ['layer.1.DenseReluDense.wi_0', 'ffn_gate'],
  ['layer.1.DenseReluDense.wi_1', 'ffn_up'],
  ['layer.1.DenseReluDense.wo', 'ffn_down'],
]);

const BLOCK = /^encoder\.block\.(\d+)\.(.+)\.weight$/;

/** Without prefix. */
export const T5_LAYOUT: WeightLayout = {
  places: (internal) => {
    const [, index, layer = ''] = BLOCK.exec(internal) ?? [];
    const inBlock = LAYER.get(layer);
    const gguf = index === undefined || inBlock === undefined ? TOP.get(internal) : `enc.blk.${index}.${inBlock}.weight`;
    const names = [internal, ...(internal === TOKENS ? ['encoder.embed_tokens.weight'] : []), gguf];
    return names.flatMap((name) => (name === undefined ? [] : [{ name }]));
  },
  shape: sameShape,
};
