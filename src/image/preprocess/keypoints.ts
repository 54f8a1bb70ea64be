/**
 * @file A person's box → the upright crop that a pose network reads, and its heatmaps → points in the picture. Pure; imports only pictures.
 * As transformers' `VitPoseImageProcessor`: Huang et al. 2020, "The Devil is in the Details: Delving into Unbiased Data Processing for
 * Human Pose Estimation", and Zhang et al. 2020, "Distribution-Aware Coordinate Representation for Human Pose Estimation" (DARK).
 */
import type { RgbPicture } from '../pixels.js';

/** In pixels of the picture; may reach beyond it. */
export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** A joint in pixels of the picture, and how sure the network is (about 0…1). */
export interface Keypoint {
  readonly x: number;
  readonly y: number;
  readonly score: number;
}

interface Size {
  readonly width: number;
  readonly height: number;
}

/** Networks were trained on boxes this much larger than the person. */
const MARGIN = 1.25;

const { fround } = Math;

/** The box widened to the shape of `size`, then by the margin. */
export function widen({ x, y, width, height }: Box, size: Size): Box {
  const aspect = size.width / size.height;
  const [wide, high] = width > aspect * height ? [width, width / aspect] : [height * aspect, height];
  const [w, h] = [fround(fround(wide / 200) * MARGIN) * 200, fround(fround(high / 200) * MARGIN) * 200];
  return { x: fround(x + width / 2) - w / 2, y: fround(y + height / 2) - h / 2, width: w, height: h };
}

/** What is in the box at `size`, bilinear; the corners of the box fall on the corner pixels, black lies outside the picture. */
export function cropTo(picture: RgbPicture, box: Box, { width, height }: Size): RgbPicture {
  const rgb = new Uint8Array(3 * width * height);
  const [sx, sy] = [fround((width - 1) / box.width), fround((height - 1) / box.height)];
  const [tx, ty] = [fround(-box.x * ((width - 1) / box.width)), fround(-box.y * ((height - 1) / box.height))];
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const [x, y] = [(column - tx) / sx, (row - ty) / sy];
      if (x < 0 || y < 0 || x > picture.width - 1 || y > picture.height - 1) continue;
      const at = 3 * (row * width + column);
      for (let channel = 0; channel < 3; channel++)
        rgb[at + channel] = Math.floor(bilinear(picture, x, y, channel) + 0.5);
    }
  }
  return { width, height, rgb };
}

function bilinear({ width, height, rgb }: RgbPicture, x: number, y: number, channel: number): number {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [right, below] = [Math.min(width - 1, left + 1), Math.min(height - 1, top + 1)];
  const at = (column: number, row: number): number => rgb[3 * (row * width + column) + channel] ?? 0;
  const upper = at(left, top) * (1 - x + left) + at(right, top) * (x - left);
  const lower = at(left, below) * (1 - x + left) + at(right, below) * (x - left);
  return upper * (1 - y + top) + lower * (y - top);
}

/**
 * The joints that `heatmaps` show in the crop of `box`.
 * @param heatmaps `[joints, height, width]`
 */
export function keypointsOf(heatmaps: Float32Array, { width, height }: Size, box: Box): readonly Keypoint[] {
  const area = width * height;
  return Array.from({ length: heatmaps.length / area }, (_, joint) => {
    const map = heatmaps.subarray(joint * area, (joint + 1) * area);
    const peak = map.reduce((best, value, i) => (value > (map[best] ?? 0) ? i : best), 0);
    const score = map[peak] ?? 0;
    const [column, row] = [peak % width, Math.floor(peak / width)];
    const [dx, dy] = score > 0 ? towardsMaximum(map, { width, height }, column, row) : [0, 0];
    return {
      x: box.x + ((column - dx) * box.width) / (width - 1),
      y: box.y + ((row - dy) * box.height) / (height - 1),
      score,
    };
  });
}

/** Smoothing of heatmaps before their shape is read: σ and taps on each side. */
const SIGMA = 0.8;
const RADIUS = 5;

/** One Newton step on the logarithm of the smoothed map (DARK, eq. 7): what to subtract from the peak's place. */
function towardsMaximum(map: Float32Array, size: Size, column: number, row: number): readonly [number, number] {
  const log = (dx: number, dy: number): number => {
    const x = Math.min(size.width - 1, Math.max(0, column + dx));
    const y = Math.min(size.height - 1, Math.max(0, row + dy));
    return Math.log(fround(Math.min(50, Math.max(0.001, smoothed(map, size, x, y)))));
  };
  const middle = log(0, 0);
  const [left, right, above, below] = [log(-1, 0), log(1, 0), log(0, -1), log(0, 1)];
  const [gx, gy] = [(right - left) / 2, (below - above) / 2];
  const tiny = 2 ** -23;
  const xx = right - 2 * middle + left + tiny;
  const yy = below - 2 * middle + above + tiny;
  const xy = (log(1, 1) - right - below + 2 * middle - left - above + log(-1, -1)) / 2;
  const determinant = xx * yy - xy * xy;
  return [(yy * gx - xy * gy) / determinant, (xx * gy - xy * gx) / determinant];
}

/** The map through a Gaussian, at one place; the borders are mirrored, the border's pixel repeated. */
function smoothed(map: Float32Array, { width, height }: Size, column: number, row: number): number {
  let sum = 0;
  for (let dy = -RADIUS; dy <= RADIUS; dy++) {
    let line = 0;
    for (let dx = -RADIUS; dx <= RADIUS; dx++) {
      line += (KERNEL[dx + RADIUS] ?? 0) * (map[mirror(row + dy, height) * width + mirror(column + dx, width)] ?? 0);
    }
    sum += (KERNEL[dy + RADIUS] ?? 0) * line;
  }
  return sum;
}

const RAW = Array.from({ length: 2 * RADIUS + 1 }, (_, i) => Math.exp(-((i - RADIUS) ** 2) / (2 * SIGMA * SIGMA)));
const KERNEL: readonly number[] = RAW.map((weight) => weight / RAW.reduce((a, b) => a + b, 0));

/** … 1 0 | 0 1 2 …, also over maps smaller than the kernel. */
function mirror(i: number, size: number): number {
  const folded = ((i % (2 * size)) + 2 * size) % (2 * size);
  return folded < size ? folded : 2 * size - 1 - folded;
}
