/** @file Layouts: where a file may have a weight, and in which shape; every name of the published checkpoints is reached, and only once. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { AUTOENCODER_LAYOUT, CLIP_TEXT_LAYOUT, UNET_LAYOUT } from '../../../src/models/layouts/diffusers.js';
import { isJunkWeight, tensorsUnder, withPrefix, type WeightLayout } from '../../../src/models/layouts/layout.js';
import { ldmAutoencoderLayout, readLdmAutoencoderLevels } from '../../../src/models/layouts/ldm-autoencoder.js';
import { ldmUNetLayout, readLdmUNetBlocks } from '../../../src/models/layouts/ldm-unet.js';
import { OPEN_CLIP_LAYOUT } from '../../../src/models/layouts/open-clip.js';

const namesIn = (layout: WeightLayout, internal: string): readonly string[] =>
  layout.places(internal).map(({ name }) => name);

describe('diffusers', () => {
  it.each([
    ['decoder.mid_block.attentions.0.to_q.weight', 'decoder.mid_block.attentions.0.query.weight'],
    ['decoder.mid_block.attentions.0.to_k.bias', 'decoder.mid_block.attentions.0.key.bias'],
    ['encoder.mid_block.attentions.0.to_v.weight', 'encoder.mid_block.attentions.0.value.weight'],
    ['encoder.mid_block.attentions.0.to_out.0.bias', 'encoder.mid_block.attentions.0.proj_attn.bias'],
    ['encoder.down_blocks.2.attentions.11.to_out.0.weight', 'encoder.down_blocks.2.attentions.11.proj_attn.weight'],
  ])('VAE: %s may be %s', (internal, old) => {
    expect(namesIn(AUTOENCODER_LAYOUT, internal)).toEqual([internal, old]);
    expect(AUTOENCODER_LAYOUT.shape(internal, [8, 8, 1, 1])).toEqual([8, 8]);
    expect(AUTOENCODER_LAYOUT.shape(internal, [8, 8])).toEqual([8, 8]);
    expect(AUTOENCODER_LAYOUT.shape(internal, [8, 8, 3, 3])).toEqual([8, 8, 3, 3]);
    expect(AUTOENCODER_LAYOUT.shape(internal, [8])).toEqual([8]);
  });

  it.each(['decoder.mid_block.attentions.0.group_norm.weight', 'post_quant_conv.weight', 'decoder.conv_out.bias'])(
    'VAE: %s has one name and keeps its shape',
    (internal) => {
      expect(namesIn(AUTOENCODER_LAYOUT, internal)).toEqual([internal]);
      expect(AUTOENCODER_LAYOUT.shape(internal, [4, 4, 1, 1])).toEqual([4, 4, 1, 1]);
    },
  );

  it('text encoder: with or without its prefix', () => {
    expect(namesIn(CLIP_TEXT_LAYOUT, 'text_model.a.weight')).toEqual(['text_model.a.weight', 'a.weight']);
    expect(namesIn(CLIP_TEXT_LAYOUT, 'text_projection.weight')[0]).toBe('text_projection.weight');
  });

  it('UNet: as they are', () => {
    const name = 'down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight';
    expect(namesIn(UNET_LAYOUT, name)).toEqual([name]);
    expect(UNET_LAYOUT.shape('down_blocks.0.attentions.0.proj_in.weight', [4, 4, 1, 1])).toEqual([4, 4, 1, 1]);
  });
});

type Shapes = Readonly<Record<string, readonly number[]>>;
const tensorsOf = (path: string): Shapes =>
  (JSON.parse(readFileSync(new URL(`../../golden/published/${path}.json`, import.meta.url), 'utf8')) as { tensors: Shapes })
    .tensors;

const PARTS = [
  ['sd15', 'sd15-unet', 'model.diffusion_model.'],
  ['sd21', 'sd21-unet', 'model.diffusion_model.'],
  ['sdxl', 'sdxl-unet', 'model.diffusion_model.'],
  ['sdxl-refiner', 'sdxl-refiner-unet', 'model.diffusion_model.'],
  ['sd15', 'sd-vae', 'first_stage_model.'],
  ['sd15', 'clip-l', 'cond_stage_model.transformer.'],
  ['sd21', 'clip-h', 'cond_stage_model.model.'],
  ['sdxl', 'clip-g', 'conditioner.embedders.1.model.'],
] as const;

function layoutFor(part: string, names: Iterable<string>): WeightLayout {
  if (part.endsWith('unet')) return ldmUNetLayout(readLdmUNetBlocks(names) ?? { levels: 0, layers: 0 });
  if (part === 'sd-vae') return ldmAutoencoderLayout(readLdmAutoencoderLevels(names));
  return part === 'clip-l' ? CLIP_TEXT_LAYOUT : OPEN_CLIP_LAYOUT;
}

describe.each(PARTS)('%s: %s', (file, part, prefix) => {
  const stored = tensorsUnder(prefix, new Map(Object.entries(tensorsOf(`ldm/${file}`))));
  const layout = withPrefix(prefix, layoutFor(part, stored.keys()));
  const places = Object.keys(tensorsOf(part)).map((internal) =>
    layout.places(internal).filter(({ name }) => stored.has(name.slice(prefix.length))),
  );

  it('has one place for each weight, and no two weights share one', () => {
    expect(places.filter((found) => found.length !== 1)).toEqual([]);
    const keys = places.flat().map((place) => JSON.stringify(place));
    expect(new Set(keys).size).toBe(keys.length);
  });

  it('leaves nothing of the file unread but what the model does not use', () => {
    const read = new Set(places.flat().map(({ name }) => name.slice(prefix.length)));
    const unread = [...stored.keys()].filter((name) => !read.has(name) && !isJunkWeight(name));
    const unused = /^(logit_scale|text_projection|transformer\.resblocks\.23\..+)$/;
    expect(unread.filter((name) => part !== 'clip-h' && name !== 'logit_scale')).toEqual([]);
    expect(unread.filter((name) => !unused.test(name))).toEqual([]);
  });
});

describe('the original UNet', () => {
  it('is read from its downsamplers', () => {
    const row = (length: number, downsamplers: readonly number[]): string[] => [
      ...Array.from({ length }, (_, i) => `input_blocks.${i}.0.in_layers.2.weight`),
      ...downsamplers.map((i) => `input_blocks.${i}.0.op.weight`),
    ];
    expect(readLdmUNetBlocks(row(12, [3, 6, 9]))).toEqual({ levels: 4, layers: 2 });
    expect(readLdmUNetBlocks(row(9, [3, 6]))).toEqual({ levels: 3, layers: 2 });
    expect(readLdmUNetBlocks(row(3, []))).toEqual({ levels: 1, layers: 2 });
    for (const [length, downsamplers] of [[12, [3, 7, 9]], [11, [3, 6, 9]], [13, [3, 6, 9]], [0, []], [1, []], [4, [0]]] as const) {
      expect(readLdmUNetBlocks(row(length, downsamplers))).toBeUndefined();
    }
  });

  it('has no place for what another level holds', () => {
    const layout = ldmUNetLayout({ levels: 3, layers: 2 });
    const places = (internal: string): readonly string[] => namesIn(layout, `${internal}.weight`);
    expect(places('up_blocks.1.resnets.2.conv1')).toEqual(['output_blocks.5.0.in_layers.2.weight']);
    expect(places('up_blocks.1.resnets.3.conv1')).toEqual([]);
    expect(places('down_blocks.0.resnets.2.conv1')).toEqual([]);
    expect(places('down_blocks.3.resnets.0.conv1')).toEqual([]);
    expect(places('mid_block.attentions.1.norm')).toEqual([]);
    expect(places('up_blocks.0.upsamplers.0.conv')).toEqual(['output_blocks.2.1.conv.weight', 'output_blocks.2.2.conv.weight']);
    expect(places('conv_in.more')).toEqual([]);
    expect(namesIn(layout, 'conv_in')).toEqual([]);
  });
});

it('junk is position ids and nothing else', () => {
  expect(['text_model.embeddings.position_ids', 'embeddings.position_ids', 'position_ids'].every(isJunkWeight)).toBe(true);
  expect(['text_model.embeddings.position_embedding.weight', 'x_position_ids'].some(isJunkWeight)).toBe(false);
});
