/**
 * @file CLIP's text encoder: token embeddings → hidden states that cross-attention reads.
 * Radford et al. 2021, §2.4 (https://arxiv.org/abs/2103.00020); transformers `modeling_clip.py`.
 */
import type { FloatType } from '../base/dtype.js';
import type { ClipTextConfig } from '../models/configs/clip-text.js';
import type { Dialect } from '../onnx/dialects/dialect.js';
import { writeGraph, type Net, type ScoreBias, type Tokens } from '../onnx/net.js';
import type { Graph } from '../onnx/types.js';

/** Row `id` of this weight is the embedding of token `id`; the caller looks the rows up (no table on the GPU). */
export const TOKEN_TABLE = 'text_model.embeddings.token_embedding.weight';

/** A state between layers: `skip` layers before the last, with or without the final layer norm. */
export interface HiddenState {
  readonly skip: number;
  readonly norm: boolean;
}

/** Names of inputs and outputs. */
export const CLIP_IO = {
  embeddings: 'inputs_embeds',
  scoreBias: 'score_bias',
  hidden: ({ skip, norm }: HiddenState) => `hidden_states.${skip}${norm ? '.norm' : ''}`,
  /** The last state, normed and projected, of every token; the caller picks the row of the end token. */
  projected: 'text_embeds',
} as const;

export interface ClipTextShape {
  readonly tokens: number;
  readonly hidden: readonly HiddenState[];
  /** Whether the pooled output (CLIPTextModelWithProjection) is wanted. */
  readonly projected: boolean;
  /** Whether attention takes a bias `[1, 1, S, S]` (with the causal mask in it), to hide tokens. */
  readonly masked: boolean;
}

/**
 * One sequence: `inputs_embeds` `[S, D]` (token embeddings, without positions) → `hidden_states.*` `[S, D]`, `text_embeds` `[S, P]`.
 */
export function clipTextGraph(
  config: ClipTextConfig,
  shape: ClipTextShape,
  options: { readonly dialect: Dialect; readonly dtype: FloatType },
): Graph {
  return writeGraph('clip_text', options, (root) => {
    const net = root.at('text_model');
    const embeddings = net.tokens(CLIP_IO.embeddings, { n: 1, s: shape.tokens, c: config.hiddenSize });
    const bias = shape.masked ? net.scoreBias(CLIP_IO.scoreBias, shape.tokens, shape.tokens) : undefined;
    let x = net.addTable('embeddings.position_embedding.weight', embeddings);
    const normed = (): Tokens => net.layerNorm('final_layer_norm', x, { eps: config.layerNormEps });
    const emit = (layersDone: number): void => {
      for (const state of shape.hidden) {
        if (state.skip === config.layers - layersDone) net.output(CLIP_IO.hidden(state), state.norm ? normed() : x);
      }
    };
    emit(0);
    for (let i = 0; i < config.layers; i++) {
      x = encoderLayer(net.at(`encoder.layers.${i}`), config, x, bias);
      emit(i + 1);
    }
    if (shape.projected) {
      root.output(
        CLIP_IO.projected,
        root.linear('text_projection', normed(), { channels: config.projectionDim, bias: false }),
      );
    }
  });
}

/** Pre-norm transformer layer with causal attention. */
function encoderLayer(net: Net, config: ClipTextConfig, x: Tokens, bias: ScoreBias | undefined): Tokens {
  const eps = config.layerNormEps;
  x = net.add(x, selfAttention(net.at('self_attn'), config.heads, net.layerNorm('layer_norm1', x, { eps }), bias));
  const h = net.linear('mlp.fc1', net.layerNorm('layer_norm2', x, { eps }), { channels: config.intermediateSize });
  return net.add(
    x,
    net.linear('mlp.fc2', net.at('mlp').activate(h, config.activation), { channels: config.hiddenSize }),
  );
}

function selfAttention(net: Net, heads: number, x: Tokens, bias: ScoreBias | undefined): Tokens {
  const channels = x.c;
  const q = net.linear('q_proj', x, { channels });
  const k = net.linear('k_proj', x, { channels });
  const v = net.linear('v_proj', x, { channels });
  return net.linear('out_proj', net.attention(q, k, v, { heads, causal: bias === undefined, bias }), { channels });
}
