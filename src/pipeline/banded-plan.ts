/** @file Whether a picture is decoded in bands of rows, and in which. Pure. */
import type { AutoencoderKLConfig } from '../models/configs/autoencoder-kl.js';
import { planBuffers, peakLiveBytes, valueBytes } from '../onnx/liveness.js';
import type { Graph } from '../onnx/types.js';
import type { RuntimeInfo } from '../runtime/runtime.js';

/**
 * `auto`: in bands when the device could not do it at once; `always`, `never`: whatever the device; a number: in bands of that many rows of
 * latents (each is 8 rows of most pictures) at most.
 */
export type Tiles = 'auto' | 'always' | 'never' | number;

/** How a picture is cut. */
export interface BandPlan {
  /** Rows of latents in each band, from top to bottom; each graph comes in as many sizes as there are different ones, two at most. */
  readonly heights: readonly number[];
  /** The decoder's first so many up blocks run on the whole picture; at least 1, and fewer than there are. */
  readonly wholeBlocks: number;
}

/** What one band reads or makes at a time: enough rows to keep a GPU busy, and few of these buffers are alive at once. */
export const BAND_BYTES = 2 ** 26;

/** The decoder in one piece, written only if it decides; and the device. */
export interface Whole {
  readonly graph: () => Graph;
  readonly info: RuntimeInfo;
}

/** A WebAssembly heap addresses 32 bits: what there is on the CPU. */
export const HEAP_BYTES = 2 ** 32;

/** Bands are of float32, as the decoder is. */
const FLOAT32_BYTES = 4;

/** Whether a picture is to be decoded in parts. */
export function isCut(tiles: Tiles, whole: Whole): boolean {
  return tiles !== 'never' && (tiles !== 'auto' || !isPossible(whole));
}

/**
 * The bands of latents `[C,height,width]`; none for a decoder of a single resolution, which cannot be cut.
 * @param most rows of latents in a band; by default as many as its tensors stay small with
 */
export function planBands(
  config: AutoencoderKLConfig,
  { height, width }: { readonly height: number; readonly width: number },
  most?: number,
): BandPlan | undefined {
  const blocks = config.blockOutChannels.length;
  if (blocks < 2) return undefined;
  const bytes = rowBytes(config, width);
  const rows = Math.max(1, Math.floor(most ?? BAND_BYTES / Math.max(...bytes)));
  const large = bytes.findIndex((each) => each * height > BAND_BYTES);
  const wholeBlocks = Math.min(blocks - 1, Math.max(1, large < 0 ? blocks : large));
  return { heights: cut(height, height / evenRows(height, rows)), wholeBlocks };
}

/** For each up block, bytes of its widest tensor that one row of latents becomes. */
function rowBytes({ blockOutChannels }: AutoencoderKLConfig, width: number): readonly number[] {
  const widths = [...blockOutChannels].reverse();
  return widths.map((channels, level) => {
    const widest = Math.max(channels, widths[level - 1] ?? 0);
    return 4 ** level * width * widest * FLOAT32_BYTES;
  });
}

/** The most rows, up to `most`, that make equal bands, for graphs and buffers of one size; but not many more bands for that. */
function evenRows(height: number, most: number): number {
  for (let rows = Math.min(most, height); rows > most / 2; rows--) if (height % rows === 0) return rows;
  return height / Math.ceil(height / most);
}

/** `height` rows in so many nearly equal bands. */
export function cut(height: number, bands: number): readonly number[] {
  const edge = (band: number): number => Math.round((band * height) / bands);
  return Array.from({ length: bands }, (_, band) => edge(band + 1) - edge(band));
}

/** Whether the device can decode in one piece, as far as its limits tell. On the CPU: the heap must hold the weights and what is alive at once. */
function isPossible({ graph: write, info: { backend, limits } }: Whole): boolean {
  if (backend === 'webgpu' && limits === undefined) return true;
  const graph = write();
  const weights = graph.weights.map(({ value }) => valueBytes(value));
  if (backend === 'wasm') return peakLiveBytes(graph) + weights.reduce((a, b) => a + b, 0) <= HEAP_BYTES;
  if (limits === undefined) return true;
  const { maxBufferSize, maxStorageBufferBindingSize } = limits;
  // Other operators bind large tensors in pieces.
  const bound = graph.nodes.flatMap(({ opType, inputs: [x] }) =>
    opType === 'Conv' && x !== undefined ? [valueBytes(x)] : [],
  );
  const made = planBuffers(graph).map(({ bytes }) => bytes);
  return bound.every((bytes) => bytes <= maxStorageBufferBindingSize) && made.every((bytes) => bytes <= maxBufferSize);
}
