/** @file Filled ellipses, discs and thick lines on an RGB picture, without smoothing, as OpenCV draws them. Changes the canvas it is given. */

export type Colour = readonly [number, number, number];

/** A picture that is being drawn. */
export interface Canvas {
  readonly width: number;
  readonly height: number;
  readonly rgb: Uint8Array;
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** From `left` to `right`, both included; what lies outside the canvas is cut off. */
function span({ width, height, rgb }: Canvas, y: number, left: number, right: number, colour: Colour): void {
  if (y < 0 || y >= height) return;
  for (let x = Math.max(0, left); x <= Math.min(width - 1, right); x++) rgb.set(colour, 3 * (y * width + x));
}

/** A disc by the midpoint circle algorithm. @param centre whole numbers */
export function fillDisc(canvas: Canvas, centre: Point, radius: number, colour: Colour): void {
  let [dx, dy, error] = [radius, 0, 0];
  while (dx >= dy) {
    for (const [half, offset] of [
      [dx, dy],
      [dy, dx],
    ] as const) {
      span(canvas, centre.y - offset, centre.x - half, centre.x + half, colour);
      span(canvas, centre.y + offset, centre.x - half, centre.x + half, colour);
    }
    error += 2 * dy + 1;
    dy += 1;
    if (error > 0) {
      error -= 2 * dx - 1;
      dx -= 1;
    }
  }
}

/**
 * An ellipse turned by `degrees` as a polygon with a corner each degree.
 * @param centre whole numbers @param axes half the length of each, whole numbers
 */
export function fillEllipse(canvas: Canvas, centre: Point, axes: Point, degrees: number, colour: Colour): void {
  const turn = (degrees * Math.PI) / 180;
  const corners = Array.from({ length: 361 }, (_, i) => {
    const [x, y] = [axes.x * Math.cos((i * Math.PI) / 180), axes.y * Math.sin((i * Math.PI) / 180)];
    return {
      x: Math.round(centre.x + x * Math.cos(turn) - y * Math.sin(turn)),
      y: Math.round(centre.y + x * Math.sin(turn) + y * Math.cos(turn)),
    };
  });
  fillConvex(canvas, corners, colour);
}

/** A segment as wide as `thickness` pixels, with round ends. */
export function drawLine(canvas: Canvas, from: Point, to: Point, thickness: number, colour: Colour): void {
  const reach = thickness / 2;
  const [left, right] = [Math.floor(Math.min(from.x, to.x) - reach), Math.ceil(Math.max(from.x, to.x) + reach)];
  const [top, bottom] = [Math.floor(Math.min(from.y, to.y) - reach), Math.ceil(Math.max(from.y, to.y) + reach)];
  for (let y = Math.max(0, top); y <= Math.min(canvas.height - 1, bottom); y++) {
    for (let x = Math.max(0, left); x <= Math.min(canvas.width - 1, right); x++) {
      if (distance({ x, y }, from, to) <= reach) span(canvas, y, x, x, colour);
    }
  }
}

/** From a point to the nearest of a segment. */
function distance(point: Point, from: Point, to: Point): number {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = dx * dx + dy * dy;
  const along = length === 0 ? 0 : ((point.x - from.x) * dx + (point.y - from.y) * dy) / length;
  const t = Math.min(1, Math.max(0, along));
  return Math.hypot(point.x - from.x - t * dx, point.y - from.y - t * dy);
}

/** Every pixel from the leftmost to the rightmost point of the outline in its row. Corners are whole numbers. */
function fillConvex(canvas: Canvas, corners: readonly Point[], colour: Colour): void {
  const rows = new Map<number, readonly [number, number]>();
  corners.forEach((corner, i) => {
    for (const { x, y } of pixelsOfLine(corner, corners[i + 1] ?? corner)) {
      const [left, right] = rows.get(y) ?? [x, x];
      rows.set(y, [Math.min(left, x), Math.max(right, x)]);
    }
  });
  for (const [y, [left, right]] of rows) span(canvas, y, left, right, colour);
}

/** The pixels of a line one pixel wide (Bresenham 1965). */
function pixelsOfLine(from: Point, to: Point): readonly Point[] {
  const steps = Math.max(Math.abs(to.x - from.x), Math.abs(to.y - from.y));
  return Array.from({ length: steps + 1 }, (_, i) => ({
    x: Math.round(from.x + (steps === 0 ? 0 : (i * (to.x - from.x)) / steps)),
    y: Math.round(from.y + (steps === 0 ? 0 : (i * (to.y - from.y)) / steps)),
  }));
}
