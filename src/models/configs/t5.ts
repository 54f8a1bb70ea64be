/** @file `text_encoder_2/config.json` of a T5 v1.1 encoder, as transformers writes it. Data and its parser. */
import { fail } from '../../base/errors.js';
import { fields, show } from '../../base/fields.js';

/** Defaults are those of transformers' `T5Config`. */
export interface T5Config {
  readonly vocabSize: number;
  readonly width: number;
  readonly headDim: number;
  readonly heads: number;
  readonly feedForwardWidth: number;
  readonly layers: number;
  readonly eps: number;
  /** Distances between tokens fall into so many buckets, half of them for each direction. */
  readonly buckets: number;
  /** From here on all distances are in the last bucket. */
  readonly maxDistance: number;
  readonly padTokenId: number;
  readonly eosTokenId: number;
}

/** @throws invalidModelConfig, unsupportedModel */
export function parseT5Config(json: unknown, where = 'text_encoder_2/config.json'): T5Config {
  const f = fields(json, where);
  f.only('model_type', ['t5'], 'another text encoder than T5');
  // Absent means ReLU without a gate: the first T5, which has other weights.
  const feedForward = f.text('feed_forward_proj', 'relu');
  if (feedForward !== 'gated-gelu')
    throw fail('unsupportedModel', `${where}: "feed_forward_proj" is ${show(feedForward)}; only "gated-gelu" (T5 v1.1) is supported.`);
  f.only('dense_act_fn', ['gelu_new'], 'another activation than the tanh form of GELU');
  const buckets = f.integer('relative_attention_num_buckets', 32, { min: 4, max: 1024 });
  if (buckets % 2 !== 0) throw f.error('relative_attention_num_buckets', 'even');
  const vocabSize = f.integer('vocab_size', 32_128);
  return {
    vocabSize,
    width: f.integer('d_model', 512, { max: 65_536 }),
    headDim: f.integer('d_kv', 64, { max: 1024 }),
    heads: f.integer('num_heads', 8, { max: 1024 }),
    feedForwardWidth: f.integer('d_ff', 2048, { max: 262_144 }),
    layers: f.integer('num_layers', 6, { max: 256 }),
    eps: f.number('layer_norm_epsilon', 1e-6, { min: 0, max: 1 }),
    buckets,
    maxDistance: f.integer('relative_attention_max_distance', 128, { min: buckets / 4 + 1, max: 65_536 }),
    padTokenId: f.integer('pad_token_id', 0, { min: 0, max: vocabSize - 1 }),
    eosTokenId: f.integer('eos_token_id', 1, { min: 0, max: vocabSize - 1 }),
  };
}
