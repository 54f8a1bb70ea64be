/**
 * @file Coloured drawing → its lines: the UNet generator of pix2pix (Isola et al. 2017, appendix 6.1.1,
 * https://arxiv.org/abs/1611.07004) with instance norms, as the anime line drawing guide of ControlNet uses it (`netG`).
 */
import type { FloatType } from '../base/dtype.js';
import { animeBlock, animeDown, type LineartAnimeConfig } from '../models/configs/edges.js';
import type { Dialect } from '../onnx/dialects/dialect.js';
import { writeGraph, type Image, type Net } from '../onnx/net.js';
import type { Graph } from '../onnx/types.js';
import { convTranspose, instanceNorm, leakyRelu } from '../onnx/vision.js';
import type { PictureShape } from './picture-shape.js';

export const LINEART_ANIME_IO = { picture: 'picture', lines: 'lines' } as const;

/** All convolutions halve or double the picture. */
const HALVING = { kernel: 4, stride: 2 } as const;

/** `picture` `[H,W,3]` in −1…1 → `lines` `[H,W,1]` in −1…1, 1 = paper; height and width multiples of 2^levels. */
export function lineartAnimeGraph(
  config: LineartAnimeConfig,
  { height: h, width: w }: PictureShape,
  options: { readonly dialect: Dialect; readonly dtype: FloatType },
): Graph {
  return writeGraph('lineart_anime', options, (net) => {
    const picture = net.image(LINEART_ANIME_IO.picture, { n: 1, h, w, c: 3 });
    const inner = level(net, config, net.conv(animeDown(0), picture, down(config, 0)), 1);
    const up = { ...HALVING, channels: 1, padding: 1 };
    const lines = convTranspose(net, `${animeBlock(0)}.model.3`, net.activate(inner, 'relu'), up);
    net.output(LINEART_ANIME_IO.lines, net.activate(lines, 'tanh'));
  });
}

/** The block of one level: `x` beside what comes back from below. */
function level(net: Net, config: LineartAnimeConfig, x: Image, depth: number): Image {
  const innermost = depth === config.channels.length - 1;
  // The activation works in place in the original: the skip carries its result.
  const skip = leakyRelu(net, x, 0.2);
  const h = net.conv(animeDown(depth), skip, down(config, depth));
  const below = innermost ? h : level(net, config, instanceNorm(net, h), depth + 1);
  const module = `${animeBlock(depth)}.model.${innermost ? 3 : 5}`;
  const up = { ...HALVING, channels: x.c, padding: 1 };
  return net.concat(skip, instanceNorm(net, convTranspose(net, module, net.activate(below, 'relu'), up)));
}

function down({ channels }: LineartAnimeConfig, depth: number) {
  return { ...HALVING, channels: channels[depth] ?? 0, pads: [1, 1, 1, 1] } as const;
}
