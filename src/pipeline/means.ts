/** @file What a task is run with, and what to try when that fails: for lack of memory or of range, or because the device was lost. */
import type { FloatType } from '../base/dtype.js';
import { DarkroomError } from '../base/errors.js';
import { firstWithin, leastOf, type Ways } from './fit.js';

/** How a task is run; what had to be given up is said in the warnings. */
export interface Means {
  /** The least precise type that may be computed in. */
  readonly dtype: FloatType;
  /** One network at a time on the device. */
  readonly frugal: boolean;
  /** Pictures are decoded in bands, whatever the device allows. */
  readonly bands: boolean;
  /** No block keeps its weights on the device: each is brought whenever it is run. Nothing to give up where networks are not run in blocks. */
  readonly streamed: boolean;
  /** How many devices were lost under this task. */
  readonly losses: number;
  readonly warnings: readonly string[];
}

/** For a task that may give up range and speed. */
export const FIRST_MEANS: Means = {
  dtype: 'float16',
  frugal: false,
  bands: false,
  streamed: false,
  losses: 0,
  warnings: [],
};
/** For a task that has only one way to be done. */
export const ONLY_MEANS: Means = { ...FIRST_MEANS, dtype: 'float32', frugal: true, bands: true, streamed: true };

/** A task that loses this many devices and one more is given up: it may be the reason. */
const MOST_LOSSES = 2;

const LOST = 'The GPU device was lost; what was not finished was made again.';

const ON_ANOTHER =
  'Memory ran out beside what earlier tasks had left; what was not finished was made on an empty device.';
const IN_TURN = 'The networks did not fit into memory together; they were loaded in turn, which is slower.';
const IN_BANDS = 'The picture did not fit into memory in one piece; it was decoded in bands, which is slower.';

/**
 * The fastest way to run a task within `available` bytes that gives up no less than `means` does, as predicted; where none is, the one that
 * needs least. A prediction can be wrong, so nothing is refused for it.
 */
export function withinMemory(means: Means, ways: Ways, available: number): Means {
  // Elsewhere a wish for bands, or for blocks that do not stay, changes nothing.
  const cuttable = ways.some(({ bands }) => bands);
  const streams = ways.some(({ streamed }) => streamed);
  const [first, ...others] = ways.filter(
    ({ frugal, bands, streamed }) =>
      (frugal || !means.frugal) && (bands || !means.bands || !cuttable) && (streamed || !means.streamed || !streams),
  );
  if (first === undefined) return means;
  const way = firstWithin([first, ...others], available) ?? leastOf([first, ...others]);
  const more = [...(way.frugal && !means.frugal ? [IN_TURN] : []), ...(way.bands && !means.bands ? [IN_BANDS] : [])];
  return {
    ...means,
    frugal: way.frugal,
    bands: way.bands || !cuttable,
    streamed: way.streamed === true || !streams,
    warnings: [...means.warnings, ...more],
  };
}

/**
 * The bytes of a GPU after a failure: one that ran out of memory has less than was on it then, so that the next task is planned for that.
 * @param peak most bytes that were on it
 * @param known what was known before
 */
export function learnedMemory(error: unknown, peak: number | undefined, known: number | undefined): number | undefined {
  const full = error instanceof DarkroomError && error.code === 'outOfMemory';
  return full && peak !== undefined && peak > 0 ? Math.min(known ?? Infinity, peak) : known;
}

/**
 * Another way to run a task that failed for lack of memory, of range or of its device, if there is one.
 * @param worn whether the device held what earlier tasks had left: then an empty one may do, with the means that there were
 */
export function otherMeans(error: unknown, means: Means, worn = false): Means | undefined {
  const code = error instanceof DarkroomError ? error.code : undefined;
  const saying = (...more: readonly string[]): readonly string[] => [...new Set([...means.warnings, ...more])];
  if (code === 'notFinite' && means.dtype === 'float16') {
    const warning = 'float16 overflowed in this model; it was run again in float32, which is slower.';
    return { ...means, dtype: 'float32', warnings: saying(warning) };
  }
  if (code === 'outOfMemory' && worn) return { ...means, warnings: saying(ON_ANOTHER) };
  if (code === 'outOfMemory' && !means.frugal) return { ...means, frugal: true, warnings: saying(IN_TURN) };
  if (code === 'outOfMemory' && !(means.bands && means.streamed)) {
    return { ...means, bands: true, streamed: true, warnings: saying(...(means.bands ? [] : [IN_BANDS])) };
  }
  if (code === 'deviceLost' && means.losses < MOST_LOSSES) {
    return { ...means, losses: means.losses + 1, warnings: saying(LOST) };
  }
  return undefined;
}
