/** @file Edges and lines by networks: softedge (HED), lineart, lineart_anime. Each gives white on black, of the picture's size. */
import { HED_IO, hedGraph } from '../../graphs/hed.js';
import { LINEART_ANIME_IO, lineartAnimeGraph } from '../../graphs/lineart-anime.js';
import { LINEART_IO, lineartGraph } from '../../graphs/lineart.js';
import type { RgbPicture } from '../../image/pixels.js';
import { resample, type Plane } from '../../image/preprocess/resample.js';
import { hedConfig, lineartAnimeConfig, lineartConfig } from '../../models/configs/edges.js';
import { LINEART, LINEART_ANIME, openNetwork, shapesOf, SOFTEDGE, withModel, type NeuralContext } from './networks.js';
import { grayPicture, resizePicture, toInput, workingSize } from './pictures.js';

/** Sizes are multiples of this, as controlnet_aux makes them. */
const MULTIPLE = 64;
/** Plain pixel values. */
const AS_THEY_ARE = { mean: [0, 0, 0], std: [1, 1, 1] } as const;
const TO_ONE = { mean: [0, 0, 0], std: [255, 255, 255] } as const;
const AROUND_ZERO = { mean: [127.5, 127.5, 127.5], std: [127.5, 127.5, 127.5] } as const;

/** The mean of HED's edge maps through a sigmoid. */
export async function softedge(picture: RgbPicture, context: NeuralContext): Promise<RgbPicture> {
  const { dialect } = context.runtime;
  const { name, weights } = await openNetwork(SOFTEDGE, context);
  const config = hedConfig(shapesOf(weights), name);
  const { width, height } = workingSize(picture, Math.max(MULTIPLE, 2 ** config.blocks.length));
  const input = toInput(dialect, resizePicture(picture, width, height), AS_THEY_ARE);
  const graph = hedGraph(config, { width, height }, { dialect, dtype: 'float32' });
  const outputs = await withModel(context, weights, graph, (model) =>
    model.run({ [HED_IO.picture]: input }, context.signal),
  );
  const sum = new Float64Array(width * height);
  config.blocks.forEach((_, i) => {
    const values = outputs[HED_IO.edges(i)] ?? new Float32Array();
    const map: Plane = { width: width >> i, height: height >> i, channels: 1, values };
    resample(map, width, height, 'linear').values.forEach((value, at) => (sum[at] = (sum[at] ?? 0) + value));
  });
  const edges = sum.map((total) => 255 / (1 + Math.exp(-total / config.blocks.length)));
  return resizePicture(grayPicture(edges, width, height), picture.width, picture.height);
}

/** Dark lines on paper, inverted. */
export async function lineart(picture: RgbPicture, context: NeuralContext): Promise<RgbPicture> {
  const { dialect } = context.runtime;
  const { name, weights } = await openNetwork(LINEART, context);
  const { width, height } = workingSize(picture, MULTIPLE);
  const input = toInput(dialect, resizePicture(picture, width, height), TO_ONE);
  const graph = lineartGraph(lineartConfig(shapesOf(weights), name), { width, height }, { dialect, dtype: 'float32' });
  const outputs = await withModel(context, weights, graph, (model) =>
    model.run({ [LINEART_IO.picture]: input }, context.signal),
  );
  const lines = outputs[LINEART_IO.lines] ?? new Float32Array();
  return inverted(
    resizePicture(
      grayPicture(
        lines.map((v) => 255 * v),
        width,
        height,
      ),
      picture.width,
      picture.height,
    ),
  );
}

/** The same for coloured drawings. */
export async function lineartAnime(picture: RgbPicture, context: NeuralContext): Promise<RgbPicture> {
  const { dialect } = context.runtime;
  const { name, weights } = await openNetwork(LINEART_ANIME, context);
  const config = lineartAnimeConfig(shapesOf(weights), name);
  const { width, height } = workingSize(picture, 2 ** config.channels.length);
  const input = toInput(dialect, resizePicture(picture, width, height), AROUND_ZERO);
  const graph = lineartAnimeGraph(config, { width, height }, { dialect, dtype: 'float32' });
  const outputs = await withModel(context, weights, graph, (model) =>
    model.run({ [LINEART_ANIME_IO.picture]: input }, context.signal),
  );
  const values = (outputs[LINEART_ANIME_IO.lines] ?? new Float32Array()).map((v) => 127.5 * v + 127.5);
  const lines = resample({ width, height, channels: 1, values }, picture.width, picture.height, 'cubic');
  return inverted(grayPicture(lines.values, picture.width, picture.height));
}

function inverted({ width, height, rgb }: RgbPicture): RgbPicture {
  return { width, height, rgb: rgb.map((value) => 255 - value) };
}
