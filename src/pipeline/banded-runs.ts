/**
 * @file Runs convolutions on the bands of a picture, stage after stage, in each stage band after band. What stands between two stages are arrays on the device
 * of our own, freed as soon as the last band has read them.
 */
import { fail } from '../base/errors.js';
import { EPS } from '../graphs/autoencoder-kl.js';
import { BAND_IO, bandGraph, type BandStage } from '../graphs/band-graph.js';
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
export interface Band {
  readonly made: DeviceArray;
  readonly first: DeviceArray;
  readonly last: DeviceArray;
}

/** Between two stages. */
export interface State {
  readonly bands: readonly Band[];
  /** What the second convolution of a residual block is added to, by band. */
  readonly skips: readonly DeviceArray[];
  /** For the norm that follows. */
  readonly statistics: GroupStatistics | undefined;
}

/** Hears of each run of a network in parts: how many of all are done. */
export type OnPart = (done: number, of: number) => void;

/** The graphs of `stages`: each for each height of bands. */
export function stageGraphs(
  stages: readonly BandStage[],
  { width, plan }: Pick<BandedShape, 'width' | 'plan'>,
  dialect: Dialect,
): readonly Graph[] {
  return stages.flatMap((stage) =>
    distinctHeights(plan).map((height) => {
      const scale = 2 ** stage.level;
      return bandGraph(stage, { rows: height * scale, width: width * scale }, { dialect, dtype: 'float32' });
    }),
  );
}

/** Of these, made for {@link stageGraphs}, those of stage `at`: for each band. */
export function ofStage<T>(made: readonly T[], at: number, plan: BandPlan): readonly T[] {
  const sizes = distinctHeights(plan);
  return plan.heights.flatMap((height) => made[at * sizes.length + sizes.indexOf(height)] ?? []);
}

export function distinctHeights({ heights }: BandPlan): readonly number[] {
  return [...new Set(heights)];
}

/** The runs of one stage. */
export interface StageRuns {
  readonly stage: BandStage;
  /** For each band. */
  readonly models: readonly Model[];
  readonly signal: AbortSignal | undefined;
  /** To be called after each. */
  readonly tell: () => void;
}

/** One stage on all bands; frees what it read. */
export async function runStage(
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

export interface BandInputs extends Readonly<Record<string, Float32Array | DeviceArray>> {
  readonly [BAND_IO.body]: DeviceArray;
}

/** Everything a stage may read; a graph takes what it has inputs for. Each array on the device is read by one band only. */
export function inputsOf({ bands, skips, statistics }: State, at: number): BandInputs {
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

export function arraysOf(inputs: BandInputs): readonly DeviceArray[] {
  return Object.values(inputs).flatMap((input) => (input instanceof Float32Array ? [] : [input]));
}

export function named(arrays: Readonly<Record<string, DeviceArray>>, name: string): DeviceArray {
  const array = arrays[name];
  if (array === undefined) throw fail('internalError', `A graph of bands has no output "${name}".`);
  return array;
}

/** Owns the arrays between stages: those still alive are freed in the end, whatever happened. */
export interface Arena {
  /** A copy of `values`, float32. */
  upload(values: Float32Array, shape: readonly number[]): Promise<DeviceArray>;
  /** Arrays for all outputs of a graph. */
  outputs(graph: Graph): Promise<Readonly<Record<string, DeviceArray>>>;
  free(array: DeviceArray): void;
  dispose(): void;
}

export function createArena(runtime: Runtime): Arena {
  const alive = new Set<DeviceArray>();
  return {
    async upload(values, shape) {
      const array = await runtime.upload(values, shape, 'float32');
      alive.add(array);
      return array;
    },
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
