/** @file Configs of FLUX.1's transformer and of T5: what is read, what is refused and how. */
import { describe, expect, it } from 'vitest';
import { parseAutoencoderKLConfig } from '../../../src/models/configs/autoencoder-kl.js';
import { fluxWidth, parseFluxTransformerConfig } from '../../../src/models/configs/flux-transformer.js';
import { parseT5Config } from '../../../src/models/configs/t5.js';

describe('FluxTransformer2DModel', () => {
  it('has the defaults of diffusers', () => {
    const config = parseFluxTransformerConfig({ _class_name: 'FluxTransformer2DModel', out_channels: null });
    expect(config).toEqual({
      inChannels: 64,
      outChannels: 64,
      doubleBlocks: 19,
      singleBlocks: 38,
      headDim: 128,
      heads: 24,
      textDim: 4096,
      pooledDim: 768,
      guidanceEmbeds: false,
      ropeAxes: [16, 56, 56],
    });
    expect(fluxWidth(config)).toBe(3072);
  });

  it('reads inputs wider than outputs (masks and guides beside the latents)', () => {
    expect(parseFluxTransformerConfig({ in_channels: 384, out_channels: 64 })).toMatchObject({ inChannels: 384, outChannels: 64 });
  });

  it.each([
    [{ _class_name: 'SD3Transformer2DModel' }, 'unsupportedModel', /SD3Transformer2DModel/],
    [{ patch_size: 2 }, 'unsupportedModel', /patch_size/],
    [{ axes_dims_rope: [16, 56] }, 'invalidModelConfig', /axes_dims_rope.*three even widths.*128/],
    [{ axes_dims_rope: [15, 57, 56] }, 'invalidModelConfig', /three even widths/],
    [{ attention_head_dim: 64 }, 'invalidModelConfig', /add up to attention_head_dim 64/],
    [{ num_layers: -1 }, 'invalidModelConfig', /num_layers/],
    [{ guidance_embeds: 'yes' }, 'invalidModelConfig', /guidance_embeds/],
    ['text', 'invalidModelConfig', /JSON object/],
  ] as const)('refuses %j', (json, code, message) => {
    expect(() => parseFluxTransformerConfig(json)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) as string }));
  });
});

describe('T5', () => {
  const v11 = { model_type: 't5', feed_forward_proj: 'gated-gelu', d_model: 4096, d_ff: 10240, num_heads: 64, num_layers: 24 };

  it('reads T5-XXL v1.1, with the defaults of transformers', () => {
    expect(parseT5Config(v11)).toEqual({
      vocabSize: 32128,
      width: 4096,
      headDim: 64,
      heads: 64,
      feedForwardWidth: 10240,
      layers: 24,
      eps: 1e-6,
      buckets: 32,
      maxDistance: 128,
      padTokenId: 0,
      eosTokenId: 1,
    });
  });

  it.each([
    [{ ...v11, feed_forward_proj: undefined }, 'unsupportedModel', /"relu".*T5 v1\.1/],
    [{ ...v11, feed_forward_proj: 'gated-silu' }, 'unsupportedModel', /gated-silu/],
    [{ ...v11, dense_act_fn: 'silu' }, 'unsupportedModel', /dense_act_fn/],
    [{ ...v11, model_type: 'umt5' }, 'unsupportedModel', /umt5/],
    [{ ...v11, relative_attention_num_buckets: 33 }, 'invalidModelConfig', /even/],
    [{ ...v11, relative_attention_max_distance: 8 }, 'invalidModelConfig', /relative_attention_max_distance/],
  ] as const)('refuses %j', (json, code, message) => {
    expect(() => parseT5Config(json)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) as string }));
  });
});

describe('AutoencoderKL', () => {
  const vae = { block_out_channels: [32], down_block_types: ['DownEncoderBlock2D'], up_block_types: ['UpDecoderBlock2D'] };

  it('reads the shift of latents, which most have not', () => {
    expect(parseAutoencoderKLConfig({ ...vae, latent_channels: 16, shift_factor: 0.1159 })).toMatchObject({ shiftFactor: 0.1159 });
    expect(parseAutoencoderKLConfig({ ...vae, shift_factor: null }).shiftFactor).toBe(0);
    expect(() => parseAutoencoderKLConfig({ ...vae, shift_factor: '0.1' })).toThrow(/shift_factor/);
  });
});
