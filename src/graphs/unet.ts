/**
 * @file UNet2DConditionModel: noisy latents + time + text → the network's prediction. Read top to bottom like the paper
 * (Rombach et al. 2022, https://arxiv.org/abs/2112.10752; diffusers `unet_2d_condition.py`). Its first half is in unet-encoder.ts.
 */
import type { Dialect } from '../onnx/dialects/dialect.js';
import { writeGraph, type Image, type Net } from '../onnx/net.js';
import type { Graph } from '../onnx/types.js';
import type { FloatType } from '../base/dtype.js';
import type { UNetConfig } from '../models/configs/unet.js';
import { resnetBlock, spatialTransformer, upsample } from './layers.js';
import {
  ENCODER_IO,
  encode,
  encoderInputs,
  levelsOf,
  residualShapes,
  timeEmbedding,
  type Encoded,
  type EncoderInputs,
  type UNetShape,
} from './unet-encoder.js';

export { timestepSinusoid } from './sinusoid.js';
export { residualName, residualShapes, type ResidualShape, type UNetShape } from './unet-encoder.js';

/** Names of the graph's inputs and outputs; residuals are named by {@link residualName}. */
export const UNET_IO = { ...ENCODER_IO, output: 'out_sample' } as const;

export interface UNetOptions {
  readonly dialect: Dialect;
  readonly dtype: FloatType;
  /** Takes the residuals of a ControlNet (or the sum of several) as inputs: {@link residualShapes}. */
  readonly residuals?: boolean;
}

/**
 * Inputs: `sample` `[N,H,W,in_channels]` (dialect layout), `time_sinusoid` `[N, C₀]` (see {@link timestepSinusoid}),
 * `encoder_hidden_states` `[N·S, D]`, and where the config asks for them `added_conditions` and `timestep_cond` (`[N, ·]`). Output: `out_sample` `[N,H,W,out_channels]`.
 * @throws invalidGraph where a width does not fit.
 */
export function unetGraph(config: UNetConfig, shape: UNetShape, options: UNetOptions): Graph {
  return writeGraph('unet', options, (net) => {
    const inputs = encoderInputs(net, config, shape);
    const residuals =
      options.residuals === true
        ? residualShapes(config, shape).map(({ name, ...size }) => net.image(name, size))
        : undefined;
    net.output(UNET_IO.output, unet(net, config, { ...inputs, residuals }));
  });
}

interface UNetInputs extends EncoderInputs {
  readonly residuals: readonly Image[] | undefined;
}

function unet(net: Net, config: UNetConfig, inputs: UNetInputs): Image {
  const { sample, text, residuals } = inputs;
  const { normNumGroups: groups, normEps: eps } = config;
  const time = timeEmbedding(net, config, inputs);
  const first = net.conv('conv_in', sample, { channels: inputs.sinusoid.c, kernel: config.convInKernel });
  const encoded = encode(net, config, first, { time, text });

  const { skips, mid } = residuals === undefined ? encoded : addResiduals(net, encoded, residuals);
  const waiting = [...skips];
  const levels = levelsOf(config);
  let x = mid;
  [...levels].reverse().forEach((level, i) => {
    const block = net.at(`up_blocks.${i}`);
    const attends = config.upBlockTypes[i] === 'CrossAttnUpBlock2D';
    for (let j = 0; j < level.layers + 1; j++) {
      x = net.at(`up_blocks.${i}.resnets.${j}`).concat(x, pop(waiting));
      x = resnetBlock(block.at(`resnets.${j}`), x, time, level);
      if (attends) x = spatialTransformer(block.at(`attentions.${j}`), x, text, level);
    }
    if (i < levels.length - 1) x = upsample(block, x);
  });

  x = net.groupNorm('conv_norm_out', x, { groups, eps, silu: true });
  return net.conv('conv_out', x, { channels: config.outChannels, kernel: config.convOutKernel });
}

/** What a ControlNet says is added to the skips and to the mid block's output (Zhang et al. 2023, §3.2); the way down does not see it. */
function addResiduals(net: Net, { skips, mid }: Encoded, residuals: readonly Image[]): Encoded {
  const add = (x: Image, i: number): Image => {
    const residual = residuals[i];
    if (residual === undefined) throw new RangeError('there is one residual for each skip and one for the mid block');
    return net.at('residuals').add(x, residual);
  };
  return { skips: skips.map(add), mid: add(mid, skips.length) };
}

function pop(skips: Image[]): Image {
  const skip = skips.pop();
  if (skip === undefined) throw new RangeError('the up blocks read more skips than the down blocks wrote');
  return skip;
}
