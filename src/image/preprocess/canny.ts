/**
 * @file Edges by Canny's method (J. Canny, "A Computational Approach to Edge Detection", 1986), in the whole numbers of OpenCV's
 * `Canny(image, low, high)`: Sobel 3×3, |dx| + |dy|, the strongest channel of each pixel. Pure; imports only pictures.
 * Behaviour: https://docs.opencv.org/4.x/dd/d1a/group__imgproc__feature.html (aperture 3, L2gradient false).
 */
import type { RgbPicture } from '../pixels.js';
import { fromGray } from './gray.js';

export interface CannyOptions {
  /** Gradients up to this one are no edges; fractions are cut off. */
  readonly low: number;
  /** Gradients above this one are edges, and so is what hangs together with them. Swapped with `low` when smaller. */
  readonly high: number;
}

/** The gradient of each pixel's strongest channel; `magnitude` is |dx| + |dy| with a frame of zeros, `(width+2)·(height+2)`. */
interface Gradients {
  readonly dx: Int16Array;
  readonly dy: Int16Array;
  readonly magnitude: Int32Array;
}

/** What is known of a pixel: nothing, on a ridge above the low threshold (an edge if it touches one), or an edge. */
const CANDIDATE = 1;
const EDGE = 2;

/**
 * White edges, one pixel wide, on black; of the picture's size.
 * @param options thresholds of |dx| + |dy|, which reaches 2040 in 8-bit pictures
 */
export function canny(picture: RgbPicture, { low, high }: CannyOptions): RgbPicture {
  const { width, height } = picture;
  const gradients = strongestGradients(picture);
  const thresholds = { low: Math.floor(Math.min(low, high)), high: Math.floor(Math.max(low, high)) };
  const marks = thinRidges(gradients, width, height, thresholds);
  spreadEdges(marks, width + 2);
  const edges = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (marks[(y + 1) * (width + 2) + x + 1] === EDGE) edges[y * width + x] = 255;
    }
  }
  return fromGray(edges, width, height);
}

/** Sobel 3×3 with repeated borders. Of channels that are equally strong, the first counts. */
function strongestGradients({ width, height, rgb }: RgbPicture): Gradients {
  const dx = new Int16Array(width * height);
  const dy = new Int16Array(width * height);
  const magnitude = new Int32Array((width + 2) * (height + 2));
  for (let y = 0; y < height; y++) {
    const above = 3 * width * Math.max(0, y - 1);
    const here = 3 * width * y;
    const below = 3 * width * Math.min(height - 1, y + 1);
    for (let x = 0; x < width; x++) {
      const pixel = y * width + x;
      let strongest = -1;
      for (let channel = 0; channel < 3; channel++) {
        const left = 3 * Math.max(0, x - 1) + channel;
        const middle = 3 * x + channel;
        const right = 3 * Math.min(width - 1, x + 1) + channel;
        // The diagonals, which both directions share: south-east − north-west, and north-east − south-west.
        const falling = (rgb[below + right] ?? 0) - (rgb[above + left] ?? 0);
        const rising = (rgb[above + right] ?? 0) - (rgb[below + left] ?? 0);
        const gx = falling + rising + 2 * ((rgb[here + right] ?? 0) - (rgb[here + left] ?? 0));
        const gy = falling - rising + 2 * ((rgb[below + middle] ?? 0) - (rgb[above + middle] ?? 0));
        const sum = Math.abs(gx) + Math.abs(gy);
        if (sum <= strongest) continue;
        strongest = sum;
        dx[pixel] = gx;
        dy[pixel] = gy;
      }
      magnitude[(y + 1) * (width + 2) + x + 1] = strongest;
    }
  }
  return { dx, dy, magnitude };
}

/** tan 22.5° in fixed point of 15 bits. */
const TAN_22 = 13573;

/** Keeps pixels that are the maximum across their edge, in one of four directions. @returns marks with a frame, as `magnitude` */
function thinRidges(
  { dx, dy, magnitude }: Gradients,
  width: number,
  height: number,
  { low, high }: CannyOptions,
): Uint8Array {
  const stride = width + 2;
  const marks = new Uint8Array(magnitude.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = (y + 1) * stride + x + 1;
      const strength = magnitude[at] ?? 0;
      if (strength <= low) continue;
      const [gx, gy] = [dx[y * width + x] ?? 0, dy[y * width + x] ?? 0];
      if (isRidge(magnitude, at, strength, acrossEdge(gx, gy, stride))) {
        marks[at] = strength > high ? EDGE : CANDIDATE;
      }
    }
  }
  return marks;
}

/** The neighbour after the pixel in the direction of the gradient, and whether that direction is a diagonal. */
function acrossEdge(gx: number, gy: number, stride: number): { readonly step: number; readonly diagonal: boolean } {
  const rise = Math.abs(gy) * 2 ** 15;
  const shallow = Math.abs(gx) * TAN_22;
  if (rise < shallow) return { step: 1, diagonal: false };
  const steep = shallow + Math.abs(gx) * 2 ** 16; // tan 67.5° = 2 + tan 22.5°
  if (rise > steep) return { step: stride, diagonal: false };
  return { step: gx < 0 !== gy < 0 ? stride - 1 : stride + 1, diagonal: true };
}

/** Of two equal neighbours on a row or column the first is the ridge; on a diagonal neither is. */
function isRidge(
  magnitude: Int32Array,
  at: number,
  strength: number,
  { step, diagonal }: { readonly step: number; readonly diagonal: boolean },
): boolean {
  const [before, after] = [magnitude[at - step] ?? 0, magnitude[at + step] ?? 0];
  return strength > before && (diagonal ? strength > after : strength >= after);
}

/** Candidates that touch an edge, also at a corner, become edges, and so on. */
function spreadEdges(marks: Uint8Array, stride: number): void {
  const around = [-stride - 1, -stride, -stride + 1, -1, 1, stride - 1, stride, stride + 1];
  const stack: number[] = [];
  marks.forEach((mark, at) => {
    if (mark === EDGE) stack.push(at);
  });
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    for (const offset of around) {
      if (marks[at + offset] !== CANDIDATE) continue;
      marks[at + offset] = EDGE;
      stack.push(at + offset);
    }
  }
}
