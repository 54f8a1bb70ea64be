/**
 * @file CLIP's text encoder: token embeddings → hidden states that cross-attention reads.
 * Radford et al. 2021, §2.4 (https://arxiv.org/abs/2103.00020); transformers `modeling_clip.py`.
 */
import type { FloatType } from '../base/dtype.js';
import type { ClipTextConfig } from '../models/configs/clip-text.js';
import type { Dialect } from '../onnx/dialects/dialect.js';
import { writeGraph, type Net, type Tokens } from '../onnx/net.js';
import type { Graph } from '../onnx/types.js';

/** Row `id` of this weight is the embedding of token `id`; the caller looks the rows up (no table on the GPU). */
export const TOKEN_TABLE = 'text_model.embeddings.token_embedding.weight';

/** Input, and the output that skips the last `n` layers. */
export const CLIP_IO = {
  embeddings: 'inputs_embeds',
  hidden: (clipSkip: number) => `hidden_states.${clipSkip}`,
} as const;

export interface ClipTextShape {
  readonly batch: number;
  readonly tokens: number;
  /** Which outputs to make: `n` = final layer norm of the state `n` layers before the last (diffusers' `clip_skip`). */
  readonly clipSkips: readonly number[];
}

/** Input `inputs_embeds` `[N·S, D]` (token embeddings, without positions); outputs `hidden_states.n` `[N·S, D]`. */
export function clipTextGraph(
  config: ClipTextConfig,
  shape: ClipTextShape,
  options: { readonly dialect: Dialect; readonly dtype: FloatType },
): Graph {
  return writeGraph('clip_text', options, (root) => {
    const net = root.at('text_model');
    const embeddings = net.tokens(CLIP_IO.embeddings, { n: shape.batch, s: shape.tokens, c: config.hiddenSize });
    let x = net.addTable('embeddings.position_embedding.weight', embeddings);
    const emit = (layersDone: number): void => {
      const clipSkip = config.layers - layersDone;
      if (!shape.clipSkips.includes(clipSkip)) return;
      net.output(CLIP_IO.hidden(clipSkip), net.layerNorm('final_layer_norm', x, { eps: config.layerNormEps }));
    };
    emit(0);
    for (let i = 0; i < config.layers; i++) {
      x = encoderLayer(net.at(`encoder.layers.${i}`), config, x);
      emit(i + 1);
    }
  });
}

/** Pre-norm transformer layer with causal attention. */
function encoderLayer(net: Net, config: ClipTextConfig, x: Tokens): Tokens {
  const eps = config.layerNormEps;
  x = net.add(x, selfAttention(net.at('self_attn'), config.heads, net.layerNorm('layer_norm1', x, { eps })));
  const h = net.linear('mlp.fc1', net.layerNorm('layer_norm2', x, { eps }), { channels: config.intermediateSize });
  return net.add(
    x,
    net.linear('mlp.fc2', net.at('mlp').activate(h, config.activation), { channels: config.hiddenSize }),
  );
}

function selfAttention(net: Net, heads: number, x: Tokens): Tokens {
  const channels = x.c;
  const q = net.linear('q_proj', x, { channels });
  const k = net.linear('k_proj', x, { channels });
  const v = net.linear('v_proj', x, { channels });
  return net.linear('out_proj', net.attention(q, k, v, { heads, causal: true }), { channels });
}
