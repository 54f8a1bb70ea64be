/**
 * @file HED: edges at several scales from a VGG-like network (Xie & Tu 2015, https://arxiv.org/abs/1504.06375), in the form
 * that ControlNet's softedge guide was trained with: `ControlNetHED_Apache2` of lllyasviel, Apache-2.0.
 */
import type { FloatType } from '../base/dtype.js';
import type { HedConfig } from '../models/configs/edges.js';
import type { Dialect } from '../onnx/dialects/dialect.js';
import { writeGraph, type Image, type Net } from '../onnx/net.js';
import { maxPool2x2, subtractChannels } from '../onnx/vision.js';
import type { Graph } from '../onnx/types.js';
import type { PictureShape } from './picture-shape.js';

export const HED_IO = { picture: 'picture', edges: (block: number) => `edges.${block}` } as const;

/** `picture` `[H,W,3]` in 0…255 → `edges.i` `[H/2ⁱ, W/2ⁱ, 1]` of every block, before the sigmoid. */
export function hedGraph(
  config: HedConfig,
  { height: h, width: w }: PictureShape,
  options: { readonly dialect: Dialect; readonly dtype: FloatType },
): Graph {
  return writeGraph('hed', options, (net) => {
    let x = subtractChannels(net, 'norm', net.image(HED_IO.picture, { n: 1, h, w, c: 3 }));
    config.blocks.forEach((block, i) => {
      x = doubleConv(net.at(`block${i + 1}`), i === 0 ? x : maxPool2x2(net, x), block);
      net.output(HED_IO.edges(i), net.at(`block${i + 1}`).pointwise('projection', x, { channels: 1 }));
    });
  });
}

function doubleConv(net: Net, x: Image, { channels, layers }: HedConfig['blocks'][number]): Image {
  for (let i = 0; i < layers; i++) x = net.activate(net.conv(`convs.${i}`, x, { channels }), 'relu');
  return x;
}
