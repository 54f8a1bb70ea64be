/**
 * @file ControlNetModel: noisy latents + time + text + a guide picture → residuals for a UNet's skips and mid block. Read top to bottom like
 * the paper (Zhang et al. 2023, https://arxiv.org/abs/2302.05543, fig. 3; diffusers `controlnet.py`).
 */
import type { FloatType } from '../base/dtype.js';
import { fail } from '../base/errors.js';
import type { ControlNetConfig } from '../models/configs/controlnet.js';
import type { Dialect, ImageSize } from '../onnx/dialects/dialect.js';
import { writeGraph, type Image, type Net } from '../onnx/net.js';
import type { Graph } from '../onnx/types.js';
import {
  ENCODER_IO,
  encode,
  encoderInputs,
  residualShapes,
  timeEmbedding,
  type EncoderInputs,
  type ResidualShape,
  type UNetShape,
} from './unet-encoder.js';

/** Names of inputs and outputs; the residuals are named by `residualName`, what comes with each of them by {@link residualIO}. */
export const CONTROL_IO = {
  ...ENCODER_IO,
  /** The guide's features: output of {@link controlNetHintGraph}, input of {@link controlNetGraph}. */
  hint: 'hint',
  /** The guide picture, input of {@link controlNetHintGraph}. */
  guide: 'guide',
} as const;

/** Inputs that belong to the residual of this name. */
export function residualIO(name: string): { readonly scale: string; readonly previous: string } {
  return { scale: `scale.${name}`, previous: `previous.${name}` };
}

/** Latent pixels of a guide's features, and the pictures that they are repeated for. */
export type HintShape = Pick<UNetShape, 'batch' | 'height' | 'width'>;

export interface ControlNetOptions {
  readonly dialect: Dialect;
  readonly dtype: FloatType;
}

/**
 * The guide picture's features, the same at every step. Input: `guide` `[1,8H,8W,3]` (dialect layout), RGB (or BGR, where the config says so)
 * from 0 to 1. Output: `hint` `[N,H,W,C₀]`.
 * @throws invalidGraph where a width does not fit
 */
export function controlNetHintGraph(config: ControlNetConfig, shape: HintShape, options: ControlNetOptions): Graph {
  const { batch: n, height: h, width: w } = shape;
  return writeGraph('controlnet hint', options, (net) => {
    const picture = net.image(CONTROL_IO.guide, { n: 1, h: 8 * h, w: 8 * w, c: config.conditioningChannels });
    const channels = config.blockOutChannels[0] ?? 0;
    const hint = hintEmbedding(net.at('controlnet_cond_embedding'), picture, config.hintChannels, channels);
    net.output(CONTROL_IO.hint, spread(net, hint, { n, h, w, c: hint.c }));
  });
}

/**
 * Convolutions with SiLU, two for each halving of the picture, so that it becomes as small as the latents (Zhang et al. 2023, §3.2, eq. 4).
 * @param widths one more than there are halvings
 * @param out channels of the features
 */
export function hintEmbedding(net: Net, picture: Image, widths: readonly number[], out: number): Image {
  const [first = 1, ...wider] = widths;
  let x = net.conv('conv_in', picture, { channels: first, silu: true });
  wider.forEach((channels, i) => {
    x = net.conv(`blocks.${2 * i}`, x, { channels: x.c, silu: true });
    x = net.conv(`blocks.${2 * i + 1}`, x, { channels, stride: 2, silu: true });
  });
  return net.conv('conv_out', x, { channels: out });
}

export interface ControlNetShape extends UNetShape {
  /**
   * Rows of the residuals: `batch` (the default), or any number where `batch` is 1. Then the one picture is scaled for each row, so that a row
   * of scale 0 (no control without the prompt) costs nothing.
   */
  readonly rows?: number;
}

/**
 * Inputs: `sample`, `time_sinusoid`, `encoder_hidden_states`, `added_conditions` as the UNet's, of `batch` pictures; `hint` `[N,H,W,C₀]`; for each
 * residual its scales `[rows]` (names from {@link residualIO}), and with `previous` the other nets' residuals, which are added.
 * Outputs: the residuals, `residualShapes(config, { …shape, batch: rows })`.
 * @throws invalidGraph where a width does not fit
 */
export function controlNetGraph(
  config: ControlNetConfig,
  shape: ControlNetShape,
  options: ControlNetOptions & { readonly previous?: boolean },
): Graph {
  const { batch, height: h, width: w, rows = batch } = shape;
  if (batch !== 1 && rows !== batch) {
    throw fail('invalidGraph', `controlnet: ${rows} rows of residuals cannot be made from ${batch} pictures.`);
  }
  return writeGraph('controlnet', options, (net) => {
    const inputs = encoderInputs(net, config, shape);
    const hint = net.image(CONTROL_IO.hint, { n: batch, h, w, c: inputs.sinusoid.c });
    const residuals = residualShapes(config, { ...shape, batch: rows }).map((residual): Injection => {
      const { scale, previous } = residualIO(residual.name);
      return {
        residual,
        scale: net.image(scale, { n: rows, h: 1, w: 1, c: 1 }),
        previous: options.previous === true ? net.image(previous, residual) : undefined,
      };
    });
    controlNet(net, config, { ...inputs, hint }, residuals);
  });
}

/** One residual on its way out. */
interface Injection {
  readonly residual: ResidualShape;
  /** One factor for each row. */
  readonly scale: Image;
  readonly previous: Image | undefined;
}

interface ControlNetInputs extends EncoderInputs {
  readonly hint: Image;
}

/** A copy of the UNet's first half that sees the guide, and a "zero convolution" (1×1, trained from zero) on all it hands over. */
function controlNet(
  net: Net,
  config: ControlNetConfig,
  inputs: ControlNetInputs,
  injections: readonly Injection[],
): void {
  const { sample, text, hint } = inputs;
  const time = timeEmbedding(net, config, inputs);
  const first = net.conv('conv_in', sample, { channels: hint.c, kernel: config.convInKernel });
  const { skips, mid } = encode(net, config, net.add(first, hint), { time, text });
  [...skips, mid].forEach((x, i) => {
    const injection = injections[i];
    if (injection === undefined) throw new RangeError('there is one residual for each skip and one for the mid block');
    const module = i === skips.length ? 'controlnet_mid_block' : `controlnet_down_blocks.${i}`;
    inject(net.at(module), zeroConvolution(net, module, x, config.globalPool), injection);
  });
}

/** With global pooling (the "shuffle" nets) only the mean of the picture counts: a residual says what, not where. */
function zeroConvolution(net: Net, module: string, x: Image, globalPool: boolean): Image {
  const seen = globalPool ? mean(net.at(module), x) : x; // the mean of a 1×1 convolution is that of its input, convolved
  return net.pointwise(module, seen, { channels: x.c });
}

/** Scaled, then added to what other nets say. */
function inject(net: Net, x: Image, { residual, scale, previous }: Injection): void {
  const { name, ...size } = residual;
  const scaled = spread(net, scaleRows(net, x, scale), size);
  net.output(name, previous === undefined ? scaled : net.add(previous, scaled));
}

/** Each row times its own factor; of one row and several factors, one product for each. */
function scaleRows(net: Net, x: Image, factors: Image): Image {
  return net.custom('', [x, factors], { ...x, n: factors.n }, ({ g, scope }, values) =>
    g.call('Mul', values, { scope }),
  );
}

/** The mean of each channel over all pixels: `[N,1,1,C]`. */
function mean(net: Net, x: Image): Image {
  return net.custom('', [x], { ...x, h: 1, w: 1 }, ({ g, scope, dialect }, [value]) => {
    const pixels = g.ints(dialect.layout === 'nhwc' ? [1, 2] : [2, 3]);
    return g.call('ReduceMean', [value, pixels], { scope, attributes: { keepdims: 1 } });
  });
}

/** Repeats the one row or pixel of `x` until it has this size. */
function spread(net: Net, x: Image, size: ImageSize): Image {
  if (x.n === size.n && x.h === size.h && x.w === size.w) return x;
  return net.custom('', [x], { ...x, ...size }, ({ g, scope, dialect }, [value]) =>
    g.call('Expand', [value, g.ints(dialect.imageShape(size))], { scope }),
  );
}
