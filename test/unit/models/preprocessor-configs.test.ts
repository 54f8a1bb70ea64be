/** @file Configs of preprocessors' networks: published ones are read, and what cannot be honoured is refused by name. */
import { describe, expect, it } from 'vitest';
import { hedConfig, lineartAnimeConfig, lineartConfig } from '../../../src/models/configs/edges.js';
import { parseDepthAnythingConfig, parseDepthInputConfig } from '../../../src/models/configs/depth-anything.js';
import { parseVitPoseConfig } from '../../../src/models/configs/vitpose.js';

/** The fields of the published config of Depth Anything V2 Small that are not defaults, under huggingface.co/depth-anything. */
const DEPTH_SMALL = {
  architectures: ['DepthAnythingForDepthEstimation'],
  backbone: null,
  backbone_config: {
    architectures: ['Dinov2Model'],
    hidden_size: 384,
    image_size: 518,
    model_type: 'dinov2',
    num_attention_heads: 6,
    out_features: ['stage3', 'stage6', 'stage9', 'stage12'],
    out_indices: [3, 6, 9, 12],
    patch_size: 14,
    reshape_hidden_states: false,
  },
  fusion_hidden_size: 64,
  head_hidden_size: 32,
  head_in_index: -1,
  model_type: 'depth_anything',
  neck_hidden_sizes: [48, 96, 192, 384],
  patch_size: 14,
  reassemble_factors: [4, 2, 1, 0.5],
  reassemble_hidden_size: 384,
};
const backbone = DEPTH_SMALL.backbone_config;

describe('Depth Anything', () => {
  it('reads the published config', () => {
    const config = parseDepthAnythingConfig(DEPTH_SMALL);
    expect(config.backbone).toMatchObject({ hiddenSize: 384, layers: 12, heads: 6, patchSize: 14, imageHeight: 518, imageWidth: 518 });
    expect(config).toMatchObject({ readAfter: [3, 6, 9, 12], normed: true, metric: false });
  });

  it('takes layers from the names of stages where there are no indices', () => {
    const named = { ...backbone, out_indices: null };
    expect(parseDepthAnythingConfig({ ...DEPTH_SMALL, backbone_config: named }).readAfter).toEqual([3, 6, 9, 12]);
  });

  it.each([
    ['unsupportedModel', 'depth_anything', { model_type: 'dpt' }],
    ['unsupportedModel', 'SwiGLU', { backbone_config: { ...backbone, use_swiglu_ffn: true } }],
    ['unsupportedModel', 'DINOv2', { backbone_config: { ...backbone, model_type: 'swin' } }],
    ['unsupportedModel', 'GELU', { backbone_config: { ...backbone, hidden_act: 'relu' } }],
    ['unsupportedModel', 'reassemble_factors', { reassemble_factors: [4, 2, 1, 0.3] }],
    ['unsupportedModel', 'neck of another width', { reassemble_hidden_size: 768 }],
    ['invalidModelConfig', 'differ in length', { neck_hidden_sizes: [48, 96] }],
    ['invalidModelConfig', 'growing list', { backbone_config: { ...backbone, out_indices: [3, 13] } }],
    ['invalidModelConfig', 'num_attention_heads', { backbone_config: { ...backbone, num_attention_heads: 7 } }],
    ['invalidModelConfig', 'patch_size', { backbone_config: { ...backbone, patch_size: [14, 16] } }],
    ['invalidModelConfig', 'image_size', { backbone_config: { ...backbone, image_size: 'large' } }],
    ['invalidModelConfig', 'backbone_config', { backbone_config: null }],
  ])('refuses as %s: %s', (code, says, wrong) => {
    expect(() => parseDepthAnythingConfig({ ...DEPTH_SMALL, ...wrong })).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(says) as string }) as Error,
    );
  });

  it('reads pictures as published where there is no preprocessor_config.json', () => {
    expect(parseDepthInputConfig({})).toEqual({
      height: 518,
      width: 518,
      keepAspectRatio: true,
      multipleOf: 14,
      mean: [0.485, 0.456, 0.406],
      std: [0.229, 0.224, 0.225],
    });
    expect(() => parseDepthInputConfig({ resample: 2 })).toThrow('bicubic');
    expect(() => parseDepthInputConfig({ image_mean: [0.5] })).toThrow('three numbers');
  });
});

describe('ViTPose', () => {
  /** Of usyd-community/vitpose-base-simple. */
  const published = {
    model_type: 'vitpose',
    backbone_config: { model_type: 'vitpose_backbone', out_features: ['stage12'], out_indices: [12] },
    scale_factor: 4,
    use_simple_decoder: true,
  };

  it('reads the published config', () => {
    const { backbone: vit, scaleFactor } = parseVitPoseConfig(published);
    expect(vit).toMatchObject({ hiddenSize: 768, layers: 12, heads: 12, patchSize: 16, imageHeight: 256, imageWidth: 192 });
    expect(scaleFactor).toBe(4);
  });

  it.each([
    ['unsupportedModel', 'expected vitpose', { model_type: 'yolos' }],
    ['unsupportedModel', 'classic decoder', { use_simple_decoder: false }],
    ['unsupportedModel', 'mixture of experts', { backbone_config: { num_experts: 6 } }],
    ['invalidModelConfig', 'last layer', { backbone_config: { out_indices: [3, 12] } }],
  ])('refuses as %s: %s', (code, says, wrong) => {
    expect(() => parseVitPoseConfig({ ...published, ...wrong })).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(says) as string }) as Error,
    );
  });
});

describe('networks of edges, told from their weights', () => {
  const shapes = (entries: Readonly<Record<string, readonly number[]>>) =>
    new Map(Object.entries(entries).map(([name, shape]) => [name, { shape }]));

  it('HED', () => {
    const weights = shapes({
      norm: [1, 3, 1, 1],
      'block1.convs.0.weight': [64, 3, 3, 3],
      'block1.convs.1.weight': [64, 64, 3, 3],
      'block1.projection.weight': [1, 64, 1, 1],
      'block2.convs.0.weight': [128, 64, 3, 3],
      'block2.projection.weight': [1, 128, 1, 1],
    });
    expect(hedConfig(weights, 'x')).toEqual({ blocks: [{ channels: 64, layers: 2 }, { channels: 128, layers: 1 }] });
  });

  it('refuse another network by what it lacks', () => {
    const other = shapes({ 'conv.weight': [1, 1, 3, 3] });
    expect(() => hedConfig(other, 'a.safetensors')).toThrow('a.safetensors is not ControlNetHED');
    expect(() => lineartConfig(other, 'a.safetensors')).toThrow('"model0.1.weight"');
    expect(() => lineartAnimeConfig(other, 'a.safetensors')).toThrow('"model.model.0.weight"');
  });
});
