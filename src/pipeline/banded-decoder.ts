/** @file Runs the decoder of AutoencoderKL in bands of rows: its beginning on the whole picture, then each convolution on one band after the other. */
import { fail } from '../base/errors.js';
import { VAE_IO } from '../graphs/autoencoder-kl.js';
import { BAND_IO } from '../graphs/band-graph.js';
import { bandedTrunkGraph, decoderStages, trunkOutput } from '../graphs/banded-decoder.js';
import type { Dialect } from '../onnx/dialects/dialect.js';
import type { Graph } from '../onnx/types.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Model } from '../runtime/session.js';
import {
  arraysOf,
  createArena,
  inputsOf,
  named,
  ofStage,
  runStage,
  stageGraphs,
  type Arena,
  type Band,
  type BandedShape,
  type OnPart,
  type StageRuns,
  type State,
} from './banded-runs.js';

/** The graphs: the beginning, then each stage for each height of bands. */
export function bandedGraphs({ config, width, plan }: BandedShape, dialect: Dialect): readonly Graph[] {
  const { heights, wholeBlocks } = plan;
  const trunk = bandedTrunkGraph(config, { width, heights, blocks: wholeBlocks }, { dialect, dtype: 'float32' });
  return [trunk, ...stageGraphs(decoderStages(config, wholeBlocks), { width, plan }, dialect)];
}

/**
 * Decodes latents `[h,w,C]` in the dialect's layout (divided by the scaling factor).
 * @param models of {@link bandedGraphs}
 * @returns the picture's bands from top to bottom, each in the dialect's layout
 * @throws runtimeFailed, outOfMemory, deviceLost, aborted
 */
export async function decodeBands(
  runtime: Runtime,
  { config, plan }: BandedShape,
  [trunk, ...models]: readonly Model[],
  latents: Float32Array,
  signal: AbortSignal | undefined,
  onPart: OnPart = () => undefined,
): Promise<readonly Float32Array[]> {
  if (trunk === undefined) throw fail('internalError', 'The decoder in bands was not loaded.');
  const { heights, wholeBlocks } = plan;
  const stages = decoderStages(config, wholeBlocks);
  const arrays = createArena(runtime);
  const of = 1 + stages.length * heights.length;
  let done = 0;
  const tell = (): void => onPart(++done, of);
  try {
    let state: State = {
      bands: await runTrunk(arrays, trunk, heights, latents, signal),
      skips: [],
      statistics: undefined,
    };
    tell();
    for (const [i, stage] of stages.entries()) {
      const run: StageRuns = { stage, models: ofStage(models, i, plan), signal, tell };
      if (stage.kind === 'picture') return await runPicture(arrays, run, state);
      state = await runStage(arrays, config, run, state);
    }
    throw fail('internalError', 'The decoder in bands made no picture.');
  } finally {
    arrays.dispose();
  }
}

async function runTrunk(
  arrays: Arena,
  model: Model,
  heights: readonly number[],
  latents: Float32Array,
  signal: AbortSignal | undefined,
): Promise<readonly Band[]> {
  const targets = await arrays.outputs(model.graph);
  await model.runInto({ [VAE_IO.latents]: latents }, targets, signal);
  return heights.map((_, band) => ({
    made: named(targets, trunkOutput('made', band)),
    first: named(targets, trunkOutput('first', band)),
    last: named(targets, trunkOutput('last', band)),
  }));
}

/** The last stage gives arrays of JavaScript. */
async function runPicture(
  arrays: Arena,
  { models, signal, tell }: StageRuns,
  state: State,
): Promise<readonly Float32Array[]> {
  const pictures: Float32Array[] = [];
  for (const [i, model] of models.entries()) {
    const inputs = inputsOf(state, i);
    const { [BAND_IO.picture]: picture = new Float32Array() } = await model.run(inputs, signal);
    pictures.push(picture);
    for (const array of arraysOf(inputs)) arrays.free(array);
    tell();
  }
  return pictures;
}
