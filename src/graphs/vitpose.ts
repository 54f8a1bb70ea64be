/**
 * @file ViTPose: one person in a picture → a heatmap for each joint (Xu et al. 2022, https://arxiv.org/abs/2204.12484), with the simple
 * decoder (eq. 3); transformers `modeling_vitpose.py`, `modeling_vitpose_backbone.py`.
 */
import type { FloatType } from '../base/dtype.js';
import type { VitPoseConfig } from '../models/configs/vitpose.js';
import type { Dialect } from '../onnx/dialects/dialect.js';
import { writeGraph } from '../onnx/net.js';
import type { Graph } from '../onnx/types.js';
import { resizeLinear } from '../onnx/vision.js';
import { patchTokens, vitLayer, type VitLayerNames } from './vit.js';

export const VITPOSE_IO = {
  picture: 'picture',
  /** One position per patch `[h·w, D]`, the class token's added to each. */
  positions: 'positions',
  heatmaps: 'heatmaps',
} as const;

const LAYER: VitLayerNames = { norms: ['layernorm_before', 'layernorm_after'], feedForward: ['mlp.fc1', 'mlp.fc2'] };

/** The published models pad the picture by 2 pixels before it is cut into patches. */
const PATCH_PADDING = 2;

/** `picture` `[H,W,3]`, normalised, of the config's size → `heatmaps` `[H/4, W/4, joints]` (patches of 16, scale factor 4). */
export function vitPoseGraph(
  { backbone, scaleFactor }: VitPoseConfig,
  joints: number,
  options: { readonly dialect: Dialect; readonly dtype: FloatType },
): Graph {
  const { imageHeight, imageWidth, patchSize, hiddenSize, layers, eps } = backbone;
  const [h, w] = [Math.floor(imageHeight / patchSize), Math.floor(imageWidth / patchSize)];
  return writeGraph('vitpose', options, (root) => {
    const net = root.at('backbone');
    const picture = root.image(VITPOSE_IO.picture, { n: 1, h: imageHeight, w: imageWidth, c: 3 });
    const patches = patchTokens(net.at('embeddings.patch_embeddings'), backbone, picture, PATCH_PADDING);
    let x = net.add(patches, root.tokens(VITPOSE_IO.positions, { n: 1, s: h * w, c: hiddenSize }));
    for (let i = 0; i < layers; i++) x = vitLayer(net.at(`encoder.layer.${i}`), backbone, LAYER, x);
    const features = root.activate(root.toImage(net.layerNorm('layernorm', x, { eps }), h, w), 'relu');
    const large = resizeLinear(root, features, scaleFactor * h, scaleFactor * w, { alignCorners: false });
    root.output(VITPOSE_IO.heatmaps, root.at('head').conv('conv', large, { channels: joints }));
  });
}
