/** @file Weight names: which names of a file are looked for under an internal name, and in which shape they come. */
import { describe, expect, it } from 'vitest';
import { AUTOENCODER_LAYOUT, CLIP_TEXT_LAYOUT, isJunkWeight, UNET_LAYOUT } from '../../../src/models/weight-names.js';

describe('layouts', () => {
  it.each([
    ['decoder.mid_block.attentions.0.to_q.weight', 'decoder.mid_block.attentions.0.query.weight'],
    ['decoder.mid_block.attentions.0.to_k.bias', 'decoder.mid_block.attentions.0.key.bias'],
    ['encoder.mid_block.attentions.0.to_v.weight', 'encoder.mid_block.attentions.0.value.weight'],
    ['encoder.mid_block.attentions.0.to_out.0.bias', 'encoder.mid_block.attentions.0.proj_attn.bias'],
    ['encoder.down_blocks.2.attentions.11.to_out.0.weight', 'encoder.down_blocks.2.attentions.11.proj_attn.weight'],
  ])('VAE: %s may be %s', (internal, old) => {
    expect(AUTOENCODER_LAYOUT.names(internal)).toEqual([internal, old]);
    expect(AUTOENCODER_LAYOUT.shape(internal, [8, 8, 1, 1])).toEqual([8, 8]);
    expect(AUTOENCODER_LAYOUT.shape(internal, [8, 8])).toEqual([8, 8]);
    expect(AUTOENCODER_LAYOUT.shape(internal, [8, 8, 3, 3])).toEqual([8, 8, 3, 3]);
    expect(AUTOENCODER_LAYOUT.shape(internal, [8])).toEqual([8]);
  });

  it.each(['decoder.mid_block.attentions.0.group_norm.weight', 'post_quant_conv.weight', 'decoder.conv_out.bias'])(
    'VAE: %s has one name and keeps its shape',
    (internal) => {
      expect(AUTOENCODER_LAYOUT.names(internal)).toEqual([internal]);
      expect(AUTOENCODER_LAYOUT.shape(internal, [4, 4, 1, 1])).toEqual([4, 4, 1, 1]);
    },
  );

  it('text encoder: with or without its prefix', () => {
    expect(CLIP_TEXT_LAYOUT.names('text_model.a.weight')).toEqual(['text_model.a.weight', 'a.weight']);
    expect(CLIP_TEXT_LAYOUT.names('text_projection.weight')[0]).toBe('text_projection.weight');
  });

  it('UNet: as they are', () => {
    const name = 'down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight';
    expect(UNET_LAYOUT.names(name)).toEqual([name]);
    expect(UNET_LAYOUT.shape('down_blocks.0.attentions.0.proj_in.weight', [4, 4, 1, 1])).toEqual([4, 4, 1, 1]);
  });

  it('junk is position ids and nothing else', () => {
    expect(['text_model.embeddings.position_ids', 'embeddings.position_ids', 'position_ids'].every(isJunkWeight)).toBe(true);
    expect(['text_model.embeddings.position_embedding.weight', 'x_position_ids'].some(isJunkWeight)).toBe(false);
  });
});
