/**
 * @file Depth Anything: a DINOv2 backbone (Oquab et al. 2023, https://arxiv.org/abs/2304.07193) and the head of dense prediction transformers
 * (Ranftl et al. 2021, https://arxiv.org/abs/2103.13413). Yang et al. 2024, https://arxiv.org/abs/2406.09414;
 * transformers `modeling_depth_anything.py`, `modeling_dinov2.py`.
 */
import type { FloatType } from '../base/dtype.js';
import type { DepthAnythingConfig } from '../models/configs/depth-anything.js';
import type { Dialect } from '../onnx/dialects/dialect.js';
import { writeGraph, type Image, type Net, type Tokens } from '../onnx/net.js';
import type { Graph } from '../onnx/types.js';
import { convTranspose, dropTokens, joinTokens, resizeLinear, sigmoid } from '../onnx/vision.js';
import type { PictureShape } from './picture-shape.js';
import { patchTokens, vitLayer, type VitLayerNames } from './vit.js';

export const DEPTH_IO = {
  picture: 'picture',
  /** The class token and its position, `[1, D]`. */
  classToken: 'class_token',
  /** One position per patch `[h·w, D]`, for this size (interpolated by the caller). */
  positions: 'positions',
  depth: 'depth',
} as const;

const LAYER: VitLayerNames = {
  norms: ['norm1', 'norm2'],
  feedForward: ['mlp.fc1', 'mlp.fc2'],
  scales: ['layer_scale1.lambda1', 'layer_scale2.lambda1'],
};

/** `picture` `[H,W,3]`, normalised, H and W multiples of the patch size → `depth` `[H,W,1]`, larger = nearer (relative models). */
export function depthAnythingGraph(
  config: DepthAnythingConfig,
  { height, width }: PictureShape,
  options: { readonly dialect: Dialect; readonly dtype: FloatType },
): Graph {
  const { patchSize } = config.backbone;
  const grid: PictureShape = { height: height / patchSize, width: width / patchSize };
  return writeGraph('depth_anything', options, (net) => {
    const picture = net.image(DEPTH_IO.picture, { n: 1, h: height, w: width, c: 3 });
    const states = backbone(net.at('backbone'), config, picture, grid);
    const features = states.map((state, i) => reassemble(net.at('neck'), config, state, grid, i));
    net.output(DEPTH_IO.depth, head(net.at('head'), config, fuse(net.at('neck'), config, features), height, width));
  });
}

/** The patches' tokens after the layers that the neck reads. */
function backbone(net: Net, config: DepthAnythingConfig, picture: Image, grid: PictureShape): readonly Tokens[] {
  const { hiddenSize, layers, eps } = config.backbone;
  const s = grid.height * grid.width;
  const patches = patchTokens(net.at('embeddings.patch_embeddings'), config.backbone, picture);
  const placed = net.add(patches, net.tokens(DEPTH_IO.positions, { n: 1, s, c: hiddenSize }));
  let x = joinTokens(net, net.tokens(DEPTH_IO.classToken, { n: 1, s: 1, c: hiddenSize }), placed);
  const states: Tokens[] = [];
  for (let i = 0; i < layers; i++) {
    x = vitLayer(net.at(`encoder.layer.${i}`), config.backbone, LAYER, x);
    if (!config.readAfter.includes(i + 1)) continue;
    states.push(dropTokens(net, config.normed ? net.layerNorm('layernorm', x, { eps }) : x, 1));
  }
  return states;
}

/** Tokens → an image of `factor` times the grid (§3.1, "Reassemble"), in the width of the fusion. */
function reassemble(
  net: Net,
  config: DepthAnythingConfig,
  tokens: Tokens,
  { height, width }: PictureShape,
  i: number,
): Image {
  const layer = net.at(`reassemble_stage.layers.${i}`);
  const channels = config.neckHiddenSizes[i] ?? 0;
  const factor = config.reassembleFactors[i] ?? 1;
  let x = layer.pointwise('projection', net.toImage(tokens, height, width), { channels });
  if (factor > 1) x = convTranspose(layer, 'resize', x, { channels, kernel: factor, stride: factor });
  if (factor < 1) x = layer.conv('resize', x, { channels, stride: 1 / factor });
  return net.conv(`convs.${i}`, x, { channels: config.fusionHiddenSize, bias: false });
}

/** From the coarsest features to the finest (fig. 1, right): each sum is refined and brought to the next one's size. */
function fuse(net: Net, { fusionHiddenSize: channels }: DepthAnythingConfig, features: readonly Image[]): Image {
  const coarseFirst = [...features].reverse();
  let fused: Image | undefined;
  coarseFirst.forEach((feature, i) => {
    const layer = net.at(`fusion_stage.layers.${i}`);
    const branch = fused === undefined ? feature : residual(layer.at('residual_layer1'), fit(layer, feature, fused));
    const sum = fused === undefined ? branch : layer.add(fused, branch);
    const refined = residual(layer.at('residual_layer2'), sum);
    const next = coarseFirst[i + 1] ?? { h: 2 * sum.h, w: 2 * sum.w };
    fused = layer.pointwise('projection', resizeLinear(layer, refined, next.h, next.w, { alignCorners: true }), {
      channels,
    });
  });
  if (fused === undefined) throw new TypeError('a config has at least one level');
  return fused;
}

function fit(net: Net, x: Image, { h, w }: Image): Image {
  return resizeLinear(net, x, h, w, { alignCorners: false });
}

/** Pre-activation residual unit. */
function residual(net: Net, x: Image): Image {
  const { c: channels } = x;
  const h = net.activate(net.conv('convolution1', net.activate(x, 'relu'), { channels }), 'relu');
  return net.add(x, net.conv('convolution2', h, { channels }));
}

function head(
  net: Net,
  { fusionHiddenSize, headHiddenSize, metric }: DepthAnythingConfig,
  x: Image,
  h: number,
  w: number,
): Image {
  const half = net.conv('conv1', x, { channels: Math.floor(fusionHiddenSize / 2) });
  const large = resizeLinear(net, half, h, w, { alignCorners: true });
  const hidden = net.activate(net.conv('conv2', large, { channels: headHiddenSize }), 'relu');
  const depth = net.pointwise('conv3', hidden, { channels: 1 });
  return metric ? sigmoid(net, depth) : net.activate(depth, 'relu');
}
