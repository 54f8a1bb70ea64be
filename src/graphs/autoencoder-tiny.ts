/**
 * @file AutoencoderTiny (TAESD): latents → picture with a few plain residual blocks; fast, a little softer.
 * https://github.com/madebyollin/taesd; diffusers `autoencoder_tiny.py`, `vae.py` (`DecoderTiny`).
 */
import type { FloatType } from '../base/dtype.js';
import type { AutoencoderTinyConfig } from '../models/configs/autoencoder-tiny.js';
import type { Dialect } from '../onnx/dialects/dialect.js';
import { writeGraph, type Image, type Net } from '../onnx/net.js';
import type { Graph } from '../onnx/types.js';
import { VAE_IO, type AutoencoderShape } from './autoencoder-kl.js';

/** `latents` `[N,h,w,4]` → `picture` `[N,8h,8w,3]` in −1…1 before clamping. Modules are numbered as in `decoder.layers`. */
export function tinyDecoderGraph(
  config: AutoencoderTinyConfig,
  { batch: n, height: h, width: w }: AutoencoderShape,
  options: { readonly dialect: Dialect; readonly dtype: FloatType },
): Graph {
  return writeGraph('tiny_decoder', options, (root) => {
    const net = root.at('decoder.layers');
    const latents = root.image(VAE_IO.latents, { n, h, w, c: config.latentChannels });
    // Squashes outliers: 3·tanh(z/3).
    let x = net.scale(net.activate(net.scale(latents, 1 / 3), 'tanh'), 3);
    let layer = 0;
    const first = config.decoderBlockOutChannels[0] ?? 0;
    x = net.activate(net.conv(`${layer}`, x, { channels: first }), 'relu');
    layer += 2;
    config.decoderBlockOutChannels.forEach((channels, level) => {
      const last = level === config.decoderBlockOutChannels.length - 1;
      for (let i = 0; i < (config.numDecoderBlocks[level] ?? 0); i++)
        x = residualBlock(net.at(`${layer++}`), x, channels);
      if (!last) x = net.at(`${layer++}`).upsample2x(x);
      x = net.conv(`${layer++}`, x, { channels: last ? config.outChannels : channels, bias: last });
    });
    root.output(VAE_IO.picture, root.shift(root.scale(x, 2), -1));
  });
}

/** Three convolutions and a skip, ReLU after the sum. */
function residualBlock(net: Net, x: Image, channels: number): Image {
  let h = net.activate(net.conv('conv.0', x, { channels }), 'relu');
  h = net.activate(net.conv('conv.2', h, { channels }), 'relu');
  h = net.conv('conv.4', h, { channels });
  const skip = x.c === channels ? x : net.pointwise('skip', x, { channels, bias: false });
  return net.activate(net.add(skip, h), 'relu');
}
