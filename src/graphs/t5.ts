/**
 * @file T5 v1.1's encoder: token embeddings → hidden states (Raffel et al. 2020, https://arxiv.org/abs/1910.10683, §2.1; Shazeer 2020 for the
 * gate; transformers `modeling_t5.py`). As block sessions, or whole. The residual of T5-XXL exceeds the range of float16: it, the
 * norms and the last product of each block are float32 in every graph, whatever the rest is.
 */
import type { T5Config } from '../models/configs/t5.js';
import { writeGraph, type GraphOptions, type Net, type ScoreBias, type Tokens } from '../onnx/net.js';
import { cast, multiply, rmsNorm } from '../onnx/sequence.js';
import type { Graph } from '../onnx/types.js';

/** Row `id` is the embedding of token `id`; the caller looks the rows up. Files name it so, or `encoder.embed_tokens.weight`. */
export const T5_TOKEN_TABLE = 'shared.weight';

/** `[buckets, heads]`, for {@link t5PositionBias}. */
export const T5_BIAS_TABLE = 'encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight';

/** Names of inputs and outputs; S tokens of width D. */
export const T5_IO = {
  /** Token embeddings `[S, D]`, float32: input of the whole encoder and of its first block. */
  hidden: 'hidden_states',
  /** `[1, heads, S, S]`, from {@link t5PositionBias}; the same for all blocks. */
  bias: 'position_bias',
  /** What a block makes of `hidden_states`, float32. */
  next: 'next.hidden_states',
  /** The normed states `[S, D]` that models read. */
  last: 'last_hidden_state',
} as const;

/** What the weights of block `index` are called in the model: this, followed by their name in the block's graph. */
export function t5BlockPrefix(index: number): string {
  return `encoder.block.${index}.`;
}

/** One block: `hidden_states`, `position_bias` → `next.hidden_states`. */
export function t5BlockGraph(config: T5Config, tokens: number, options: GraphOptions): Graph {
  return writeGraph('t5_block', options, (net) => {
    const { x, bias } = inputs(net, config, tokens);
    net.output(T5_IO.next, block(net, config, x, bias));
  });
}

/** What comes after the blocks: `hidden_states` → `last_hidden_state`, in the graph's type. */
export function t5OutputGraph(config: T5Config, tokens: number, options: GraphOptions): Graph {
  return writeGraph('t5_output', options, (net) => {
    const exact = net.as('float32');
    const x = exact.tokens(T5_IO.hidden, { n: 1, s: tokens, c: config.width });
    net.output(T5_IO.last, cast(net, rmsNorm(exact.at('encoder'), 'final_layer_norm', x, config)));
  });
}

/** The whole encoder: `hidden_states`, `position_bias` → `last_hidden_state`, in the graph's type. */
export function t5EncoderGraph(config: T5Config, tokens: number, options: GraphOptions): Graph {
  return writeGraph('t5_encoder', options, (net) => {
    const { x: embeddings, bias } = inputs(net, config, tokens);
    let x = embeddings;
    for (let i = 0; i < config.layers; i++) x = block(net.at(`encoder.block.${i}`), config, x, bias);
    net.output(T5_IO.last, cast(net, rmsNorm(net.as('float32').at('encoder'), 'final_layer_norm', x, config)));
  });
}

function inputs(net: Net, config: T5Config, tokens: number): { readonly x: Tokens; readonly bias: ScoreBias } {
  return {
    x: net.as('float32').tokens(T5_IO.hidden, { n: 1, s: tokens, c: config.width }),
    bias: net.scoreBias(T5_IO.bias, tokens, tokens, config.heads),
  };
}

/** Pre-norm layer: self-attention, then the gated feed-forward layer. */
function block(net: Net, config: T5Config, x: Tokens, bias: ScoreBias): Tokens {
  const exact = net.as('float32');
  const normed = (layer: string): Tokens => cast(net, rmsNorm(exact.at(layer), 'layer_norm', x, config));
  x = exact.add(x, cast(exact, selfAttention(net.at('layer.0.SelfAttention'), config, normed('layer.0'), bias)));
  return exact.add(x, feedForward(net.at('layer.1.DenseReluDense'), config, normed('layer.1')));
}

/** Scores are not scaled: T5's initialisation accounts for the head size. */
function selfAttention(net: Net, { heads, headDim, width }: T5Config, x: Tokens, bias: ScoreBias): Tokens {
  const projection = { channels: heads * headDim, bias: false };
  const [q, k, v] = [net.linear('q', x, projection), net.linear('k', x, projection), net.linear('v', x, projection)];
  return net.linear('o', net.attention(q, k, v, { heads, bias, scale: 1 }), { channels: width, bias: false });
}

/** (gelu(x·W₀) ∘ x·W₁)·Wₒ, in float32 from the factors on. */
function feedForward(net: Net, { feedForwardWidth: channels, width }: T5Config, x: Tokens): Tokens {
  const exact = net.as('float32');
  const gated = net.activate(net.linear('wi_0', x, { channels, bias: false }), 'gelu_new');
  const product = multiply(exact, cast(exact, gated), cast(exact, net.linear('wi_1', x, { channels, bias: false })));
  return exact.linear('wo', product, { channels: width, bias: false });
}

/** What hides a token from attention; within the range of float16, and far below any score. */
const HIDDEN = -30_000;

/**
 * What attention adds to its scores, `[1, heads, S, S]`: for query i and key j the head's entry in the bucket of the distance j − i.
 * @param table `[buckets, heads]`, row by row: the weight {@link T5_BIAS_TABLE}
 * @param mask one per token; 0 hides it from all others. FLUX hides none, its padding takes part
 */
export function t5PositionBias(
  config: T5Config,
  table: Float32Array,
  tokens: number,
  mask?: ArrayLike<number>,
): Float32Array {
  const { heads } = config;
  const bucketOf = Array.from({ length: 2 * tokens - 1 }, (_, i) => t5Bucket(config, i - (tokens - 1)));
  const out = new Float32Array(heads * tokens * tokens);
  for (let head = 0; head < heads; head++) {
    for (let query = 0; query < tokens; query++) {
      const row = (head * tokens + query) * tokens;
      for (let key = 0; key < tokens; key++) {
        const bucket = bucketOf[key - query + tokens - 1] ?? 0;
        out[row + key] = mask?.[key] === 0 ? HIDDEN : (table[bucket * heads + head] ?? 0);
      }
    }
  }
  return out;
}

/**
 * Bucket of a distance key − query: half of them for keys behind the query, of those half for one distance each, the others
 * logarithmically up to `maxDistance` (transformers `T5Attention._relative_position_bucket`, in float32 as there).
 */
export function t5Bucket(
  { buckets, maxDistance }: Pick<T5Config, 'buckets' | 'maxDistance'>,
  distance: number,
): number {
  const half = buckets / 2;
  const exact = Math.floor(half / 2);
  const size = Math.abs(distance);
  const side = distance > 0 ? half : 0;
  if (size < exact) return side + size;
  const log = Math.fround(Math.log(Math.fround(size / exact))) / Math.log(maxDistance / exact);
  return side + Math.min(half - 1, exact + Math.floor(Math.fround(log) * (half - exact)));
}
