/** @file Depth by a Depth Anything model: what is near is bright. As the depth-estimation pipeline of transformers. */
import { DEPTH_IO, depthAnythingGraph } from '../../graphs/depth-anything.js';
import type { WeightFile } from '../../assets/weights.js';
import type { RgbPicture } from '../../image/pixels.js';
import { resample } from '../../image/preprocess/resample.js';
import { resize } from '../../image/resize.js';
import {
  parseDepthAnythingConfig,
  parseDepthInputConfig,
  type DepthInputConfig,
} from '../../models/configs/depth-anything.js';
import type { VitConfig } from '../../models/configs/vit.js';
import { roundHalfEven } from '../../sampling/numeric.js';
import { DEPTH, openNetwork, withModel, type NeuralContext } from './networks.js';
import { grayPicture, toInput } from './pictures.js';

/** Depth stretched to 0…255, of the picture's size. */
export async function depth(picture: RgbPicture, context: NeuralContext): Promise<RgbPicture> {
  const { runtime, signal } = context;
  const files = await openNetwork(DEPTH, context);
  const config = parseDepthAnythingConfig(await files.json('config.json'), `${files.name}/config.json`);
  const reading = parseDepthInputConfig(
    (await files.json('preprocessor_config.json')) ?? {},
    `${files.name}/preprocessor_config.json`,
  );
  const { patchSize } = config.backbone;
  const { width, height } = inputSize(picture, reading, patchSize);
  const input = toInput(runtime.dialect, resize(picture, width, height, 'bicubic'), {
    mean: reading.mean.map((value) => 255 * value),
    std: reading.std.map((value) => 255 * value),
  });
  const grid = { width: width / patchSize, height: height / patchSize };
  const place = await positions(files.weights, config.backbone, grid, signal);
  const graph = depthAnythingGraph(config, { width, height }, { dialect: runtime.dialect, dtype: 'float32' });
  const outputs = await withModel(context, files.weights, graph, (model) =>
    model.run({ [DEPTH_IO.picture]: input, ...place }, signal),
  );
  const map = { width, height, channels: 1, values: outputs[DEPTH_IO.depth] ?? new Float32Array() };
  return stretched(resample(map, picture.width, picture.height, 'cubic').values, picture.width, picture.height);
}

/**
 * The picture's size for the network: scaled so that the side that needs the smaller change fits, in multiples of the patch.
 * `get_resize_output_image_size` of transformers' DPT image processor; Python rounds half to even.
 */
export function inputSize(
  picture: { readonly width: number; readonly height: number },
  { width, height, keepAspectRatio, multipleOf }: DepthInputConfig,
  patchSize: number,
): { readonly width: number; readonly height: number } {
  const [byWidth, byHeight] = [width / picture.width, height / picture.height];
  const closest = Math.abs(1 - byWidth) < Math.abs(1 - byHeight) ? byWidth : byHeight;
  const multiple = multipleOf % patchSize === 0 ? multipleOf : patchSize;
  const fit = (size: number, scale: number): number =>
    Math.max(multiple, roundHalfEven(((keepAspectRatio ? closest : scale) * size) / multiple) * multiple);
  return { width: fit(picture.width, byWidth), height: fit(picture.height, byHeight) };
}

/** The learned positions, interpolated to this grid of patches, and the class token with its own. */
async function positions(
  weights: WeightFile,
  { hiddenSize: channels, imageHeight, imageWidth, patchSize }: VitConfig,
  grid: { readonly width: number; readonly height: number },
  signal: AbortSignal | undefined,
): Promise<Readonly<Record<string, Float32Array>>> {
  const table = await weights.read('backbone.embeddings.position_embeddings', 'float32', signal);
  const token = await weights.read('backbone.embeddings.cls_token', 'float32', signal);
  const trained = { width: Math.floor(imageWidth / patchSize), height: Math.floor(imageHeight / patchSize) };
  const plane = { ...trained, channels, values: table.subarray(channels) };
  const { values } = resample(plane, grid.width, grid.height, 'cubic');
  return {
    [DEPTH_IO.classToken]: token.map((value, i) => value + (table[i] ?? 0)),
    [DEPTH_IO.positions]: Float32Array.from(values),
  };
}

/** The smallest number black, the largest white; a flat map is black. */
function stretched(values: ArrayLike<number>, width: number, height: number): RgbPicture {
  let [min, max] = [Infinity, -Infinity];
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? 0;
    [min, max] = [Math.min(min, value), Math.max(max, value)];
  }
  const range = max - min;
  const unit = Float32Array.from({ length: values.length }, (_, i) =>
    range > 0 ? ((values[i] ?? 0) - min) / range : 0,
  );
  return grayPicture(
    unit.map((value) => value * 255),
    width,
    height,
  );
}
