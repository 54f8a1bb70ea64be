/** @file The layer of vision transformers (Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929), under the names of transformers. */
import type { VitConfig } from '../models/configs/vit.js';
import type { Image, Net, Tokens } from '../onnx/net.js';
import { scaleChannels } from '../onnx/vision.js';

/** What a model's files call the parts of a layer, and whether its branches are scaled (DINOv2's LayerScale). */
export interface VitLayerNames {
  readonly norms: readonly [string, string];
  readonly feedForward: readonly [string, string];
  readonly scales?: readonly [string, string];
}

/** Pre-norm layer: self-attention, then two linear layers with GELU. */
export function vitLayer(net: Net, config: VitConfig, names: VitLayerNames, x: Tokens): Tokens {
  const { eps, heads } = config;
  const scaled = (branch: Tokens, i: 0 | 1): Tokens =>
    names.scales === undefined ? branch : scaleChannels(net, names.scales[i], branch);
  x = net.add(x, scaled(attention(net.at('attention'), heads, net.layerNorm(names.norms[0], x, { eps })), 0));
  const h = net.linear(names.feedForward[0], net.layerNorm(names.norms[1], x, { eps }), {
    channels: config.mlpRatio * config.hiddenSize,
  });
  return net.add(
    x,
    scaled(net.linear(names.feedForward[1], net.activate(h, 'gelu'), { channels: config.hiddenSize }), 1),
  );
}

function attention(net: Net, heads: number, x: Tokens): Tokens {
  const channels = x.c;
  const [q, k, v] = ['query', 'key', 'value'].map((name) => net.linear(`attention.${name}`, x, { channels }));
  if (q === undefined || k === undefined || v === undefined) throw new TypeError('attention reads three projections');
  return net.linear('output.dense', net.attention(q, k, v, { heads }), { channels });
}

/** The picture in patches of `patchSize`, each one a token: a convolution whose windows do not overlap. */
export function patchTokens(net: Net, { patchSize, hiddenSize }: VitConfig, picture: Image, padding = 0): Tokens {
  const pads = [padding, padding, padding, padding] as const;
  return net.toTokens(
    net.conv('projection', picture, { channels: hiddenSize, kernel: patchSize, stride: patchSize, pads }),
  );
}
