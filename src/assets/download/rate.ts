/** @file How fast bytes come, and how long the rest will take. */

export interface Rate {
  /** Tells how many bytes there are now; returns the speed of the last seconds, once it can be told. */
  at(bytes: number): number | undefined;
}

/** Speed is the mean over this long; shorter is jumpy, longer is slow to notice a change. */
const WINDOW_MS = 8000;
/** Less than this says nothing. */
const LEAST_MS = 500;
/** Samples are at least this far apart. */
const SAMPLE_MS = 100;

/** @param now milliseconds */
export function createRate(now: () => number): Rate {
  let samples: readonly { readonly time: number; readonly bytes: number }[] = [];
  return {
    at(bytes) {
      const time = now();
      const last = samples[samples.length - 1];
      const anew = last === undefined || bytes < last.bytes || time < last.time; // the clock may have been set back
      if (anew) samples = [];
      if (anew || time - last.time >= SAMPLE_MS) {
        samples = [...samples.filter((sample) => time - sample.time <= WINDOW_MS), { time, bytes }];
      }
      const [first] = samples;
      if (first === undefined || time - first.time < LEAST_MS) return undefined;
      return ((bytes - first.bytes) / (time - first.time)) * 1000;
    },
  };
}

/** Seconds until `totalBytes` are there; `undefined` while nothing comes or the total is not known. */
export function secondsLeft(
  bytes: number,
  totalBytes: number | undefined,
  bytesPerSecond: number | undefined,
): number | undefined {
  if (totalBytes === undefined || bytesPerSecond === undefined || bytesPerSecond <= 0) return undefined;
  return Math.max(0, totalBytes - bytes) / bytesPerSecond;
}
