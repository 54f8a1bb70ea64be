/** @file Image arrays between torch's order `[C,H,W]` (samplers, noise) and the dialect's (`[H,W,C]` on WebGPU). */
import { concatFloats } from '../base/arrays.js';
import type { Dialect } from '../onnx/dialects/dialect.js';

type Layout = Dialect['layout'];

/** `[C,H,W]` → the dialect's order; copies only when it must. */
export function toDialect(layout: Layout, chw: Float32Array, channels: number): Float32Array {
  return layout === 'nchw' ? chw : turn(chw, channels, chw.length / channels);
}

/** The dialect's order → `[C,H,W]`. */
export function fromDialect(layout: Layout, data: Float32Array, channels: number): Float32Array {
  return layout === 'nchw' ? data : turn(data, data.length / channels, channels);
}

/** Rows `from`…`to − 1` of an image of `rows` rows. */
export function cutBand(
  layout: Layout,
  image: Float32Array,
  { channels, rows, from, to }: { channels: number; rows: number; from: number; to: number },
): Float32Array {
  const planes = layout === 'nhwc' ? 1 : channels;
  const [plane, row] = [image.length / planes, image.length / planes / rows];
  return concatFloats(
    Array.from({ length: planes }, (_, i) => image.subarray(i * plane + from * row, i * plane + to * row)),
  );
}

/** Bands of rows of one image, from top to bottom, in the dialect's order → the image. */
export function stackBands(layout: Layout, bands: readonly Float32Array[], channels: number): Float32Array {
  if (layout === 'nhwc') return concatFloats(bands);
  const planes = Array.from({ length: channels }, (_, channel) =>
    bands.map((band) => band.subarray((channel * band.length) / channels, ((channel + 1) * band.length) / channels)),
  );
  return concatFloats(planes.flat());
}

/** Transposes a `rows × columns` matrix. */
function turn(data: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(data.length);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) out[c * rows + r] = data[r * columns + c] ?? 0;
  }
  return out;
}
