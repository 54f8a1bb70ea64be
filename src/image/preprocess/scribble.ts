/** @file Soft edges → thick pen strokes: ridges of the edge map, drawn with a broad pen. Pure; imports only pictures. */
import type { RgbPicture } from '../pixels.js';
import { gaussian, gaussian8 } from './blur.js';
import { fromGray, luma } from './gray.js';
import type { Plane } from './resample.js';

/** Standard deviation in pixels of both blurs. */
const SIGMA = 3;
/** Ridges up to this gray are dropped. */
const FAINT = 127;
/** What the second blur leaves above this gray becomes ink. */
const INK = 4;

/** The two neighbours of a pixel in each direction across which it may be a ridge: along x, y and the diagonals. */
const DIRECTIONS = [
  [1, 0],
  [0, 1],
  [1, 1],
  [1, -1],
] as const;

/**
 * White strokes on black, as ControlNet's scribble guide makes them from HED edges (`nms(x, 127, 3)`, blur, threshold 4).
 * @param edges gray edges, white on black
 */
export function scribble(edges: RgbPicture): RgbPicture {
  const { width, height } = edges;
  const soft = gaussian({ width, height, channels: 1, values: Float32Array.from(luma(edges)) }, SIGMA);
  const lines = soft.values.map((value, at) => (value > FAINT && isRidge(soft, at) ? 255 : 0));
  const thick = gaussian8({ width, height, channels: 1, values: lines }, SIGMA);
  return fromGray(
    Uint8Array.from(thick.values, (value) => (value > INK ? 255 : 0)),
    width,
    height,
  );
}

/** Whether a pixel is as strong as both its neighbours in at least one direction; beyond the border there is nothing. */
function isRidge({ width, height, values }: Plane, at: number): boolean {
  const [x, y] = [at % width, Math.floor(at / width)];
  const value = values[at] ?? 0;
  const near = (column: number, row: number): number =>
    column < 0 || row < 0 || column >= width || row >= height ? -Infinity : (values[row * width + column] ?? 0);
  return DIRECTIONS.some(([dx, dy]) => value >= near(x + dx, y + dy) && value >= near(x - dx, y - dy));
}
