/** @file Runs the encoder of AutoencoderKL in bands of rows: each convolution on one band after the other, then its end on the whole picture. */
import { fail } from '../base/errors.js';
import { VAE_IO } from '../graphs/autoencoder-kl.js';
import { bandedTailGraph, encoderStages, tailInput } from '../graphs/banded-encoder.js';
import type { Dialect } from '../onnx/dialects/dialect.js';
import type { Graph } from '../onnx/types.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Model } from '../runtime/session.js';
import {
  createArena,
  ofStage,
  runStage,
  stageGraphs,
  type Arena,
  type Band,
  type BandedShape,
  type State,
} from './banded-runs.js';
import { cutBand } from './layout.js';

/** The graphs: the end, then each stage for each height of bands. */
export function bandedEncoderGraphs({ config, width, plan }: BandedShape, dialect: Dialect): readonly Graph[] {
  const { heights, wholeBlocks } = plan;
  const tail = bandedTailGraph(config, { width, heights, blocks: wholeBlocks }, { dialect, dtype: 'float32' });
  return [tail, ...stageGraphs(encoderStages(config, wholeBlocks), { width, plan }, dialect)];
}

/**
 * Encodes a picture `[H,W,3]` in the dialect's layout, in −1…1.
 * @param models of {@link bandedEncoderGraphs}
 * @returns the moments `[h,w,2C]`, in the dialect's layout
 * @throws runtimeFailed, outOfMemory, deviceLost, aborted
 */
export async function encodeBands(
  runtime: Runtime,
  shape: BandedShape,
  [tail, ...models]: readonly Model[],
  picture: Float32Array,
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  if (tail === undefined) throw fail('internalError', 'The encoder in bands was not loaded.');
  const { config, plan } = shape;
  const arrays = createArena(runtime);
  try {
    let state: State = {
      bands: await uploadBands(arrays, runtime.dialect.layout, shape, picture),
      skips: [],
      statistics: undefined,
    };
    for (const [i, stage] of encoderStages(config, plan.wholeBlocks).entries()) {
      const run = { stage, models: ofStage(models, i, plan), signal, tell: () => undefined };
      state = await runStage(arrays, config, run, state);
    }
    const inputs = Object.fromEntries(state.bands.map(({ made }, i) => [tailInput(i), made]));
    const { [VAE_IO.moments]: moments } = await tail.run(inputs, signal);
    return moments ?? new Float32Array();
  } finally {
    arrays.dispose();
  }
}

/** Bands of the picture, with their edges. */
async function uploadBands(
  arrays: Arena,
  layout: Dialect['layout'],
  { config, width, plan }: BandedShape,
  picture: Float32Array,
): Promise<readonly Band[]> {
  const scale = 2 ** (config.blockOutChannels.length - 1);
  const rows = plan.heights.reduce((sum, height) => sum + height * scale, 0);
  const cutOut = (from: number, to: number): ReturnType<Arena['upload']> => {
    const part = cutBand(layout, picture, { channels: config.inChannels, rows, from, to });
    const [h, w, c] = [to - from, width * scale, config.inChannels];
    return arrays.upload(part, layout === 'nhwc' ? [1, h, w, c] : [1, c, h, w]);
  };
  const bands: Band[] = [];
  let from = 0;
  for (const height of plan.heights) {
    const to = from + height * scale;
    bands.push({
      made: await cutOut(from, to),
      first: await cutOut(from, from + 1),
      last: await cutOut(to - 1, to),
    });
    from = to;
  }
  return bands;
}
