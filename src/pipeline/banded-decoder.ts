/**
 * @file Runs the decoder of AutoencoderKL in bands of rows: stage after stage, in each stage band after band. What stands between two stages
 * are arrays on the device of our own, freed as soon as the last band has read them.
 */
import { fail } from '../base/errors.js';
import { EPS, VAE_IO } from '../graphs/autoencoder-kl.js';
import {
  BAND_IO,
  bandedTrunkGraph,
  bandGraph,
  bandStages,
  trunkOutput,
  type BandStage,
} from '../graphs/banded-decoder.js';
import type { AutoencoderKLConfig } from '../models/configs/autoencoder-kl.js';
import type { Dialect } from '../onnx/dialects/dialect.js';
import type { Graph } from '../onnx/types.js';
import type { DeviceArray } from '../runtime/device-array.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Model } from '../runtime/session.js';
import type { BandPlan } from './banded-plan.js';
import { groupStatistics, type GroupStatistics } from './banded-statistics.js';

/** Which bands of which picture. */
export interface BandedShape {
  readonly config: AutoencoderKLConfig;
  /** Columns of latents. */
  readonly width: number;
  readonly plan: BandPlan;
}

/** A band on the device, and its edges for its neighbours. */
interface Band {
  readonly made: DeviceArray;
  readonly first: DeviceArray;
  readonly last: DeviceArray;
}

/** Between two stages. */
interface State {
  readonly bands: readonly Band[];
  /** What the second convolution of a residual block is added to, by band. */
  readonly skips: readonly DeviceArray[];
  /** For the norm that follows. */
  readonly statistics: GroupStatistics | undefined;
}

/** Hears of each run of a decoder in parts: how many of all are done. */
export type OnPart = (done: number, of: number) => void;

/** The graphs: the beginning, then each stage for each height of bands. */
export function bandedGraphs({ config, width, plan }: BandedShape, dialect: Dialect): readonly Graph[] {
  const { heights, wholeBlocks } = plan;
  const options = { dialect, dtype: 'float32' } as const;
  const trunk = bandedTrunkGraph(config, { width, heights, blocks: wholeBlocks }, options);
  const stages = bandStages(config, wholeBlocks).flatMap((stage) =>
    distinct(heights).map((height) => {
      const scale = 2 ** stage.level;
      return bandGraph(stage, { rows: height * scale, width: width * scale }, options);
    }),
  );
  return [trunk, ...stages];
}

const distinct = (heights: readonly number[]): readonly number[] => [...new Set(heights)];

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
  const sizes = distinct(heights);
  const stages = bandStages(config, wholeBlocks);
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
      const own = heights.map((height) => models[i * sizes.length + sizes.indexOf(height)] ?? trunk);
      const run: StageRuns = { stage, models: own, signal, tell };
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

/** The runs of one stage. */
interface StageRuns {
  readonly stage: BandStage;
  /** For each band. */
  readonly models: readonly Model[];
  readonly signal: AbortSignal | undefined;
  /** To be called after each. */
  readonly tell: () => void;
}

/** One stage on all bands; frees what it read. */
async function runStage(
  arrays: Arena,
  config: AutoencoderKLConfig,
  { stage, models, signal, tell }: StageRuns,
  state: State,
): Promise<State> {
  const bands: Band[] = [];
  const skips: DeviceArray[] = [];
  const moments: Float32Array[] = [];
  for (const [i, model] of models.entries()) {
    const targets = await arrays.outputs(model.graph);
    const inputs = inputsOf(state, i);
    await model.runInto(inputs, targets, signal);
    const { [BAND_IO.moments]: measured, [BAND_IO.skip]: skip } = targets;
    if (measured !== undefined) {
      moments.push(await measured.read()); // also keeps JavaScript from running ahead of the device, with arrays that are not free yet
      arrays.free(measured);
    }
    bands.push({ made: named(targets, 'made'), first: named(targets, 'first'), last: named(targets, 'last') });
    // A residual block that keeps its width adds what it read.
    const kept = stage.kind === 'first' && skip === undefined ? inputs[BAND_IO.body] : undefined;
    if (stage.kind === 'first') skips.push(skip ?? inputs[BAND_IO.body]);
    for (const array of arraysOf(inputs)) if (array !== kept) arrays.free(array);
    tell();
  }
  const { out: channels } = stage;
  const statistics = stage.measured
    ? groupStatistics(moments, { channels, groups: config.normNumGroups, eps: EPS })
    : undefined;
  return { bands, skips, statistics };
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

interface BandInputs extends Readonly<Record<string, Float32Array | DeviceArray>> {
  readonly [BAND_IO.body]: DeviceArray;
}

/** Everything a stage may read; a graph takes what it has inputs for. Each array on the device is read by one band only. */
function inputsOf({ bands, skips, statistics }: State, at: number): BandInputs {
  const band = bands[at];
  if (band === undefined) throw fail('internalError', `Band ${at} of ${bands.length} is missing.`);
  const [above, below, skip] = [bands[at - 1]?.last, bands[at + 1]?.first, skips[at]];
  return {
    [BAND_IO.body]: band.made,
    // At the picture's edge any finite row will do, since it is multiplied by zero: the band's own, which nobody else needs.
    [BAND_IO.above]: above ?? band.first,
    [BAND_IO.below]: below ?? band.last,
    [BAND_IO.keepAbove]: Float32Array.of(above === undefined ? 0 : 1),
    [BAND_IO.keepBelow]: Float32Array.of(below === undefined ? 0 : 1),
    ...(statistics && { [BAND_IO.mean]: statistics.mean, [BAND_IO.rstd]: statistics.rstd }),
    ...(skip && { [BAND_IO.skip]: skip }),
  };
}

function arraysOf(inputs: BandInputs): readonly DeviceArray[] {
  return Object.values(inputs).flatMap((input) => (input instanceof Float32Array ? [] : [input]));
}

function named(arrays: Readonly<Record<string, DeviceArray>>, name: string): DeviceArray {
  const array = arrays[name];
  if (array === undefined) throw fail('internalError', `A graph of the decoder in bands has no output "${name}".`);
  return array;
}

/** Owns the arrays between stages: those still alive are freed in the end, whatever happened. */
interface Arena {
  /** Arrays for all outputs of a graph. */
  outputs(graph: Graph): Promise<Readonly<Record<string, DeviceArray>>>;
  free(array: DeviceArray): void;
  dispose(): void;
}

function createArena(runtime: Runtime): Arena {
  const alive = new Set<DeviceArray>();
  return {
    async outputs(graph) {
      const made: Record<string, DeviceArray> = {};
      for (const { name, value } of graph.outputs) {
        const array = await runtime.zeros(value.shape, 'float32');
        alive.add(array);
        made[name] = array;
      }
      return made;
    },
    free(array) {
      alive.delete(array);
      array.dispose();
    },
    dispose() {
      for (const array of alive) array.dispose();
      alive.clear();
    },
  };
}
