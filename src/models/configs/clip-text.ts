/** @file `text_encoder/config.json` of a CLIP text model, as transformers writes it. Data and its parser. */
import { fail } from '../../base/errors.js';
import { fields } from '../../base/fields.js';

/** Defaults are those of transformers' `CLIPTextConfig`. */
export interface ClipTextConfig {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly maxPositions: number;
  readonly activation: 'quick_gelu' | 'gelu' | 'gelu_new';
  readonly layerNormEps: number;
  /** 2 = the legacy value: the pooled row is that of the largest id. */
  readonly eosTokenId: number;
  /** Width of the projected pooled output (CLIPTextModelWithProjection only). */
  readonly projectionDim: number;
}

/** @throws invalidModelConfig */
export function parseClipTextConfig(json: unknown, where = 'text_encoder/config.json'): ClipTextConfig {
  const f = fields(json, where);
  const config: ClipTextConfig = {
    vocabSize: f.integer('vocab_size', 49408),
    hiddenSize: f.integer('hidden_size', 512),
    intermediateSize: f.integer('intermediate_size', 2048),
    layers: f.integer('num_hidden_layers', 12, { max: 256 }),
    heads: f.integer('num_attention_heads', 8, { max: 1024 }),
    maxPositions: f.integer('max_position_embeddings', 77, { max: 4096 }),
    activation: f.oneOf('hidden_act', ['quick_gelu', 'gelu', 'gelu_new'], 'quick_gelu'),
    layerNormEps: f.number('layer_norm_eps', 1e-5, { min: 0, max: 1 }),
    eosTokenId: f.integer('eos_token_id', 49407, { min: 0 }),
    projectionDim: f.integer('projection_dim', 512),
  };
  if (config.hiddenSize % config.heads !== 0) {
    throw fail(
      'invalidModelConfig',
      `${where}: hidden_size ${config.hiddenSize} is not a multiple of num_attention_heads ${config.heads}.`,
    );
  }
  return config;
}
