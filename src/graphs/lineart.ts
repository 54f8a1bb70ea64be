/**
 * @file Photograph → line drawing: the generator of "Informative Drawings" (Chan et al. 2022, https://arxiv.org/abs/2203.12691),
 * a ResNet between two halvings and two doublings (Johnson et al. 2016).
 */
import type { FloatType } from '../base/dtype.js';
import type { LineartConfig } from '../models/configs/edges.js';
import type { Dialect } from '../onnx/dialects/dialect.js';
import { writeGraph, type Image, type Net } from '../onnx/net.js';
import type { Graph } from '../onnx/types.js';
import { convTranspose, instanceNorm, reflectPad, sigmoid } from '../onnx/vision.js';
import type { PictureShape } from './picture-shape.js';

export const LINEART_IO = { picture: 'picture', lines: 'lines' } as const;

const UNPADDED = [0, 0, 0, 0] as const;

/** `picture` `[H,W,3]` in 0…1 → `lines` `[H,W,1]`, 1 = paper, 0 = line; height and width multiples of 4. */
export function lineartGraph(
  { channels, residualBlocks }: LineartConfig,
  { height: h, width: w }: PictureShape,
  options: { readonly dialect: Dialect; readonly dtype: FloatType },
): Graph {
  return writeGraph('lineart', options, (net) => {
    const picture = net.image(LINEART_IO.picture, { n: 1, h, w, c: 3 });
    let x = normRelu(net, net.conv('model0.1', reflectPad(net, picture, 3), { channels, kernel: 7, pads: UNPADDED }));
    for (const [module, times] of [
      ['model1.0', 2],
      ['model1.3', 4],
    ] as const) {
      x = normRelu(net, net.conv(module, x, { channels: times * channels, stride: 2 }));
    }
    for (let i = 0; i < residualBlocks; i++) x = residualBlock(net.at(`model2.${i}.conv_block`), x);
    for (const [module, times] of [
      ['model3.0', 2],
      ['model3.3', 1],
    ] as const) {
      const doubling = { channels: times * channels, kernel: 3, stride: 2, padding: 1, outputPadding: 1 };
      x = normRelu(net, convTranspose(net, module, x, doubling));
    }
    const lines = net.conv('model4.1', reflectPad(net, x, 3), { channels: 1, kernel: 7, pads: UNPADDED });
    net.output(LINEART_IO.lines, sigmoid(net, lines));
  });
}

function residualBlock(net: Net, x: Image): Image {
  const channels = x.c;
  const h = normRelu(net, net.conv('1', reflectPad(net, x, 1), { channels, pads: UNPADDED }));
  return net.add(x, instanceNorm(net, net.conv('5', reflectPad(net, h, 1), { channels, pads: UNPADDED })));
}

function normRelu(net: Net, x: Image): Image {
  return net.activate(instanceNorm(net, x), 'relu');
}
