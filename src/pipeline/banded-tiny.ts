/**
 * @file The decoder of AutoencoderTiny on overlapping windows of rows, with the result of the whole one: it has no norms, so a pixel depends
 * on rows within a fixed reach alone. What a window decodes beyond its own rows is thrown away.
 */
import { fail } from '../base/errors.js';
import { tinyDecoderGraph } from '../graphs/autoencoder-tiny.js';
import { VAE_IO } from '../graphs/autoencoder-kl.js';
import type { AutoencoderTinyConfig } from '../models/configs/autoencoder-tiny.js';
import { vaeScaleFactor } from '../models/configs/vae.js';
import type { Dialect } from '../onnx/dialects/dialect.js';
import type { Graph } from '../onnx/types.js';
import type { Model } from '../runtime/session.js';
import { BAND_BYTES, cut } from './banded-plan.js';
import type { OnPart } from './banded-runs.js';
import { cutBand } from './layout.js';

/** Rows of latents: those that a window gives, `from`…`to − 1`, and those that it reads, `start`…`end − 1`. */
export interface Window {
  readonly from: number;
  readonly to: number;
  readonly start: number;
  readonly end: number;
}

/** A window reads many rows for its neighbours' sake: larger than bands, it wastes less. */
const WINDOW_BYTES = 4 * BAND_BYTES;

/**
 * The windows of latents `[C,height,width]`.
 * @param most rows of latents that a window gives; by default as many as its tensors stay small with
 */
export function planWindows(
  config: AutoencoderTinyConfig,
  { height, width }: { readonly height: number; readonly width: number },
  most?: number,
): readonly Window[] {
  const reach = reachOf(config);
  const rowBytes = vaeScaleFactor(config) ** 2 * width * Math.max(...config.decoderBlockOutChannels) * 4;
  const rows = Math.max(1, Math.floor(most ?? Math.max(reach, WINDOW_BYTES / rowBytes - 2 * reach)));
  let from = 0;
  return cut(height, Math.ceil(height / rows)).map((own) => {
    const to = from + own;
    const window = { from, to, start: Math.max(0, from - reach), end: Math.min(height, to + reach) };
    from = to;
    return window;
  });
}

/** How many rows of latents above and below a pixel's own it depends on: one for each 3×3 convolution, at that convolution's resolution. */
export function reachOf({ numDecoderBlocks: blocks }: AutoencoderTinyConfig): number {
  const top = blocks.length - 1;
  // One before each level's blocks of three; one at the end.
  return blocks.reduceRight((reach, count, level) => Math.ceil(reach / 2) + 1 + 3 * count + (level === top ? 1 : 0), 0);
}

/** A graph for each height that occurs. */
export function windowGraphs(
  config: AutoencoderTinyConfig,
  width: number,
  windows: readonly Window[],
  dialect: Dialect,
): readonly Graph[] {
  return windowHeights(windows).map((height) =>
    tinyDecoderGraph(config, { batch: 1, height, width }, { dialect, dtype: 'float32' }),
  );
}

/** The heights that occur, in the order of their graphs. */
export function windowHeights(windows: readonly Window[]): readonly number[] {
  return [...new Set(windows.map(({ start, end }) => end - start))];
}

/**
 * Decodes latents in the dialect's layout; gives the picture's bands from top to bottom.
 * @param models of {@link windowGraphs}
 * @throws runtimeFailed, outOfMemory, deviceLost, aborted
 */
export async function decodeWindows(
  layout: Dialect['layout'],
  config: AutoencoderTinyConfig,
  windows: readonly Window[],
  models: readonly Model[],
  latents: Float32Array,
  signal: AbortSignal | undefined,
  onPart: OnPart = () => undefined,
): Promise<readonly Float32Array[]> {
  const heights = windowHeights(windows);
  const rows = windows.at(-1)?.to ?? 0;
  const scale = vaeScaleFactor(config);
  const bands: Float32Array[] = [];
  for (const { from, to, start, end } of windows) {
    const model = models[heights.indexOf(end - start)];
    const input = cutBand(layout, latents, { channels: config.latentChannels, rows, from: start, to: end });
    if (model === undefined) throw fail('internalError', `No decoder of ${end - start} rows was loaded.`);
    const { [VAE_IO.picture]: picture = new Float32Array() } = await model.run({ [VAE_IO.latents]: input }, signal);
    const part = { channels: config.outChannels, rows: (end - start) * scale };
    bands.push(cutBand(layout, picture, { ...part, from: (from - start) * scale, to: (to - start) * scale }));
    onPart(bands.length, windows.length);
  }
  return bands;
}
